"""When a server is left alone: by everybody where it cannot be reached, and else by the organisation whose calls came to nothing.

What one organisation asks of a shared server (a page that never loads, an answer beyond all bounds) is no reason to refuse the others.
"""

from typing import Literal

from hub.config.mcp import Breaker as BreakerSpec
from hub.refusal import Unavailable, UpstreamDown
from hub.routing.breaker import Breaker

State = Literal["closed", "open", "half-open"]


class Breakers:
    """Times are monotonic seconds. Each admitted call ends in exactly one of `succeed`, `fail`, `abandon`, of the same organisation."""

    def __init__(self, spec: BreakerSpec) -> None:
        self._spec = spec
        self._all = Breaker(spec)
        self._own: dict[str, Breaker] = {}
        """Of organisations whose last call failed by itself."""

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

    def fail(self, org: str, problem: Unavailable, now: float) -> None:
        if isinstance(problem, UpstreamDown):
            self._all.fail(now)
            if org in self._own:
                self._own[org].abandon()
            return
        self._all.abandon()
        if org not in self._own:
            self._own[org] = Breaker(self._spec)
        self._own[org].fail(now)

    def abandon(self, org: str) -> None:
        """The call ended without saying anything about the server, as when the client left."""
        self._all.abandon()
        if org in self._own:
            self._own[org].abandon()

    def state(self, now: float) -> State:
        """The worst of them."""
        found = {breaker.state(now) for breaker in (self._all, *self._own.values())}
        return "open" if "open" in found else "half-open" if "half-open" in found else "closed"
