"""A circuit breaker: after failures in a row it refuses, then lets a single call try. It does not know what is called, nor a clock."""

from typing import Literal

from hub.config.mcp import Breaker as BreakerSpec


class Breaker:
    """Times are monotonic seconds given by the caller. Each admitted call ends in exactly one of `succeed`, `fail`,
    `trip`, `abandon`; one that `begun` may still `succeed` or `fail`."""

    def __init__(self, spec: BreakerSpec) -> None:
        self._spec = spec
        self._failures = 0
        self._open_until = 0.0
        self._probing = False

    def admit(self, now: float) -> float:
        """0 if the call may go, else the seconds to wait. In the half-open state one call goes at a time."""
        if self._failures < self._spec.failures:
            return 0.0
        if now < self._open_until:
            return self._open_until - now
        if self._probing:
            return self._spec.open_for
        self._probing = True
        return 0.0

    @property
    def closed(self) -> bool:
        return self._failures < self._spec.failures

    def wait(self, now: float) -> float:
        """Seconds until a call may be tried; 0 where one may now."""
        return 0.0 if self.closed else max(0.0, self._open_until - now)

    def succeed(self) -> None:
        self._failures = 0
        self._probing = False

    def fail(self, now: float) -> None:
        self._failures += 1
        self._probing = False
        if self._failures >= self._spec.failures:
            self._open_until = now + self._spec.open_for

    def begun(self) -> None:
        """An answer began that may still break off: it closes a half-open breaker, but failures in a row stand until one ends well."""
        if self._probing:
            self.succeed()

    def trip(self, now: float) -> None:
        """Open at once: there is no use in asking again."""
        self._failures = max(self._failures, self._spec.failures)
        self._probing = False
        self._open_until = now + self._spec.open_for

    def abandon(self) -> None:
        """The call ended without saying anything about the server, as when the client left."""
        self._probing = False

    def state(self, now: float) -> Literal["closed", "open", "half-open"]:
        if self._failures < self._spec.failures:
            return "closed"
        return "open" if now < self._open_until else "half-open"
