"""The shape of `hub.yaml` as frozen values. The JSON Schema and the configuration reference are generated from these classes.

Times are seconds, sizes are bytes. Each declared object has an `org`; `shared: true` opens it to all organisations.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from hub.config.sensitive import without_secrets

NAME = r"^[a-z0-9][a-z0-9_-]{0,62}$"
Name = Annotated[str, Meta(pattern=NAME, description="Lower-case letters, digits, `_` and `-`.")]
ModelName = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", description="Letters, digits, `.`, `_` and `-`, as clients name models.")
]
Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]
Most = Annotated[int, Meta(ge=1, le=9_000_000_000_000_000)]
Percent = Annotated[int, Meta(ge=1, le=1000)]
Owner = Annotated[Name, Meta(description="The organisation it belongs to.")]
_SPENDER = r"^[A-Za-z0-9_.@-]{0,128}$"
Shared = Annotated[bool, Meta(description="Whether every organisation may use it.")]


class Secret(Struct, frozen=True):
    """A value that came from the environment or a file. It never prints itself."""

    value: str

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__


class KeptSecret(Secret, frozen=True):
    """A secret that may also be kept in the vault: then `vault` is its name there and `value` is empty."""

    vault: str = ""


class Address(Struct, frozen=True):
    """Where a store is, as a URL. It never prints the secrets in it."""

    url: str

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"

    def __str__(self) -> str:
        return without_secrets(self.url)


class Dollars(Struct, frozen=True):
    """An amount of US dollars, exact: written as a number or a text with at most nine decimals, kept as integer nano-dollars."""

    nano: Annotated[int, Meta(description="Billionths of a dollar.")]

    def __str__(self) -> str:
        whole, rest = divmod(self.nano, 1_000_000_000)
        return f"{whole}.{rest:09d}".rstrip("0").rstrip(".")


class Part(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every section: unknown keys are errors."""


class Server(Part, frozen=True):
    """Where the hub listens, and how long it waits."""

    host: Annotated[str, Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="0 takes a free port.")] = 8080
    workers: Annotated[Count, Meta(description="Processes that serve. More than one needs PostgreSQL and Redis.")] = 1
    allowed_hosts: Annotated[tuple[str, ...], Meta(description="Host headers accepted besides the loopback names and `host`.")] = ()
    allowed_origins: Annotated[tuple[str, ...], Meta(description="Origin headers accepted besides the hub's own.")] = ()
    trusted_proxies: Annotated[tuple[str, ...], Meta(description="Addresses whose X-Forwarded-* headers are believed.")] = ()
    max_body: Annotated[int, Meta(ge=1024, description="Largest request body on /mcp, in bytes.")] = 4 * 1024 * 1024
    max_model_body: Annotated[int, Meta(ge=1024, description="Largest request body on /v1, in bytes.")] = 32 * 1024 * 1024
    header_timeout: Annotated[Positive, Meta(description="Seconds a client has to send its headers.")] = 10.0
    body_timeout: Annotated[Positive, Meta(description="Seconds a client has to send its body.")] = 30.0
    notice: Annotated[
        float,
        Meta(ge=0, description="Seconds on SIGTERM in which requests are still served while `/health/ready` says 503: for load balancers."),
    ] = 0.0
    keep_alive: Annotated[
        float, Meta(ge=0, description="Seconds of a provider's silence within a stream after which the client gets a keep-alive; 0: never.")
    ] = 15.0
    drain: Annotated[float, Meta(ge=0, description="Seconds running calls get to finish on SIGTERM, after `notice`.")] = 30.0


class Stores(Part, frozen=True):
    """Where the hub keeps its journal, its keys and its counters."""

    database: Annotated[
        Address,
        Meta(
            description="`sqlite:///path`, relative to the working directory, for one process; "
            "`postgresql://user@host/database` for any number (docs/postgresql.md)."
        ),
    ] = Address("sqlite:///.hub/hub.db")
    redis: Annotated[
        Address,
        Meta(
            description="For several workers or replicas: `redis://host:6379/0`, `rediss://…` (TLS), "
            "`redis+sentinel://host:26379,…/service/0`, `redis+cluster://host:6379,…`; empty: none."
        ),
    ] = Address("")


