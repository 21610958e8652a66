"""The shape of `hub.yaml` as frozen values. The JSON Schema and the configuration reference are generated from these classes.

Times are seconds, sizes are bytes. Each declared object has an `org`; `shared: true` opens it to all organisations.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", description="Lower-case letters, digits, `_` and `-`.")]
Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]


class Secret(Struct, frozen=True):
    """A value that came from the environment or a file. It never prints itself."""

    value: str

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__


class Part(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every section: unknown keys are errors."""


class Server(Part, frozen=True):
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="0 takes a free port.")] = 8080
    workers: Count = 1
    allowed_hosts: Annotated[tuple[str, ...], Meta(description="Host headers accepted besides the loopback names and `host`.")] = ()
    allowed_origins: Annotated[tuple[str, ...], Meta(description="Origin headers accepted besides the hub's own.")] = ()
    trusted_proxies: Annotated[tuple[str, ...], Meta(description="Addresses whose X-Forwarded-* headers are believed.")] = ()
    max_body: Annotated[int, Meta(ge=1024, description="Largest request body on /mcp, in bytes.")] = 4 * 1024 * 1024
    header_timeout: Annotated[Positive, Meta(description="Seconds a client has to send its headers.")] = 10.0
    body_timeout: Annotated[Positive, Meta(description="Seconds a client has to send its body.")] = 30.0
    drain: Annotated[float, Meta(ge=0, description="Seconds running calls get to finish on SIGTERM.")] = 30.0


class Stores(Part, frozen=True):
    database: str = "sqlite:///.hub/hub.db"
    redis: str = ""


class Secrets(Part, frozen=True):
    """Key material given from outside; unset: made at first start in `.hub/secret/`."""

    master: Secret | None = None
    log: Secret | None = None


class Org(Part, frozen=True):
    title: str = ""


class GrantSpec(Part, frozen=True):
    """See `hub.call.Grant`: the same fields."""

    virtual_server: str = ""
    model: str = ""
    agent: str = ""
    tools: tuple[str, ...] = ("*",)
    prompts: tuple[str, ...] = ("*",)
    resources: tuple[str, ...] = ("*",)
    deny: tuple[str, ...] = ()


class KeySpec(Part, frozen=True):
    name: Name
    secret: Secret
    org: Name = "default"
    subject: Annotated[str, Meta(pattern=r"^(user|app|agent):[A-Za-z0-9_.@-]{1,128}$")] = ""
    grants: tuple[GrantSpec, ...] = ()
    roles: tuple[Literal["admin", "auditor"], ...] = ()
    expires: Annotated[str, Meta(description="RFC 3339 time after which the key is refused.")] = ""


class LimitSpec(Part, frozen=True):
    """One rule. It counts separately for each key, subject, organisation or (organisation, tool) it matches."""

    name: Name
    scope: Literal["key", "subject", "org", "tool"]
    match: Annotated[str, Meta(description="Glob over the key's name or id, the subject, the organisation or `upstream/tool`.")] = "*"
    org: Annotated[str, Meta(description="Only for callers of this organisation; `*` is all.")] = "*"
    per_minute: Annotated[int, Meta(ge=1, description="Requests a minute (GCRA).")] | None = None
    burst: Annotated[int, Meta(ge=1, description="Requests that may come at once; default `per_minute`.")] | None = None
    concurrency: Annotated[int, Meta(ge=1, description="Calls in flight.")] | None = None
    per_day: Annotated[int, Meta(ge=1, description="Calls a calendar day, UTC; kept across restarts.")] | None = None


class PolicySpec(Part, frozen=True):
    """Cedar policies, inline or in a file beside `hub.yaml`. Exactly one of `cedar` and `file`."""

    org: Annotated[str, Meta(description="Whose calls it judges; `*` is all.")] = "default"
    cedar: str = ""
    file: str = ""


class Policies(Part, frozen=True):
    default: Annotated[
        Literal["grants", "deny"],
        Meta(description="`grants`: what a key's grants allow is allowed unless a policy forbids. `deny`: a Cedar permit is needed as well."),
    ] = "grants"
    sets: dict[Name, PolicySpec] = field(default_factory=dict[str, PolicySpec])


class Stdio(Part, frozen=True):
    command: str
    args: tuple[str, ...] = ()
    env: dict[str, str | Secret] = field(default_factory=dict[str, str | Secret])
    cwd: str = ""


