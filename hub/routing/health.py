"""What is known of one deployment from the calls that went there: whether it is left alone, rests, and how soon it begins to answer."""

from hub.call import Target
from hub.config.mcp import Breaker as BreakerSpec
from hub.routing.breaker import Breaker

SHARE = 0.3
"""What the latest measure counts in the mean (EWMA)."""


class Health:
    """Times are monotonic seconds given by the caller. One for each deployment, whatever aliases it stands behind."""

    __slots__ = ("_latency", "_measured", "asked", "breaker", "rests", "target")

    def __init__(self, target: Target, spec: BreakerSpec) -> None:
        self.target = target
        self.breaker = Breaker(spec)
        self.asked = float("-inf")
        """When it was asked last."""
        self.rests = float("-inf")
        """Until when it wants to be left alone, as its `retry-after` said."""
        self._latency: list[int | None] = [None, None]
        self._measured = [float("-inf"), float("-inf")]

    def rest(self, until: float) -> None:
        self.rests = max(self.rests, until)

    def well(self, now: float) -> bool:
        """Whether there is nothing against asking it."""
        return self.rests <= now and self.breaker.closed

    def latency(self, *, streams: bool) -> int | None:
        """Microseconds to the first byte of a stream, or of a whole answer, which ends with it; of the other where only that is known."""
        found = self._latency[streams]
        return found if found is not None else self._latency[not streams]

    def measure(self, us: int, now: float, *, streams: bool, stale: float) -> None:
        """Take in one measure. A mean that is older than `stale` seconds says nothing of today: the measure takes its place."""
        before = self._latency[streams]
        fresh = before is not None and now - self._measured[streams] < stale
        self._latency[streams] = round(before + SHARE * (us - before)) if fresh and before is not None else us
        self._measured[streams] = now

    def status(self, now: float) -> dict[str, object]:
        """As `/admin/v1/status` shows it: microseconds, and seconds still to rest."""
        whole, stream = self._latency
        found: dict[str, object] = {"breaker": self.breaker.state(now), "first_byte_us": {"whole": whole, "stream": stream}}
        if self.rests > now:
            found["rests"] = round(self.rests - now, 1)
        return found
