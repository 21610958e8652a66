"""What the path asks of limits, wherever their counts are kept, and what both ways of keeping them say alike."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable
from typing import Protocol

from hub.call import Caller, Target
from hub.config.callers import LimitSpec
from hub.refusal import Limited


class Hold:
    """What a call occupies while it runs. Rates and daily counts are not given back."""

    __slots__ = ()

    def release(self) -> None:
        """Free the place among the calls in flight. Doing it again changes nothing."""

    def __enter__(self) -> "Hold":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


NOTHING = Hold()
"""The hold of a call that occupies no place."""

Entry = Hold | Awaitable[Hold]
"""A hold at once, or one that must be waited for: counts in memory cost a call no turn of the loop."""


class Question(ABC, Awaitable[Hold]):
    """A hold that another process has to be asked for, which happens when it is awaited and not before.

    Until then a second question may join it, which is asked in the same moment, and counts only where the first lets the call through.
    The first then answers with the hold of both; the second says without a further wait whether it lets the call through as well.
    """

    __slots__ = ()

    @abstractmethod
    def join(self, second: Entry) -> None:
        """Have `second` asked with this one; a hold, of which there is nothing to ask, changes nothing."""


class Limiter(Protocol):
    """All limits of one hub."""

    async def open(self) -> None:
        """Take up the counts where the last run left them. Raises `StoreDown`."""
        ...

    async def resume(self) -> None:
        """Another process may have counted meanwhile in the place of this one: take up what it did. Raises `StoreDown`."""
        ...

    async def close(self) -> None:
        """Leave the counts as they stand. Raises `StoreDown`."""
        ...

    def configure(self, specs: tuple[LimitSpec, ...]) -> None:
        """Replace the rules. Rules whose name stays keep what they have counted."""
        ...

    def enter_caller(self, caller: Caller) -> Entry:
        """Count a call against the limits of its key, subject and organisation.

        Raises `Limited`, having counted nothing, and `StoreDown` where what must be counted exactly cannot be.
        """
        ...

    def enter_target(self, caller: Caller, target: Target) -> Entry:
        """Count a call against the limits of its tool, which count by organisation. Raises as `enter_caller` does."""
        ...


def reached(rule: LimitSpec, milliseconds: int) -> Limited:
    """The refusal of a call that does not fit `rule`, with a wait after which it does where nobody else comes."""
    return Limited(f"the limit {rule.name!r} is reached", retry_after=milliseconds / 1000, data={"limit": rule.name, "scope": rule.scope})