class VaultKey(Part, frozen=True):
    """The key that stored values are wrapped under. At most one of `key` and `command`; with neither it is derived from the master."""

    key: Annotated[Secret | None, Meta(description="32 bytes in base64.")] = None
    command: Annotated[
        tuple[str, ...],
        Meta(description="Program and arguments that print it; run once as each process starts, without a shell, in ten seconds at most."),
    ] = ()
    accepted: Annotated[
        tuple[Secret, ...], Meta(description="Further keys that values may still be wrapped under, while the key is changed.")
    ] = ()


class Secrets(Part, frozen=True):
    """Key material given from outside; unset: made at first start in `.hub/secret/`."""

    master: Annotated[Secret | None, Meta(description="Master key, 32 bytes in base64: key hashes and cursors derive from it.")] = None
    log: Annotated[Secret | None, Meta(description="Seed of the Ed25519 key that signs checkpoints, 32 bytes in base64.")] = None
    vault: Annotated[VaultKey | None, Meta(description="The key of the vault; unset: derived from the master (docs/vault.md).")] = None


class Org(Part, frozen=True):
    """An organisation. Where any is declared, `org` elsewhere must name one of them or `default`."""

    title: Annotated[str, Meta(description="Name for people.")] = ""


class GrantSpec(Part, frozen=True):
    """One thing a caller may use. Patterns are globs over `upstream/name`; one without `/` matches the name at any upstream."""

    virtual_server: Annotated[str, Meta(description="Virtual servers it opens: a name or a glob, within the key's organisation.")] = ""
    model: Annotated[
        str,
        Meta(description="Models it opens: a name of `models`, `provider:model`, or a glob over both, within the key's organisation."),
    ] = ""
    agent: Annotated[str, Meta(description="Agents it opens.")] = ""
    tools: Annotated[tuple[str, ...], Meta(description="Tools it opens there.")] = ("*",)
    prompts: Annotated[tuple[str, ...], Meta(description="Prompts it opens there.")] = ("*",)
    resources: Annotated[tuple[str, ...], Meta(description="Resources it opens there.")] = ("*",)
    deployments: Annotated[tuple[str, ...], Meta(description="Which of a model's deployments it opens, over `provider/model`.")] = ("*",)
    endpoints: Annotated[
        tuple[str, ...],
        Meta(
            description="Which kinds of model calls: `chat`, `responses`, `messages`, `completions`, `embeddings`, `moderations`, or globs."
        ),
    ] = ("*",)
    deny: Annotated[tuple[str, ...], Meta(description="Never, of any kind: wins over what any grant of the key allows.")] = ()


class KeySpec(Part, frozen=True):
    """A key declared in the file. It is never written to the database; taking it out of the file revokes it."""

    name: Name
    secret: Annotated[Secret, Meta(description="The key itself, as `hub keys mint` prints one.")]
    org: Owner = "default"
    subject: Annotated[
        str,
        Meta(pattern=r"^(user|app|agent):[A-Za-z0-9_.@-]{1,128}$", description="Who it stands for: `user:…`, `app:…` or `agent:…`."),
    ] = ""
    grants: Annotated[tuple[GrantSpec, ...], Meta(description="What it may use.")] = ()
    roles: Annotated[tuple[Literal["admin", "auditor"], ...], Meta(description="What it may do on the admin API.")] = ()
    user: Annotated[str, Meta(pattern=_SPENDER, description="User whose money it spends; unset: the subject, where that is a user.")] = ""
    app: Annotated[str, Meta(pattern=_SPENDER, description="Application whose money it spends; unset: the subject, where it is one.")] = ""
    team: Annotated[str, Meta(pattern=_SPENDER, description="Team whose money it spends.")] = ""
    project: Annotated[str, Meta(pattern=_SPENDER, description="Project whose money it spends.")] = ""
    expires: Annotated[str, Meta(description="RFC 3339 time after which the key is refused.")] = ""


