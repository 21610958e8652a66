"""A call that was watched, after its end: what the log, and its spans, are made of. Plain values."""

from typing import Literal

from msgspec import Struct

from hub.call import Call, Caller, Decision, Reply
from hub.telemetry.told import Said

Status = Literal["ok", "error", "refused", "aborted"]


class Timings(Struct):
    """Nanoseconds of `time.perf_counter_ns`; 0 where a call did not come so far. `auth`, `receive`, `resolve`, `decide`, `reserve`, `queue`
    and `settle` are how long these took."""

    begin: int = 0
    auth: int = 0
    """From the head of the request until its caller was known."""
    receive: int = 0
    """From then to the beginning of the path: the body was read."""
    resolve: int = 0
    decide: int = 0
    reserve: int = 0
    """What it may cost was set aside, at the first deployment."""
    inspect: int = 0
    """When the arguments were looked at: every limit had let the call pass."""
    opened: int = 0
    """When the intent was durable."""
    sent: int = 0
    queue: int = 0
    """It waited for room among the calls to providers: part of what was asked downstream."""
    first: int = 0
    """When the first bytes of a stream went to the client."""
    answered: int = 0
    settle: int = 0
    """What it did cost was spent."""
    end: int = 0

    def steps(self) -> dict[str, int]:
        """How long each step took that the call came to, in nanoseconds. They are parts of the total; `queue` and `first_byte` of
        `upstream`. While a call is under way (`end` is 0) there are those it has behind it."""
        found = {name: took for name, took in (("auth", self.auth), ("receive", self.receive)) if took}
        found["resolve"] = self.resolve
        if self.decide:
            found["policy"] = self.decide
        if self.inspect:
            found["limits"] = max(0, self.inspect - self.begin - self.resolve - self.decide)
        if self.reserve:
            found["reserve"] = self.reserve
        if self.opened and self.inspect:
            found["intent"] = self.opened - self.inspect - self.reserve
        if self.queue:
            found["queue"] = self.queue
        if self.first and self.sent:
            found["first_byte"] = self.first - self.sent
        if self.answered and self.sent:
            found["upstream"] = self.answered - self.sent
        if self.settle:
            found["settle"] = self.settle
        if self.end:
            if self.answered and self.sent:
                found["outcome"] = self.end - self.answered - self.settle
            found["total"] = self.auth + self.receive + self.end - self.begin
        return found

    def microseconds(self) -> dict[str, int]:
        """The same in microseconds."""
        return {name: nanoseconds // 1000 for name, nanoseconds in self.steps().items()}


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
