"""What a worker and the stdio host tell each other, as values. A message is one frame of their line.

Each that belongs to a call carries one JSON-RPC message, already cut into its parts, whose raw bytes are those the client or the server
sent: nobody parses them again on the way. `ident` is the worker's number of the call, `handle` its number of the server; both count for
one line only. Times are monotonic seconds, which are the same in all processes of a machine.
"""

from msgspec import Struct

from hub.call import Trace
from virtual_servers.catalog import Catalogue


class Message(Struct, frozen=True, array_like=True):
    """Base of all messages."""


# What a worker tells


class Use(Message, frozen=True, tag=1):
    """From now on `handle` is the upstream `name` as configured under this digest."""

    handle: int
    name: str
    digest: bytes


class Leave(Message, frozen=True, tag=2):
    """`handle` is used no more."""

    handle: int


class Ask(Message, frozen=True, tag=3):
    """A request for the server. Answered by any number of `Said`, then `Answered` or `Failed`."""

    ident: int
    handle: int
    method: str
    params: bytes
    deadline: float
    org: str
    trace: Trace | None


class Cancel(Message, frozen=True, tag=4):
    """Nobody waits for the answer any more."""

    ident: int


class Fetch(Message, frozen=True, tag=5):
    """Answered by `Fetched` or `Failed`."""

    ident: int
    handle: int


class Look(Message, frozen=True, tag=6):
    """Answered by `Shown` or `Failed`."""

    ident: int
    handle: int


# What the host tells


class Hello(Message, frozen=True, tag=16):
    """The first message."""

    pid: int


class Said(Message, frozen=True, tag=17):
    """A notification that belongs to the call, such as progress, under the client's own token."""

    ident: int
    method: str
    params: bytes


class Answered(Message, frozen=True, tag=18):
    """The response: exactly one of `result` and `error` is set. `era` is what the server speaks."""

    ident: int
    era: str
    result: bytes
    error: bytes
    is_error: bool
    bytes_in: int
    bytes_out: int


class Failed(Message, frozen=True, tag=19):
    """There is no response: a refusal, by its code."""

    ident: int
    code: str
    message: str
    retry_after: float | None
    detail: str


class Fetched(Message, frozen=True, tag=20):
    ident: int
    catalogue: Catalogue


class Shown(Message, frozen=True, tag=21):
    """`status` is the JSON object an operator sees of the server."""

    ident: int
    status: bytes


class Changed(Message, frozen=True, tag=22):
    """The server says that its `kind` (tools, prompts, resources) have changed, or may have while it was not heard."""

    handle: int
    kind: str


ToHost = Use | Leave | Ask | Cancel | Fetch | Look
ToWorker = Hello | Said | Answered | Failed | Fetched | Shown | Changed
Answer = Answered | Failed | Fetched | Shown