class LimitSpec(Part, frozen=True):
    """One rule. It counts separately for each key, subject, organisation or (organisation, tool) it matches."""

    name: Name
    scope: Annotated[Literal["key", "subject", "org", "tool"], Meta(description="What is counted separately.")]
    match: Annotated[str, Meta(description="Glob over the key's name or id, the subject, the organisation or `upstream/tool`.")] = "*"
    org: Annotated[str, Meta(description="Only for callers of this organisation; `*` is all.")] = "*"
    per_minute: Annotated[int, Meta(ge=1, description="Requests a minute (GCRA).")] | None = None
    burst: Annotated[int, Meta(ge=1, description="Requests that may come at once; default `per_minute`.")] | None = None
    concurrency: Annotated[int, Meta(ge=1, description="Calls in flight.")] | None = None
    per_day: Annotated[int, Meta(ge=1, description="Calls a calendar day, UTC; kept across restarts.")] | None = None
    tokens_per_minute: Annotated[Most, Meta(description="Tokens of models, read and written, in any minute.")] | None = None
    tokens_in_per_minute: Annotated[Most, Meta(description="Tokens of models read in any minute.")] | None = None
    tokens_out_per_minute: Annotated[Most, Meta(description="Tokens of models written in any minute.")] | None = None


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


class PolicySpec(Part, frozen=True):
    """Cedar policies, inline or in a file beside `hub.yaml`. Exactly one of `cedar` and `file`."""

    org: Annotated[str, Meta(description="Whose calls it judges; `*` is all.")] = "default"
    cedar: Annotated[str, Meta(description="Policies as text.")] = ""
    file: Annotated[str, Meta(description="File that holds them, relative to `hub.yaml`.")] = ""


class Policies(Part, frozen=True):
    """What is decided on each call, after the caller is known."""

    default: Annotated[
        Literal["grants", "deny"],
        Meta(
            description="`grants`: what a key's grants allow is allowed unless a policy forbids. `deny`: a Cedar permit is needed as well."
        ),
    ] = "grants"
    sets: Annotated[dict[Name, PolicySpec], Meta(description="Policies by name of their set.")] = field(
        default_factory=dict[str, PolicySpec]
    )


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


class Stdio(Part, frozen=True):
    """A program the hub starts and speaks to over its pipes."""

    command: Annotated[str, Meta(description="Program, by path or by name on the hub's PATH. No shell is involved.")]
    args: Annotated[tuple[str, ...], Meta(description="Its arguments.")] = ()
    env: Annotated[
        dict[str, str | Secret], Meta(description="Its environment, besides the hub's own PATH and LANG: nothing else is passed on.")
    ] = field(default_factory=dict[str, str | Secret])
    cwd: Annotated[str, Meta(description="Its working directory; unset: the hub's.")] = ""


class Breaker(Part, frozen=True):
    """When a failing server is left alone."""

    failures: Annotated[Count, Meta(description="Failures in a row that open it.")] = 5
    open_for: Annotated[Positive, Meta(description="Seconds until one call is let through again.")] = 10.0


class UpstreamSpec(Part, frozen=True):
    """A downstream MCP server. Exactly one of `stdio` and `url`."""

    org: Owner = "default"
    shared: Shared = False
    stdio: Annotated[Stdio | None, Meta(description="The program to start.")] = None
    url: Annotated[str, Meta(description="Address of its streamable HTTP endpoint.")] = ""
    protocol: Annotated[
        str,
        Meta(
            pattern=r"^(auto|2024-11-05|2025-03-26|2025-06-18|2025-11-25|2026-07-28)$",
            description="MCP version to speak with it; `auto` finds out.",
        ),
    ] = "auto"
    headers: Annotated[dict[str, str | Secret], Meta(description="Headers of each request to `url`.")] = field(
        default_factory=dict[str, str | Secret]
    )
    timeout: Annotated[Positive, Meta(description="Seconds without an answer or progress before a call is given up.")] = 60.0
    max_timeout: Annotated[Positive, Meta(description="Seconds a call may take at most, progress or not.")] = 600.0
    start_timeout: Annotated[Positive, Meta(description="Seconds for start and handshake.")] = 30.0
    idle_stop: Annotated[float, Meta(ge=0, description="Seconds without a call after which a stdio server is stopped; 0 never.")] = 600.0
    max_result: Annotated[int, Meta(ge=1024, description="Largest message taken from the server, in bytes.")] = 16 * 1024 * 1024
    concurrency: Annotated[Count, Meta(description="Calls in flight to this server.")] = 256
    breaker: Annotated[Breaker, Meta(description="When it is left alone.")] = Breaker()


