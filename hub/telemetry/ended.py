"""A call that was watched, after its end: what the log, and its spans, are made of. Plain values."""

from typing import Literal

from msgspec import Struct

from hub.call import Call, Caller, Decision, Reply
from hub.telemetry.told import Said

Status = Literal["ok", "error", "refused", "aborted"]


class Timings(Struct):
    """Nanoseconds of `time.perf_counter_ns`; 0 where a call did not come so far. `receive`, `resolve` and `decide` are how
    long these took."""

    begin: int = 0
    receive: int = 0
    """From the head of the request to the beginning of the path: the key was checked, the body read."""
    resolve: int = 0
    decide: int = 0
    inspect: int = 0
    """When the arguments were looked at: every limit had let the call pass."""
    opened: int = 0
    """When the intent was durable."""
    sent: int = 0
    first: int = 0
    """When the first bytes of a stream went to the client."""
    answered: int = 0
    end: int = 0

    def steps(self) -> dict[str, int]:
        """How long each step took that the call came to, in nanoseconds. They are parts of the total."""
        found = {"receive": self.receive} if self.receive else {}
        found["resolve"] = self.resolve
        if self.decide:
            found["policy"] = self.decide
        if self.inspect:
            found["limits"] = max(0, self.inspect - self.begin - self.resolve - self.decide)
        if self.opened and self.inspect:
            found["intent"] = self.opened - self.inspect
        if self.first and self.sent:
            found["first_byte"] = self.first - self.sent
        if self.answered and self.sent:
            found["upstream"] = self.answered - self.sent
            found["outcome"] = self.end - self.answered
        found["total"] = self.receive + self.end - self.begin
        return found


class Ended(Struct):
    """`code` is empty where nothing went wrong. `at` is the wall clock at the beginning, in nanoseconds since 1970.

    `client_span` is the span the upstream was told to be its parent. `route` are the attempts as the record has them.
    """

    call: Call
    caller: Caller
    status: Status
    code: str
    at: int
    timings: Timings
    client_span: str
    decision: Decision | None = None
    reply: Reply | None = None
    said: Said | None = None
    streamed: bool = False
    route: tuple[dict[str, object], ...] = ()
