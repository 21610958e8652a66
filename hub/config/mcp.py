"""Sections of MCP: upstreams and the virtual servers made of them."""

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from hub.config.values import Count, Owner, Part, Positive, Secret, Shared


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
