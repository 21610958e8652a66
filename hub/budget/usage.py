"""The usage ledger: one row for each call that was settled, never changed. What was spent is its sum, whatever counts beside it.

Rows, what is asked of the store that keeps them, and how sums of it become the count of a rule. Each medium has a file of its own.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Any, Protocol

from msgspec import Struct
from msgspec import json as msgjson
from msgspec.structs import astuple

from hub.budget.tiers import Rule, covers, taken
from hub.budget.usage_ask import Dialect, Statement
from hub.budget.window import Span, since
from hub.call import Tokens

TOKENS = tuple(Tokens.__struct_fields__)

COLUMNS = (
    *("id", "at", "run", "seq", "org", "key", "subject", "spender", "app", "team", "project", "provider", "model", "door", "kind"),
    *("status", "cost", "latency", "attempts", "tags", *TOKENS),
)
"""Of a row in the store. `spender` is the user: SQL has taken that word."""


class Facts(Struct, frozen=True):
    """What an edge knows of a call beside what it cost. `latency` in microseconds; `tags` are free, for whom it is charged to."""

    kind: str = ""
    door: str = ""
    status: str = "ok"
    latency: int = 0
    attempts: int = 1
    tags: dict[str, str] = {}


class Usage(Struct, frozen=True):
    """A row. `at` is when it was settled (microseconds), `run` and `seq` which life of Redis' counts counted it, and
    as which; `cost` None: nobody knows it."""

    id: str
    at: int
    org: str
    key: str
    subject: str
    user: str
    app: str
    team: str
    project: str
    provider: str
    model: str
    cost: int | None
    tokens: Tokens
    facts: Facts = Facts()
    run: str = ""
    seq: int = 0


class Sum(Struct, frozen=True):
    """What rows have in common, and what they come to. `slot` is the beginning of the slot of a rolling window, else 0."""

    provider: str
    model: str
    slot: int
    cost: int
    input: int
    output: int
    calls: int


class Ask(Struct, frozen=True):
    """Which rows: from `since` on, of one `who` by `scope` in one `org` (of all where it is empty).

    Where `run` is given, of that life of Redis' counts only rows before `seq`; and none of `but`, ids.
    """

    since: int
    slot: int = 0
    org: str = ""
    scope: str = "global"
    who: str = ""
    run: str | None = None
    seq: int = 0
    but: tuple[str, ...] = ()


class AlertRow(Struct, frozen=True):
    """A threshold that was passed: of which count, for whom, in the window from `start`. `body` is what somebody is told."""

    counter: str
    who: str
    start: int
    percent: int
    body: str
    raised: int = 0


class Ledger(Protocol):
    """The ledger in one database. What cannot be done raises `StoreDown`."""

    def put(self, row: Usage, *, holds: bool) -> None:
        """Add a row, and forget that the call is under way (`holds`: where it was noted). In the order of the calls; nobody waits."""
        ...

    def note(self, row: Usage) -> Awaitable[None] | None:
        """Keep that a call is under way, with what it has cost at least: durable when what is returned is done, or, where that is None,
        no later than anything that is handed to the same store afterwards."""
        ...

    def forget(self, call_id: str) -> None:
        """A call that was noted is not under way, and has cost nothing."""
        ...

    async def recover(self, but: Collection[str] = ()) -> list[Usage]:
        """Calls that were under way when a process died become rows, with what they cost at least, `but` for these; those rows. At the
        start."""
        ...

    def sums(self, ask: Ask) -> Awaitable[list[Sum]]:
        """What the rows come to: of all that were `put` before this was called, and none that is put afterwards."""
        ...

    async def last(self) -> int:
        """When the newest row was settled; 0 where there is none."""
        ...

    async def find(self, org: str | None, *, before: str = "", limit: int = 100, **equal: str) -> list[Usage]:
        """Rows of one organisation (None: of all), the newest first; `before`: older than this id; `equal`: columns and their values."""
        ...

    @property
    def dialect(self) -> Dialect:
        """In which words it is asked."""
        ...

    async def select(self, statement: Statement, org: str | None) -> list[Sequence[Any]]:
        """The rows of a statement of `hub.budget.usage_sql`, of one organisation (None: of all). Raises `OverflowError` for a sum beyond 64
        bits, where the store cannot make it."""
        ...

    async def passed(self, row: AlertRow) -> None:
        """Keep that a threshold was passed, unless it is known."""
        ...

    async def due(self, now: int, before: int) -> list[AlertRow]:
        """Take what is to be told and was not taken since `before`; nobody else is given it until as long from now."""
        ...

    async def told(self, row: AlertRow, now: int) -> None:
        """It was delivered."""
        ...

    async def settled(self) -> None:
        """Return when all that was put is durable, or raise."""
        ...

    @property
    def waiting(self) -> int:
        """Rows that are not durable yet."""
        ...

    @property
    def aside(self) -> int:
        """Rows that the database could not hold, and has aside (`hub.budget.usage_aside`), since this process began."""
        ...

    def on_written(self, call: "Callable[[Sequence[Usage]], None]") -> None:
        """Have `call(rows)` called when rows are durable."""
        ...

    async def open(self) -> None: ...

    async def close(self) -> None: ...


def ask_for(rule: Rule, org: str, who: str, span: Span) -> Ask:
    """Which rows are counted by a rule for a `who` in the window `span`."""
    everybody = rule.scope == "global"
    return Ask(since(rule.window, span), rule.window.slot, "" if everybody else org, rule.scope, who)


def slots(rule: Rule, sums: Iterable[Sum]) -> dict[int, int]:
    """What a rule counts of sums, by slot."""
    found: dict[int, int] = {}
    for one in sums:
        if covers(rule, one.provider, one.model):
            amount = one.calls if rule.unit == "requests" else taken(rule.unit, one.cost, Tokens(input=one.input, output=one.output))
            found[one.slot] = found.get(one.slot, 0) + amount
    return found


def values(row: Usage) -> tuple[Any, ...]:
    """A row's columns."""
    call, at, *whose, cost, tokens, facts, run, seq = astuple(row)
    kind, door, status, latency, attempts, tags = astuple(facts)
    text = msgjson.encode(tags).decode() if tags else ""
    return (call, at, run, seq, *whose, door, kind, status, cost, latency, attempts, text, *astuple(tokens))


def row_of(columns: Sequence[Any]) -> Usage:
    """A row of its columns."""
    call, at, run, seq, org, key, subject, user, app, team, project, *rest = columns[: -len(TOKENS)]
    provider, model, door, kind, status, cost, latency, attempts, tags = rest
    facts = Facts(kind, door, status, latency, attempts, msgjson.decode(tags, type=dict[str, str]) if tags else {})
    tokens = Tokens(**dict(zip(TOKENS, columns[-len(TOKENS) :], strict=True)))
    return Usage(call, at, org, key, subject, user, app, team, project, provider, model, cost, tokens, facts, run, seq)


def column(scope: str) -> str:
    """The column that says for whom a scope counts; empty where the organisation alone does."""
    return {"key": "key", "subject": "subject", "user": "spender", "app": "app", "team": "team", "project": "project"}.get(scope, "")
