"""What the model edge says of the accounts it shows: `/v1/usage`, its summary, and the list once more under `/v1/messages`."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from hub.budget.usage_ask import BUCKETS, FILTERS
from hub.call import Tokens
from hub.llm.shown_errors import ANTHROPIC, OPENAI
from hub.openapi.operation import Answer, Errors, Operation, Parameter

_NANO = Annotated[int, Meta(description="Nano-US-dollars; null where nobody knows.")] | None
_DOLLARS = Annotated[str, Meta(description="US dollars, exact.")] | None


class UsageRecord(Struct, frozen=True):
    """One call that was paid for, or would have been. No prompt and no answer is in it."""

    id: str
    object: Literal["usage.record"]
    created_at: str
    org: str
    key: str
    subject: str
    user: str
    app: str
    team: str
    project: str
    kind: str
    alias: Annotated[str, Meta(description="The model as it was asked for.")]
    provider: str
    model: str
    status: str
    unpriced: bool
    cost_nano_usd: _NANO
    cost_usd: _DOLLARS
    tokens: Tokens
    latency_us: int
    attempts: int
    tags: dict[str, Any]


class UsageList(Struct, frozen=True):
    """A page, the newest first. `next` is what `after` takes for the page that follows; null at the end."""

    data: tuple[UsageRecord, ...]
    has_more: bool
    first_id: str | None
    last_id: str | None
    next: str | None


class UsageGroup(Struct, frozen=True):
    """Calls added up, beside the names and values they are grouped by. `unpriced_calls` are not in the cost."""

    calls: int
    unpriced_calls: int
    cost_nano_usd: _NANO
    cost_usd: _DOLLARS
    tokens: Tokens


class UsageSummary(Struct, frozen=True):
    """What was used, by groups and together."""

    object: Literal["usage.summary"]
    group_by: tuple[str, ...]
    data: tuple[UsageGroup, ...]
    total: UsageGroup


_MANY: dict[str, Any] = {"type": "array", "items": {"type": "string"}, "maxItems": 20}
_FILTERED = (
    Parameter("from", "query", "From when on: an RFC 3339 time with an offset, or a date (UTC)."),
    Parameter("to", "query", "Until when, not included."),
    *(Parameter(name, "query", f"Calls with this {name}; several: with any of them.", _MANY) for name in FILTERS),
    Parameter("unpriced", "query", "Calls whose cost nobody knows, or the others.", {"enum": ["true", "false"]}),
    Parameter("format", "query", "What `Accept` says, where it is absent.", {"enum": ["json", "csv"]}),
)
_PAGED = (
    Parameter("limit", "query", "Rows of a page.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}),
    Parameter("after", "query", "The `next` of the page before."),
)
_BY = Parameter("group_by", "query", f"Up to four: filters, {', '.join(BUCKETS)} (UTC), `tag.…`.")
_SEEN = (
    "Keys with a role of their organisation see it whole, operators of the hub see all, any other key its own calls only. `tag.<name>` "
    "asks for the value of a tag. As CSV it is one file, however long."
)


def own(errors: Errors) -> Errors:
    """The same refusals where no provider is asked."""
    return replace(errors, name=f"{errors.name}-own", otherwise="")


def _account(path: str, name: str, tag: str, summary: str, schema: Any, more: tuple[Parameter, ...], errors: Errors) -> Operation:
    headers = ("x-request-id", *(("request-id",) if errors is ANTHROPIC else ()), "hub-receipt")
    answer = Answer("200", "What was used, as far as it concerns the caller.", {"application/json": schema, "text/csv": str}, headers)
    return Operation("GET", path, name, tag, summary, (answer,), own(errors), _SEEN, (*_FILTERED, *more))


OPERATIONS: tuple[Operation, ...] = (
    _account("/v1/usage", "list_usage", "Usage", "Calls and what they cost", UsageList, _PAGED, OPENAI),
    _account("/v1/usage/summary", "sum_usage", "Usage", "The same, added up", UsageSummary, (_BY,), OPENAI),
    _account("/v1/messages", "list_messages", "Usage", "Calls, beside the messages they were made by", UsageList, _PAGED, ANTHROPIC),
)
