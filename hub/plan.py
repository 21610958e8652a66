"""What the governed path is put together from: the plan of a call, who decides about it, who delivers its answer, and the rooms on the way.

The order they are asked in is `hub.pipeline`'s; here are only their shapes.
"""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from msgspec import Struct, structs

from hub.audit.journal import Journal, Receipt
from hub.budget.limiter import Entry, Limiter
from hub.call import Call, Caller, Chunk, Decision, Emit, Reply, Target
from hub.identity.authenticate import Identity
from hub.refusal import Refusal
from hub.telemetry.metrics import Metrics

Dispatch = Callable[[Call, Emit], Awaitable[Reply]]
Locate = Callable[[], Awaitable["Plan"]]


class Charge(Protocol):
    """The money of one call that costs any."""

    async def reserve(self, call: Call, caller: Caller) -> None:
        """Set aside what it costs at most. Raises `BudgetExceeded`, `Limited`, `Unpriced`, `StoreDown`: nothing is sent then."""
        ...

    async def settle(self, reply: Reply, microseconds: int) -> Reply:
        """Spend what it did cost; the reply bears it from then on."""
        ...

    def end(self, microseconds: int) -> dict[str, Any] | None:
        """The call is over: what was not settled is. What the record of its outcome says of that."""
        ...


class Plan(Struct, frozen=True):
    """What `resolve` makes of a call: the call as it would be sent, and how it is answered.

    Exactly one of `dispatch` (bytes leave the hub), `answer` (the hub answers by itself) and `locate` is set. `inspect` takes the arguments
    and may refuse them. `charge` is set where the call costs money.

    `locate` asks a store for the target, which nothing else can say; what it makes of the call is no longer to be located. `call` has
    no target until then. It raises what `resolve` may raise, and `StoreDown`.
    """

    call: Call
    dispatch: Dispatch | None = None
    answer: Callable[[Caller], Awaitable[Reply]] | None = None
    inspect: Callable[[Any], None] | None = None
    charge: Charge | None = None
    locate: Locate | None = None

    def then(self, change: "Callable[[Plan], Plan]") -> "Plan":
        """What `change` makes of it: at once, or of what is located."""
        locate = self.locate
        if locate is None:
            return change(self)

        async def located() -> Plan:
            return change(await locate())

        return structs.replace(self, locate=located)


class View(Protocol):
    """What an edge resolves by: immutable, of one configuration generation."""

    def resolve(self, call: Call, caller: Caller) -> Plan:
        """Turn the advertised name into the stable target. Raises a `Refusal` where there is none for this caller."""
        ...


class Decider(Protocol):
    """What decides: the policy of one generation."""

    def decide(self, call: Call, caller: Caller) -> Decision:
        """Whether a resolved call may be made."""
        ...


class TargetLimits(Protocol):
    """What is asked for the limits of a target."""

    def enter_target(self, caller: Caller, target: Target) -> Entry:
        """See `Limiter.enter_target`."""
        ...


class Delivery(Protocol):
    """The edge's side of an answer under way."""

    def opened(self, receipt: Receipt) -> None:
        """Called when the intent is durable: its receipt goes into the headers of a stream."""
        ...

    async def emit(self, chunk: Chunk) -> None:
        """Deliver a message that precedes the reply."""
        ...


class Answer(Struct, frozen=True):
    """A reply and the receipt of the last record durable before it."""

    reply: Reply
    receipt: Receipt
    call: Call


class Refused(Exception):
    """A refusal of a known caller, already recorded: `receipt` is the record's, or None where the journal was down."""

    def __init__(self, refusal: Refusal, receipt: Receipt | None) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal
        self.receipt = receipt


class Watch(Protocol):
    """Who looks on at some of the calls, for spans and the access log."""

    below: int
    """Which new traces are sampled (`hub.telemetry.trace.threshold`)."""

    def wants(self, call: Call) -> bool:
        """Whether this call is one of them."""
        ...

    def govern(
        self, steps: "Steps", policy: Decider, view: View, call: Call, caller: Caller, delivery: Delivery
    ) -> Coroutine[Any, Any, Answer]:
        """As `governed`, looking on."""
        ...

    def rejected(self, call: Call, caller: Caller, refusal: Refusal) -> None:
        """A request that never became a call was refused."""
        ...


class Steps(Struct):
    """The rooms of the path, put together once in `hub.app`. Policy is not among them: it belongs to the generation a call began with.

    `watch` is None where nobody looks on: what a call costs then is to find that out. `sampled` says which new traces it is to be.
    """

    identity: Identity
    limits: Limiter
    journal: Journal
    metrics: Metrics
    watch: Watch | None = None

    @property
    def sampled(self) -> int:
        watch = self.watch
        return watch.below if watch is not None else 0
