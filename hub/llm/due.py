"""What an answer costs that is still being made when its call has ended: set aside as before, settled once, when the answer is there.

What it is settled by is kept as JSON, so that another process, or the same one after it was started again, can do it (`kept`, `again`).
"""

from typing import Any

import msgspec
from msgspec import Struct

from hub.budget.budgets import Budgets, Reservation
from hub.budget.prices import Price, cost
from hub.budget.usage import Facts
from hub.call import Caller, Target, Tokens
from hub.refusal import StoreDown


class Due(Struct, frozen=True):
    """`facts` are the call's, for its row of the usage ledger."""

    held: Reservation
    price: Price | None
    facts: Facts

    def settle(self, tokens: Tokens | None, status: str, said: int | None = None) -> dict[str, Any]:
        """Spend what it cost; the same for a record. `tokens` None: the provider did not say; then by `said`, output estimated from the
        answer, or, where nobody has that either, what was set aside.
        """
        held = self.held
        if tokens is None and said is not None:
            status = "estimated"
            tokens = msgspec.structs.replace(held.least_tokens, output=min(said, held.tokens.output))
        spent = None if tokens is None or self.price is None else cost(self.price, tokens)
        if spent is not None and status == "estimated" and held.most is not None:
            spent = min(spent, held.most)
        held.settle(spent, tokens, msgspec.structs.replace(self.facts, status=status))
        found: dict[str, Any] = {"call": held.id, "status": status}
        if tokens is not None:
            found["usage"] = msgspec.to_builtins(tokens)
        return found if spent is None else found | {"cost": spent}

    def kept(self) -> str:
        """All that `again` needs beside the row's own columns."""
        held = self.held
        who = msgspec.structs.replace(held.caller, grants=(), roles=(), scopes=(), ceilings=())
        return msgspec.json.encode(_Kept(who, held.most, held.tokens, held.least, held.least_tokens, self.facts, self.price)).decode()

    def close(self) -> None:
        """Nobody waits for it any longer: it is spent at what it cost at least."""
        with self.held:
            return


class _Kept(Struct, frozen=True, omit_defaults=True):
    """`caller` without what it may do."""

    caller: Caller
    most: int | None
    tokens: Tokens
    least: int
    least_tokens: Tokens
    facts: Facts
    price: Price | None


_decoder = msgspec.json.Decoder(_Kept)


async def again(budgets: Budgets, call: str, target: Target, body: str) -> Due | None:
    """Of what was kept by a process that may be dead; None where it is settled already. Raises `StoreDown`."""
    kept = _decoder.decode(body)
    held = await budgets.adopt(call, kept.caller, target, kept.most, kept.tokens)
    if held is None:
        return None
    held.sent, held.least, held.least_tokens, held.facts = True, kept.least, kept.least_tokens, kept.facts
    try:
        held.outlive()
    except StoreDown:
        held.hand_over()
        raise
    return Due(held, kept.price, kept.facts)
