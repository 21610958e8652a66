"""What the journal needs of the medium that keeps it, and what all media do alike: sealing a record, naming a log. Knows no SQL.

One class for each medium: `hub/audit/ledger_sqlite.py` for one process, `hub/audit/ledger_postgres.py` for many.
"""

import os
import secrets
from asyncio import Future
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, Protocol

import orjson
from msgspec import Struct

from hub.audit.checkpoint import Signer
from hub.audit.entry import MAX_LEAF, ProfileError, canonical, mend
from hub.audit.receipt import Receipt
from hub.refusal import JournalDown, Refusal

OPERATOR = "-"
"""The organisation of the operator log: what belongs to no caller."""

NO_SALT = bytes(32)
VERSION = 1

_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
_ESSENTIAL = ("v", "id", "ts", "kind", "org", "intent", "outcome", "boot", "n", "cfg", "build")

Entry = tuple[str, dict[str, Any], bytes]
"""Organisation, record, salt."""

Waiting = tuple[Entry, "Future[Receipt]"]
"""An entry, and who waits for its receipt."""

Unknown = Callable[[int, dict[str, Any]], dict[str, Any]]
"""(index, intent) → the record that closes an intent whose writer is gone."""

Recovered = Callable[[Sequence[str], int], dict[str, Any]]
"""(boots, count) → the record that says so in the operator log."""


class Identity(Struct, frozen=True):
    """Who writes: which program, under which name for new logs ("" for the one made at random), and with which key."""

    build: str
    origin: str
    signer: Signer


class Writer(Struct, frozen=True):
    """One life of one process. `name` is the first part of new logs' origins."""

    boot: str
    build: str
    name: str
    signer: Signer

    def fixed(self, opaque: str) -> dict[str, Any]:
        """What all its records in the log of the opaque id say alike."""
        return {"v": VERSION, "org": opaque, "boot": self.boot, "build": self.build}


class Ledger(Protocol):
    """Where records go. Every method raises `JournalDown` where it cannot do its part, and no other refusal."""

    @property
    def boot(self) -> str:
        """The life of this process that records name."""
        ...

    @property
    def ready(self) -> bool:
        """Whether records are taken."""
        ...

    @property
    def waiting(self) -> int:
        """Records that wait for their commit."""
        ...

    @property
    def changed(self) -> bool:
        """Whether there may be records that no checkpoint covers."""
        ...

    @property
    def shared(self) -> bool:
        """Whether other processes write beside this one, some of which may die."""
        ...

    async def begin(self, identity: Identity) -> None:
        """Begin a life of this process. Others see that it lives until `end`, or until the process is gone."""
        ...

    def put(self, org: str, record: dict[str, Any], salt: bytes) -> Future[Receipt]:
        """Take `record`, in the order of the calls; the future ends when it is durable at its final place, or cannot be.

        What arrives together shares a commit. A commit of which no answer came is looked up before it is written again.
        """
        ...

    async def settled(self) -> None:
        """Return when all that was put is durable or refused."""
        ...

    async def recover(self, unknown: Unknown, recovered: Recovered) -> None:
        """Close the intents that dead lives of any process left open: never those of a living one, and each once, whoever else looks."""
        ...

    async def sign(self) -> None:
        """Sign the head of each log that grew since it was last signed, unless another process is at it."""
        ...

    async def end(self) -> None:
        """End this life: an orderly end. Nothing is taken any more, whether or not this could be written."""
        ...


def seal(record: dict[str, Any], fixed: dict[str, Any], n: int) -> tuple[bytes, bytes]:
    """Complete a record by what its writer says of all, and by its count: (leaf hash, leaf)."""
    record.update(fixed)
    record["n"] = n
    leaf = _encode(record)
    return sha256(b"\x00" + leaf).digest(), leaf


def _encode(record: dict[str, Any]) -> bytes:
    """`entry.canonical`, faster. What does not fit is cut until it does: a call must not go unrecorded for the length of a name."""
    try:
        leaf = orjson.dumps(record, option=_OPTIONS)
    except TypeError:
        leaf = b""
    return leaf if 0 < len(leaf) <= MAX_LEAF else _cut(record)


def _cut(record: dict[str, Any]) -> bytes:
    for limit in (2048, 256, 80):
        try:
            leaf = canonical({**mend(record, limit), "cut": limit})
        except ProfileError:
            break
        if len(leaf) <= MAX_LEAF:
            return leaf
    return canonical({**mend({key: record[key] for key in _ESSENTIAL if key in record}, 80), "cut": 0})


def hub_name() -> str:
    """The first part of origins, made once for each database."""
    return f"hub-{_random(10)}"


def opaque_id() -> str:
    """What a log calls its organisation."""
    return f"org_{_random(16)}"


def new_boot() -> str:
    """A name for this life of the process: 64 random bits."""
    return os.urandom(8).hex()


def down(error: BaseException | None) -> JournalDown:
    """Whatever it was: the journal could not be written."""
    if isinstance(error, JournalDown):
        return error
    detail = error.detail if isinstance(error, Refusal) else type(error).__name__
    return JournalDown("the journal cannot be written at the moment", detail=detail)


def _random(length: int) -> str:
    return "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz234567") for _ in range(length))
