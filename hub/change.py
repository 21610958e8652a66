"""A change that an operator makes, as a value: what it will be is said before it is made, so that it can be on record first.

Who makes the change (keys, the vault, budgets, prices) knows no journal. It checks what it is asked, calls `before` with what it is about
to do, and does it when that has returned; what it returns is what the record of the outcome says.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct

EVERYBODY = "*"
"""As an organisation: what concerns no single one."""


class Planned(Struct, frozen=True):
    """What is about to be changed. `org` is whose log says so, `kind` the beginning of its records' kinds; no secret stands in `record`.

    `closes`: it takes something away from somebody, such as a key. That is not to wait for a journal that is away.
    """

    org: str
    kind: str
    record: dict[str, Any]
    closes: bool = False


Before = Callable[[Planned], Awaitable[None]]
"""Called before anything is changed. What it raises keeps the change from being made."""


async def unannounced(_: Planned) -> None:
    """For who keeps no record."""
