"""The vocabulary of the governed path: plain frozen values that every room speaks. Imports nothing of ours but random bytes.

A request is a `Call`. Who makes it is a `Caller`. What policy says of it is a `Decision`. What came back is a `Reply`.
None of these knows a wire protocol, a store or a clock.
"""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from msgspec import Struct

from hub.entropy import take

Kind = Literal["tool", "prompt", "resource", "model"]
"""What a target is at its upstream. `agent` joins with its edge."""


class Credential(Struct, frozen=True):
    """What the caller presented. `secret` is empty when nothing was presented; it must never be shown."""

    secret: str = ""

    def __repr__(self) -> str:
        return "Credential(present)" if self.secret else "Credential(absent)"


class Trace(Struct, frozen=True):
    """W3C trace context of a call. `trace_id` 32 hex digits, `span_id` 16 (ours), `parent_id` 16 or empty (theirs)."""

    trace_id: str
    span_id: str
    parent_id: str = ""
    sampled: bool = False
    state: str = ""

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


class Target(Struct, frozen=True):
    """The stable identity policy, grants and records speak of: never the advertised name."""

    upstream: str
    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.upstream}/{self.name}"


class Grant(Struct, frozen=True):
    """One thing a caller may use. Patterns are shell globs (`fnmatch` case-sensitive rules).

    `virtual_server`, `model`, `agent`: which door the grant opens; empty means the grant is not about that kind of door.
    `tools`, `prompts`, `resources`: patterns over `upstream/name`; a pattern without `/` matches the name at any upstream.
    `deployments`: patterns over `provider/model`; `endpoints`: patterns over the kinds of model calls, such as `chat`.
    `deny`: patterns of the same form, over all kinds; a deny in any grant of the caller wins over every allow.
    """

    virtual_server: str = ""
    model: str = ""
    agent: str = ""
    tools: tuple[str, ...] = ("*",)
    prompts: tuple[str, ...] = ("*",)
    resources: tuple[str, ...] = ("*",)
    deny: tuple[str, ...] = ()
    deployments: tuple[str, ...] = ("*",)
    endpoints: tuple[str, ...] = ("*",)


class Ceiling(Struct, frozen=True):
    """The most that the keys of a unit may use: `unit` is `team:core`, or a user, an application, a project.

    `grants` None: no such unit is declared, though others of its kind are, and nothing is allowed.
    """

    unit: str
    grants: tuple[Grant, ...] | None


class Caller(Struct, frozen=True):
    """Who is asking. `subject` is `key:<id>`, `user:<id>`, `app:<id>` or `agent:<id>`; `grants_version` changes when the grants do.

    `user`, `app`, `team`, `project`: whose money it spends, empty where nobody said. What is not allowed by each of the `ceilings` is
    not allowed, whatever the `grants` say.
    """

    org: str
    subject: str
    key_id: str
    grants: tuple[Grant, ...] = ()
    grants_version: str = ""
    roles: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    chain: tuple[str, ...] = ()
    key_name: str = ""
    user: str = ""
    app: str = ""
    team: str = ""
    project: str = ""
    ceilings: tuple[Ceiling, ...] = ()


class Call(Struct, frozen=True):
    """One request on the governed path. The edge fills the first block; `resolve` fills the second.

    `payload` is the raw JSON of what is sent on (for MCP: `params`), empty when there is none; it is never re-encoded beyond the
    fields the hub owns. `deadline` is in monotonic seconds. `kind` names the operation, as in records: `mcp.tools.call`.
    """

    id: str
    kind: str
    method: str
    door: str
    payload: bytes
    credential: Credential
    deadline: float
    name: str = ""
    era: str = ""
    parent: str = ""
    client_id: str = ""
    trace: Trace | None = None
    session: str = ""
    """What the client calls the conversation it belongs to; for spans alone, and known for sampled calls alone."""
    arrived: float = 0.0
    """When the head of its request had come, in monotonic seconds; as `session`."""
    admitted: float = 0.0
    """When its caller was known; as `arrived`."""
    org: str = ""
    """Its caller's, for what keeps organisations apart further on."""

    target: Target | None = None
    arguments: Any = None
    committed: bytes = b""
    """What the record commits to: the raw `arguments` (for a resource its uri) as the caller sent them; empty: the payload."""
    flags: tuple[str, ...] = ()


class Decision(Struct, frozen=True):
    """What policy said. `reasons` are the ids of the deciding policies, `policy_set` the hash of the set they stand in."""

    allow: bool
    reasons: tuple[str, ...] = ()
    policy_set: str = ""
    errors: tuple[str, ...] = ()
    obligations: tuple[str, ...] = ()


class Tokens(Struct, frozen=True, omit_defaults=True):
    """What a model read and wrote. `input` and `output` are all of it; the others are parts of them, priced apart.

    Of `input`: `cache_read`, `cache_write` (kept for minutes), `cache_write_1h`, `audio_in`, `image_in`. Of `output`: `reasoning`,
    `audio_out`. `requests` counts what is priced by the request, such as a provider's own web searches.
    """

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    audio_in: int = 0
    image_in: int = 0
    reasoning: int = 0
    audio_out: int = 0
    requests: int = 0


class Usage(Struct, frozen=True):
    """What a call consumed. `cost` is integer nano-dollars, None where nobody knows it."""

    bytes_in: int = 0
    bytes_out: int = 0
    tokens: Tokens | None = None
    cost: int | None = None


class Reply(Struct, frozen=True):
    """What came back: raw JSON of the result, or raw JSON of the peer's own error object. Exactly one of the two is set.

    Of a stream `result` holds its last bytes alone, and `committed` what the record commits to in their place: `sha256:` and the hex
    digest of all its bytes. `facts` are members that the record of the outcome has besides.
    """

    result: bytes = b""
    error: bytes = b""
    is_error: bool = False
    usage: Usage = Usage()
    committed: bytes = b""
    facts: dict[str, Any] | None = None


class Chunk(Struct, frozen=True):
    """A message that precedes the reply and belongs to it, such as a progress notification."""

    method: str
    params: bytes


Emit = Callable[[Chunk], Awaitable[None]]
"""Where an upstream puts the chunks that precede its reply. Awaiting it applies back pressure."""


class Upstream(Protocol):
    """Anything a call can be sent to. Cancelling `send` cancels the work downstream."""

    async def send(self, call: Call, emit: Emit) -> Reply:
        """Send `call.payload` and wait for the reply. Raises a `Refusal` when no reply can be had."""
        ...


def new_id() -> str:
    """A UUIDv7 (RFC 9562, section 5.7): sortable by time, 74 random bits."""
    milliseconds, random = time.time_ns() // 1_000_000, take(10)
    digits = random.hex()
    head, variant = f"{milliseconds >> 16:08x}-{milliseconds & 0xFFFF:04x}", "89ab"[random[2] >> 6]
    return f"{head}-7{digits[1:4]}-{variant}{digits[5:8]}-{digits[8:]}"


def timestamp() -> str:
    """Now, as an RFC 3339 string in UTC with microseconds. For reading only: order is the tree index, never the clock."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
