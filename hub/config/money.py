"""Sections of money: budgets, alerts, prices."""

from typing import Annotated, Literal

from msgspec import Meta, field

from hub.config.values import Count, Dollars, Most, Name, Part, Percent, Secret


class AlertSpec(Part, frozen=True):
    """Who is told how much of a budget is spent: once for each threshold, counter and window."""

    percents: Annotated[tuple[Percent, ...], Meta(description="Thresholds, in percent of the amount.")] = (50, 80, 100)
    url: Annotated[str, Meta(description="Address to which a JSON object is posted; unset: nobody is told.")] = ""
    headers: Annotated[dict[str, str | Secret], Meta(description="Headers of each request to `url`.")] = field(
        default_factory=dict[str, str | Secret]
    )


class BudgetSpec(Part, frozen=True):
    """What may be spent on models in a window. It counts separately for each key, user, application, team, project or organisation it
    matches; a `global` one counts all together. Exactly one of `usd`, `tokens`, `tokens_in`, `tokens_out` and `requests`."""

    name: Name
    scope: Annotated[Literal["key", "user", "app", "team", "project", "org", "global"], Meta(description="What is counted separately.")]
    window: Annotated[
        str,
        Meta(
            pattern=r"^(day|week|month|quarter|year|lifetime|[1-9][0-9]{0,6}[smhd])$",
            description="Calendar `day`, `week` (from Monday), `month`, `quarter` or `year` in `zone`; the last `90s`, `15m`, `24h`, "
            "`30d`; or `lifetime`.",
        ),
    ]
    match: Annotated[str, Meta(description="Glob over the key's name or id, or the name of the user, application, team, …")] = "*"
    org: Annotated[str, Meta(description="Only for callers of this organisation; `*` is all.")] = "*"
    usd: Annotated[Dollars | None, Meta(description="Amount in US dollars, to the nano-dollar; at most 9,000,000.")] = None
    tokens: Annotated[Most, Meta(description="Amount in tokens read and written.")] | None = None
    tokens_in: Annotated[Most, Meta(description="Amount in tokens read.")] | None = None
    tokens_out: Annotated[Most, Meta(description="Amount in tokens written.")] | None = None
    requests: Annotated[Most, Meta(description="Amount in calls.")] | None = None
    zone: Annotated[str, Meta(description="Time zone of a calendar window, such as `Europe/Madrid`.")] = "UTC"
    providers: Annotated[tuple[str, ...], Meta(description="Globs of the providers it is about.")] = ("*",)
    models: Annotated[tuple[str, ...], Meta(description="Globs of the models it is about, by the provider's name of them.")] = ("*",)
    enforce: Annotated[
        Literal["hard", "soft"], Meta(description="`hard`: a call that might not fit is refused. `soft`: it is let through, and told.")
    ] = "hard"
    status: Annotated[Literal[402, 403, 429], Meta(description="HTTP status of a refusal.")] = 429
    retry_after: Annotated[Literal["reset", "none"], Meta(description="Whether a refusal says in how many seconds the call would fit.")] = (
        "reset"
    )
    alerts: Annotated[AlertSpec, Meta(description="Who is told how much is spent.")] = AlertSpec()


class RatesSpec(Part, frozen=True):
    """US dollars per million tokens. A part that is not given costs what its side costs."""

    input: Annotated[Dollars | None, Meta(description="What the model reads.")] = None
    output: Annotated[Dollars | None, Meta(description="What it writes; unset: it writes nothing, as for embeddings.")] = None
    cache_read: Annotated[Dollars | None, Meta(description="Read from the provider's cache.")] = None
    cache_write: Annotated[Dollars | None, Meta(description="Written to it, kept for minutes.")] = None
    cache_write_1h: Annotated[Dollars | None, Meta(description="Written to it, kept for an hour; unset: as `cache_write`.")] = None
    audio_in: Annotated[Dollars | None, Meta(description="Sound it hears.")] = None
    image_in: Annotated[Dollars | None, Meta(description="Images it sees.")] = None
    reasoning: Annotated[Dollars | None, Meta(description="What it thinks.")] = None
    audio_out: Annotated[Dollars | None, Meta(description="Sound it makes.")] = None


class LongSpec(RatesSpec, frozen=True, kw_only=True):
    """Rates of calls whose whole input is longer; they hold for all of its tokens."""

    over: Annotated[Count, Meta(description="Tokens of input that a call must exceed.")]


class PriceSpec(RatesSpec, frozen=True, kw_only=True):
    """A price of your own. It wins over the table that comes with the hub. Of entries for the same `org`, `provider`, `model` and `service`
    the one that began last holds; of others that fit, the first in the file, those of the caller's organisation before those of all."""

    model: Annotated[str, Meta(description="Glob over the provider's name of the model.")]
    provider: Annotated[str, Meta(description="Glob over the names under `providers`.")] = "*"
    org: Annotated[str, Meta(description="Only for callers of this organisation; `*` is all.")] = "*"
    service: Annotated[
        Literal["", "standard", "batch", "flex", "priority", "fast", "ultrafast"],
        Meta(description="Class of service it is about; unset: every one."),
    ] = ""
    effective_from: Annotated[str, Meta(description="RFC 3339 time from which it holds; unset: always.")] = ""
    free: Annotated[bool, Meta(description="It costs nothing, and that is known: models that run on your own machines.")] = False
    call: Annotated[Dollars | None, Meta(description="US dollars for each call, beside its tokens.")] = None
    search: Annotated[Dollars | None, Meta(description="US dollars for each search the provider makes.")] = None
    long: Annotated[tuple[LongSpec, ...], Meta(description="Rates of calls with long inputs.")] = ()
