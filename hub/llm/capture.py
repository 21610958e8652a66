"""Questions and answers of model calls on their way past, for an organisation that keeps them (`hub.capture`)."""

from msgspec import Struct, structs

from hub.call import Call, Caller, Chunk, Emit
from hub.capture.keeper import Keeper
from hub.llm.charge import Charge
from hub.llm.delivery import Served
from hub.plan import Dispatch, Plan, View
from hub.refusal import StoreDown


class Capturing(Struct, frozen=True):
    """Resolves as `view` does; the call it resolves to is kept as the client said it, and the answer as the client gets it."""

    view: View
    keeper: Keeper

    def resolve(self, call: Call, caller: Caller) -> Plan:
        def kept(plan: Plan) -> Plan:
            if plan.dispatch is None:
                return plan
            return structs.replace(plan, dispatch=_Kept(self.keeper, plan.dispatch, plan.charge, caller).dispatch)

        return self.view.resolve(call, caller).then(kept)


class _Kept:
    def __init__(self, keeper: Keeper, send: Dispatch, charge: object, caller: Caller) -> None:
        self._keeper = keeper
        self._send = send
        self._charge = charge
        self._caller = caller

    async def dispatch(self, call: Call, emit: Emit) -> Served:
        """Raises `StoreDown` where the question cannot be kept: nothing is sent then. Of a call that is cut off the answer is kept as far
        as it was told."""
        try:
            await self._keeper.keep(call, self._caller, "question", call.payload)
        except StoreDown:
            if isinstance(self._charge, Charge):
                self._charge.unsent()
            raise
        told, most, size = bytearray(), self._keeper.most(self._caller.org), 0

        async def tell(chunk: Chunk) -> None:
            nonlocal size
            size += len(chunk.params)
            if len(told) < most:
                told.extend(chunk.params[: most - len(told)])
            await emit(chunk)

        try:
            reply = await self._send(call, tell)
        except BaseException:
            if size:
                self._keeper.later(call, self._caller, "answer", bytes(told), size)
            raise
        assert isinstance(reply, Served)
        last = reply.error or reply.result
        content = bytes(told) + last[: most - len(told)] if told else last
        kept = await self._keeper.answered(call, self._caller, content, size + len(last))
        return structs.replace(reply, facts={**(reply.facts or {}), "content": "kept" if kept else "answer lost"})
