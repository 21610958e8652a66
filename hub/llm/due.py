"""What an answer costs that is still being made when its call has ended: set aside as before, settled once, when the answer is there.

What it is settled by is kept as JSON, so that another process, or the same one after it was started again, can do it (`kept`, `again`).
"""

from typing import Any

import msgspec
from msgspec import Struct

from hub.budget.budgets import Budgets, Outliving, Reservation, outliving
from hub.budget.prices import Price, cost
from hub.budget.usage import Facts
from hub.call import Tokens


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
        """All that `again` needs."""
        return msgspec.json.encode(_Kept(outliving(self.held), self.facts, self.price)).decode()

    async def lasting(self) -> bool:
        """See to it that what was settled stays so: `Reservation.lasting`."""
        return await self.held.lasting()

    def close(self) -> None:
        """Nobody waits for it any longer: it is spent at what it cost at least."""
        with self.held:
            return


class _Kept(Struct, frozen=True, omit_defaults=True):
    told: Outliving
    facts: Facts
    price: Price | None = None


_decoder = msgspec.json.Decoder(_Kept)


async def again(budgets: Budgets, kept: str) -> Due | None:
    """Of what was kept by a process that may be dead; None where it is settled already.

    Raises `StoreDown`, and `msgspec.MsgspecError` for what a later version has kept.
    """
    found = _decoder.decode(kept)
    held = await budgets.adopt(found.told)
    return None if held is None else Due(held, found.price, found.facts)
