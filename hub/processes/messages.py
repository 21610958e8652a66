"""What a parent and its children tell each other, as values. Each child has a socket to its parent; a message is one frame of it.

A worker's life: `Begin` → it starts → `Ready` → (`Check`, `Adopt`, where the configuration has changed since) → `Serve` → `Serving` → …
→ `Retire`, or `Notice` and `Drain` → `Counted`, and it ends. The end of the socket is the end of the other process.

The stdio host's life: `Hold` → it starts → `Holding` → (`Take`, where the configuration changes) → … → `Drain`, and it ends.
"""

from typing import Literal

from msgspec import Struct

State = Literal["starting", "serving", "retiring", "stopping"]


class Message(Struct, frozen=True, array_like=True):
    """Base of all messages. `tag` by the name of the class."""


# What a worker is told


class Begin(Message, frozen=True, tag=True):
    """The first message. `config` is a parcel (`hub.processes.parcel`): it holds the secrets, which travel nowhere else.

    `welcome`: whether this worker makes and shows the first keys. `listener`, `board` and `plug` are descriptors the worker was started
    with; lines to the stdio host come through the last (`hub.processes.handover`).
    """

    version: str
    generation: int
    config: bytes
    url: str
    welcome: bool
    listener: int
    board: int
    plug: int = -1


class Serve(Message, frozen=True, tag=True):
    """Take connections from now on."""


class Check(Message, frozen=True, tag=True):
    """Say whether this configuration could be put in force. Answered by `Vote`."""

    generation: int
    config: bytes


class Adopt(Message, frozen=True, tag=True):
    """Put in force what was checked under this number. Answered by `Adopting`, then `Adopted`."""

    generation: int


class Count(Message, frozen=True, tag=True):
    """Say what has been counted. Answered by `Counted` with the same number."""

    ask: int


class Totals(Message, frozen=True, tag=True):
    """The answer to `Ask`, with its number: the counts of all workers."""

    ask: int
    families: "tuple[Family, ...]"


class Standings(Message, frozen=True, tag=True):
    """Where every worker stands, whenever one of them changes."""

    workers: "tuple[Standing, ...]"


class Notice(Message, frozen=True, tag=True):
    """The hub is about to stop: not ready from now on, but serve on until `Drain`."""


class Retire(Message, frozen=True, tag=True):
    """Take no new connections, leave the old ones one by one, then stop: another worker has taken the place of this one."""


class Drain(Message, frozen=True, tag=True):
    """Stop, with the patience of `server.drain`."""


class Hurry(Message, frozen=True, tag=True):
    """Cut what is still under way."""


# What the stdio host is told; `Count` and `Drain` as well


class Hold(Message, frozen=True, tag=True):
    """The first message. `config` is a parcel with the stdio upstreams and nothing else that is secret. Lines to workers come through the
    descriptor `plug`.
    """

    version: str
    generation: int
    config: bytes
    plug: int = -1


class Take(Message, frozen=True, tag=True):
    """Every worker has agreed on this configuration, of which it gets its part, and is about to adopt it."""

    config: bytes


# What a worker tells


class Ready(Message, frozen=True, tag=True):
    """It could serve. `welcomed`: the first keys are made and shown, or were there."""

    welcomed: bool


class Serving(Message, frozen=True, tag=True):
    """It takes connections."""


class Vote(Message, frozen=True, tag=True):
    """`reason` is empty where the configuration fits."""

    generation: int
    reason: str


class Adopting(Message, frozen=True, tag=True):
    """It has begun: who is revoked by it is refused. All of it may take a while: servers are stopped, the new generation is recorded."""

    generation: int


class Adopted(Message, frozen=True, tag=True):
    """All of it is in force."""

    generation: int
    hash: str


class Counted(Message, frozen=True, tag=True):
    """What it has counted since it began. `ask` is 0 for the last ones, which nobody asked for: it ends."""

    ask: int
    families: "tuple[Family, ...]"


class Ask(Message, frozen=True, tag=True):
    """Have all workers counted. Answered by `Totals` with the same number."""

    ask: int


class Unplugged(Message, frozen=True, tag=True):
    """Its line to the stdio host has ended, and had this number: it needs another."""

    line: int


# What the stdio host tells; `Counted` as well


class Holding(Message, frozen=True, tag=True):
    """It is up. `guard` is the process that ends its servers should it be killed."""

    guard: int


# What they are about


class Sample(Struct, frozen=True, array_like=True):
    """One line of a scrape. `labels` in the order they are shown."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float


class Family(Struct, frozen=True, array_like=True):
    """One metric with its samples. `kind`: counter, histogram, gauge."""

    name: str
    kind: str
    about: str
    samples: tuple[Sample, ...]


class Standing(Struct, frozen=True):
    """One worker as everybody may see it. `config` is the hash of what it has in force, `generation` its number."""

    worker: int
    state: State
    generation: int
    config: str


ToWorker = Begin | Serve | Check | Adopt | Count | Totals | Standings | Notice | Retire | Drain | Hurry
ToHost = Hold | Take | Count | Drain
ToParent = Ready | Serving | Vote | Adopting | Adopted | Counted | Ask | Unplugged | Holding
