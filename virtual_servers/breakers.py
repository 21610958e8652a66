"""When a server is left alone: by everybody where it cannot be reached, and else by the organisation whose calls came to nothing.

What one organisation asks of a shared server (a page that never loads, an answer beyond all bounds) is no reason to refuse the others. Who
finds out which of the two it was is `virtual_servers.upstream`.
"""

from typing import Literal

from hub.config.mcp import Breaker as BreakerSpec
from hub.routing.breaker import Breaker

State = Literal["closed", "open", "half-open"]


class Breakers:
    """Times are monotonic seconds. Each admitted call ends in exactly one of `succeed`, `fail`, `abandon`, of the same organisation."""

    def __init__(self, spec: BreakerSpec) -> None:
        self._spec = spec
        self._all = Breaker(spec)
        self._own: dict[str, Breaker] = {}
        """Of organisations whose last call failed by itself."""
        self._answered = False
        """Whether anybody was answered since one of them failed."""

    def admit(self, org: str, now: float) -> float:
        """0 if the call may go, else the seconds to wait."""
        wait = self._all.admit(now)
        if wait or org not in self._own:
            return wait
        wait = self._own[org].admit(now)
        if wait:
            self._all.abandon()
        return wait

    def succeed(self, org: str) -> None:
        self._all.succeed()
        if self._own:
            self._own.pop(org, None)
            self._answered = True

    def fail(self, org: str, now: float, *, reached: bool) -> None:
        """`reached`: the server was there, and what it made of this call was nothing."""
        if not reached:
            self._all.fail(now)
            if org in self._own:
                self._own[org].abandon()
            return
        self._all.abandon()
        if org not in self._own:
            self._own[org] = Breaker(self._spec)
        self._own[org].fail(now)
        self._answered = False

    def abandon(self, org: str) -> None:
        """The call ended without saying anything about the server, as when the client left."""
        self._all.abandon()
        if org in self._own:
            self._own[org].abandon()

    def state(self, now: float) -> State:
        """The worst of them. One whose time is over counts no more once others were answered: its organisation may never call again."""
        own = {breaker.state(now) for breaker in self._own.values()}
        found = {self._all.state(now), *(own - {"half-open"} if self._answered else own)}
        return "open" if "open" in found else "half-open" if "half-open" in found else "closed"