class Breaker(Part, frozen=True):
    failures: Annotated[Count, Meta(description="Failures in a row that open it.")] = 5
    open_for: Annotated[Positive, Meta(description="Seconds until one call is let through again.")] = 10.0


class UpstreamSpec(Part, frozen=True):
    """A downstream MCP server. Exactly one of `stdio` and `url`."""

    org: Name = "default"
    shared: bool = False
    stdio: Stdio | None = None
    url: str = ""
    protocol: Annotated[str, Meta(pattern=r"^(auto|2024-11-05|2025-03-26|2025-06-18|2025-11-25|2026-07-28)$")] = "auto"
    headers: dict[str, str | Secret] = field(default_factory=dict[str, str | Secret])
    timeout: Annotated[Positive, Meta(description="Seconds without an answer or progress before a call is given up.")] = 60.0
    max_timeout: Annotated[Positive, Meta(description="Seconds a call may take at most, progress or not.")] = 600.0
    start_timeout: Annotated[Positive, Meta(description="Seconds for start and handshake.")] = 30.0
    idle_stop: Annotated[float, Meta(ge=0, description="Seconds without a call after which a stdio server is stopped; 0 never.")] = 600.0
    max_result: Annotated[int, Meta(ge=1024, description="Largest message taken from the server, in bytes.")] = 16 * 1024 * 1024
    concurrency: Annotated[Count, Meta(description="Calls in flight to this server.")] = 256
    breaker: Breaker = Breaker()


class Include(Part, frozen=True):
    """What to take of one upstream: exact names or globs. Left out: all of that kind. Empty list: none."""

    from_: str = field(name="from")
    tools: tuple[str, ...] = ("*",)
    prompts: tuple[str, ...] = ("*",)
    resources: tuple[str, ...] = ("*",)
    exclude: Annotated[tuple[str, ...], Meta(description="Names or globs left out, of any kind; wins over the lists.")] = ()


class Naming(Part, frozen=True):
    prefix: Annotated[
        Literal["never", "auto", "always"], Meta(description="`auto`: only where two upstreams have the same name.")
    ] = "auto"
    separator: Annotated[str, Meta(pattern=r"^[_.-]{1,2}$")] = "_"
    max_length: Annotated[int, Meta(ge=8, le=128)] = 64


class Override(Part, frozen=True):
    """How one tool or prompt is shown. Keyed by `upstream/name` in `virtual_servers.<name>.tools`."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,128}$")] = ""
    title: str | None = None
    description: str | None = None
    annotations: dict[str, Any] | None = None


class VirtualServerSpec(Part, frozen=True):
    org: Name = "default"
    shared: bool = False
    title: str = ""
    instructions: str = ""
    include: tuple[Include, ...] = ()
    exclude: Annotated[tuple[str, ...], Meta(description="Patterns over `upstream/name` or the name, of any kind; deny wins.")] = ()
    naming: Naming = Naming()
    tools: dict[str, Override] = field(default_factory=dict[str, Override])
    prompts: dict[str, Override] = field(default_factory=dict[str, Override])


class Audit(Part, frozen=True):
    origin: Annotated[str, Meta(description="Name of this hub in checkpoints; unset: a random one made at first start.")] = ""
    checkpoint_every: Positive = 1.0


class Telemetry(Part, frozen=True):
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "text", "json"] = "auto"


class Egress(Part, frozen=True):
    connections: Annotated[Count, Meta(description="Connections to one destination at most.")] = 256
    connect_timeout: Positive = 5.0
    ca_file: Annotated[str, Meta(description="PEM bundle trusted instead of the system's.")] = ""


class Config(Part, frozen=True):
    """The whole file."""

    server: Server = Server()
    stores: Stores = Stores()
    secrets: Secrets = Secrets()
    orgs: dict[Name, Org] = field(default_factory=dict[str, Org])
    keys: tuple[KeySpec, ...] = ()
    limits: tuple[LimitSpec, ...] = ()
    policies: Policies = Policies()
    upstreams: dict[Name, UpstreamSpec] = field(default_factory=dict[str, UpstreamSpec])
    virtual_servers: dict[Name, VirtualServerSpec] = field(default_factory=dict[str, VirtualServerSpec])
    audit: Audit = Audit()
    telemetry: Telemetry = Telemetry()
    egress: Egress = Egress()