class Include(Part, frozen=True):
    """What to take of one upstream: exact names or globs. Left out: all of that kind. Empty list: none."""

    from_: Annotated[str, Meta(description="Name of the upstream.")] = field(name="from")
    tools: Annotated[tuple[str, ...], Meta(description="Tools to take.")] = ("*",)
    prompts: Annotated[tuple[str, ...], Meta(description="Prompts to take.")] = ("*",)
    resources: Annotated[tuple[str, ...], Meta(description="Resources and templates to take, by URI.")] = ("*",)
    exclude: Annotated[tuple[str, ...], Meta(description="Names or globs left out, of any kind; wins over the lists.")] = ()


class Naming(Part, frozen=True):
    """How names of several upstreams are kept apart."""

    prefix: Annotated[Literal["never", "auto", "always"], Meta(description="`auto`: only where two upstreams have the same name.")] = "auto"
    separator: Annotated[str, Meta(pattern=r"^[_.-]{1,2}$", description="Stands between the upstream's name and the tool's.")] = "_"
    max_length: Annotated[int, Meta(ge=8, le=128, description="Longest name shown; a longer one is shortened and marked by a hash.")] = 64


class Override(Part, frozen=True):
    """How one tool or prompt is shown. Keyed by `upstream/name` in `virtual_servers.<name>.tools`."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,128}$", description="Name shown; unset: as the naming rules give.")] = ""
    title: Annotated[str, Meta(description="Title shown in place of the upstream's.")] | None = None
    description: Annotated[str, Meta(description="Description shown in place of the upstream's.")] | None = None
    annotations: Annotated[dict[str, Any], Meta(description="Annotations laid over the upstream's, such as `readOnlyHint`.")] | None = None


class VirtualServerSpec(Part, frozen=True):
    """A curated view over upstreams, served at `/mcp/<name>`."""

    org: Owner = "default"
    shared: Shared = False
    title: Annotated[str, Meta(description="Name for people, given to clients.")] = ""
    instructions: Annotated[str, Meta(description="What clients are told about the server as a whole.")] = ""
    include: Annotated[tuple[Include, ...], Meta(description="What to take, upstream by upstream.")] = ()
    exclude: Annotated[tuple[str, ...], Meta(description="Patterns over `upstream/name` or the name, of any kind; deny wins.")] = ()
    naming: Annotated[Naming, Meta(description="How names are kept apart.")] = Naming()
    tools: Annotated[dict[str, Override], Meta(description="How single tools are shown, by `upstream/name`.")] = field(
        default_factory=dict[str, Override]
    )
    prompts: Annotated[dict[str, Override], Meta(description="How single prompts are shown, by `upstream/name`.")] = field(
        default_factory=dict[str, Override]
    )


class ProviderSpec(Part, frozen=True):
    """A provider of models, spoken to over HTTP."""

    wire: Annotated[Literal["openai", "anthropic"], Meta(description="The API it speaks: OpenAI's, which most copy, or Anthropic's.")]
    base_url: Annotated[str, Meta(description="Where its API begins, such as `https://api.openai.com/v1` or `https://api.anthropic.com`.")]
    org: Owner = "default"
    shared: Shared = False
    api_key: Annotated[
        KeptSecret | None,
        Meta(
            description="The hub's own key there: a reference such as `${NAME}`, or `vault:NAME` (docs/vault.md). No client ever sees it."
        ),
    ] = None
    like: Annotated[
        str, Meta(description="The known provider it behaves like, such as `groq` or `vllm`; unset: told by its name, then by the host.")
    ] = ""
    headers: Annotated[dict[str, str | Secret], Meta(description="Further headers of each request.")] = field(
        default_factory=dict[str, str | Secret]
    )
    timeout: Annotated[Positive, Meta(description="Seconds without a byte of the answer before an attempt is given up.")] = 120.0
    max_timeout: Annotated[Positive, Meta(description="Seconds an answer may take in all.")] = 1800.0
    max_reply: Annotated[int, Meta(ge=1024, description="Largest answer taken whole, in bytes.")] = 64 * 1024 * 1024
    concurrency: Annotated[Count, Meta(description="Calls in flight to this provider.")] = 1024
    breaker: Annotated[Breaker, Meta(description="When one of its deployments is left alone; each model is counted for itself.")] = (
        Breaker()
    )
    attribution: Annotated[
        bool, Meta(description="Whether it is told, hashed, whose call it is, where the client does not say (docs/observability.md).")
    ] = False


class Deployment(Part, frozen=True):
    """One place where a model is to be had."""

    provider: Annotated[Name, Meta(description="Name of the provider.")]
    model: Annotated[str, Meta(min_length=1, max_length=256, description="What the provider calls the model.")]
    weight: Annotated[int, Meta(ge=0, description="Its share with the strategy `weighted`; 0: only where the others fail.")] = 1
    context_window: Annotated[Count | None, Meta(description="Tokens it takes, question and answer; larger requests go elsewhere.")] = None
    lacks: Annotated[
        tuple[Literal["tools", "vision", "json_schema"], ...],
        Meta(description="What it cannot do: requests that need it go elsewhere."),
    ] = ()


class RouteRule(Part, frozen=True):
    """Other deployments for some requests. The first rule that fits counts; where both conditions are given both must hold."""

    route: Annotated[tuple[Deployment, ...], Meta(min_length=1, description="Where these requests go instead.")]
    prompt_over: Annotated[Count | None, Meta(description="For requests of more than about so many tokens.")] = None
    budget_under: (
        Annotated[int, Meta(ge=1, le=100, description="For callers with less than so many percent of their tightest budget left.")] | None
    ) = None


class Retry(Part, frozen=True):
    """Asking the same deployment again: where it could not be connected to, or says itself that it will soon be ready."""

    times: Annotated[int, Meta(ge=0, le=10, description="How often for one call, at each deployment.")] = 1
    within: Annotated[float, Meta(ge=0, description="Seconds one call may wait for that in all.")] = 2.0


class ModelSpec(Part, frozen=True):
    """A model as clients name it, and where calls of it go."""

    route: Annotated[tuple[Deployment, ...], Meta(min_length=1, description="Where it is to be had.")]
    org: Owner = "default"
    shared: Shared = False
    title: Annotated[str, Meta(description="Name for people.")] = ""
    strategy: Annotated[
        Literal["order", "weighted", "latency", "cost"],
        Meta(description="Who is asked first: the first of the route, one drawn by weight, the quickest, the cheapest."),
    ] = "order"
    sticky: Annotated[
        Literal["key", "user", "none"],
        Meta(description="With `weighted`: whose calls stay with one deployment: each key's, each user's (else the key's), nobody's."),
    ] = "key"
    explore: Annotated[Positive, Meta(description="With `latency`: seconds after which one that was not asked is tried again.")] = 30.0
    rules: Annotated[tuple[RouteRule, ...], Meta(description="Other deployments for some requests.")] = ()
    retry: Annotated[Retry, Meta(description="Asking the same deployment again.")] = Retry()


class Audit(Part, frozen=True):
    """The journal of calls."""

    origin: Annotated[str, Meta(description="Name of this hub in checkpoints; unset: a random one made at first start.")] = ""
    checkpoint_every: Annotated[
        Positive, Meta(description="Seconds between signed checkpoints of an organisation that has new records.")
    ] = 1.0


class OtlpSpec(Part, frozen=True):
    """A collector of spans that takes OTLP over HTTP."""

    endpoint: Annotated[str, Meta(description="Its address, such as `http://collector:4318`; `/v1/traces` is put after it.")]
    headers: Annotated[dict[str, str | Secret], Meta(description="Headers of each request, such as an API key.")] = field(
        default_factory=dict[str, str | Secret]
    )
    timeout: Annotated[Positive, Meta(description="Seconds a request may take.")] = 10.0


class LangfuseSpec(Part, frozen=True):
    """A project of Langfuse."""

    public_key: Annotated[str, Meta(description="The project's public key, `pk-lf-…`.")]
    secret_key: Annotated[Secret, Meta(description="Its secret key, `sk-lf-…`.")]
    url: Annotated[str, Meta(description="Where Langfuse is: a region of its cloud, or your own.")] = "https://cloud.langfuse.com"
    environment: Annotated[
        str,
        Meta(pattern=r"^(?!langfuse)[a-z0-9_-]{0,40}$", description="Environment the traces are filed under; unset: Langfuse's default."),
    ] = ""
    timeout: Annotated[Positive, Meta(description="Seconds a request may take.")] = 10.0


class Telemetry(Part, frozen=True):
    """What the hub tells of itself: logs, and spans (docs/observability.md)."""

    log_level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="Least severe level written.")] = "info"
    log_format: Annotated[Literal["auto", "text", "json"], Meta(description="`auto`: text on a terminal, else JSON.")] = "auto"
    access_log: Annotated[bool, Meta(description="Whether each call is a line of the log, at level info.")] = False
    otlp: Annotated[dict[Name, OtlpSpec], Meta(description="Collectors that get the spans of sampled calls, by name.")] = field(
        default_factory=dict[str, OtlpSpec]
    )
    langfuse: Annotated[dict[Name, LangfuseSpec], Meta(description="Projects of Langfuse that get them, by name.")] = field(
        default_factory=dict[str, LangfuseSpec]
    )
    sample: Annotated[
        float,
        Meta(ge=0, le=1, description="Share of the traces that begin here which is sampled. A caller's own trace: as its header says."),
    ] = 1.0
    service: Annotated[str, Meta(description="`service.name` of the spans.")] = "countersign"
    queue: Annotated[Count, Meta(description="Spans that may wait for each target; more are dropped and counted.")] = 16384
    every: Annotated[Positive, Meta(description="Seconds between two batches.")] = 2.0
    grace: Annotated[float, Meta(ge=0, description="Seconds spared for the last batches when the hub stops.")] = 2.0


class Egress(Part, frozen=True):
    """The client behind every outbound HTTP request."""

    connections: Annotated[Count, Meta(description="Connections to one destination at most.")] = 256
    connect_timeout: Annotated[Positive, Meta(description="Seconds to connect.")] = 5.0
    ca_file: Annotated[str, Meta(description="PEM bundle trusted instead of the system's.")] = ""


class Config(Part, frozen=True):
    """The whole file."""

    server: Server = Server()
    stores: Stores = Stores()
    secrets: Secrets = Secrets()
    orgs: Annotated[dict[Name, Org], Meta(description="Organisations, by name.")] = field(default_factory=dict[str, Org])
    keys: Annotated[tuple[KeySpec, ...], Meta(description="Declared keys. `hub keys create` makes stored ones.")] = ()
    limits: Annotated[tuple[LimitSpec, ...], Meta(description="Limits on requests; every one that matches must have room.")] = ()
    budgets: Annotated[
        tuple[BudgetSpec, ...], Meta(description="What may be spent on models; every hard one that matches must have room.")
    ] = ()
    policies: Policies = Policies()
    prices: Annotated[tuple[PriceSpec, ...], Meta(description="Prices of your own for models; they win over the hub's table.")] = ()
    upstreams: Annotated[dict[Name, UpstreamSpec], Meta(description="Downstream MCP servers, by name.")] = field(
        default_factory=dict[str, UpstreamSpec]
    )
    virtual_servers: Annotated[dict[Name, VirtualServerSpec], Meta(description="What clients connect to, by name.")] = field(
        default_factory=dict[str, VirtualServerSpec]
    )
    providers: Annotated[dict[Name, ProviderSpec], Meta(description="Providers of models, by name.")] = field(
        default_factory=dict[str, ProviderSpec]
    )
    models: Annotated[dict[ModelName, ModelSpec], Meta(description="Models as clients name them.")] = field(
        default_factory=dict[str, ModelSpec]
    )
    audit: Audit = Audit()
    telemetry: Telemetry = Telemetry()
    egress: Egress = Egress()
