"""The export file: JSON Lines, one spelling for each line. Standard library only; knows no database and passes no judgement.

::

    {"after":[...],"before":[...],"format":"countersign-export/1","from":0,"org":"org_…","origin":"…","size":7,"to":7,"vkey":"…"}
    {"hash":"<leaf hash, hex>","index":0,"leaf":"<the record's canonical JSON>"}           one for each record, in order
    {"checkpoint":"<signed note>","size":7}                                                one for each checkpoint, in order

Records `[from, to)` of a tree, tied to the signed checkpoint of `size` records. `before` are the hashes of the compact range of the
records before `from`; `after`, as [level, hash], the perfect subtrees that lead from `to` to `size`. Both are empty for a whole log.
Every line ends in a newline and is canonical (hub/audit/entry.py), so no byte of the file is without meaning.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from hub.audit.entry import canonical

FORMAT = "countersign-export/1"
MAX_LINE = 1_000_000

_quote = json.JSONEncoder(ensure_ascii=False).encode
_HASH = re.compile(r"[0-9a-f]{64}")


class LineInvalid(ValueError):
    """A line that is not of the form. The message is safe to show."""


@dataclass(frozen=True)
class Header:
    origin: str
    org: str
    vkey: str
    size: int
    begin: int
    end: int
    before: tuple[bytes, ...] = ()
    after: tuple[tuple[int, bytes], ...] = ()

    def line(self) -> bytes:
        return _line(
            {
                "format": FORMAT,
                "origin": self.origin,
                "org": self.org,
                "vkey": self.vkey,
                "size": self.size,
                "from": self.begin,
                "to": self.end,
                "before": [hash_.hex() for hash_ in self.before],
                "after": [[level, hash_.hex()] for level, hash_ in self.after],
            }
        )


@dataclass(frozen=True)
class Record:
    index: int
    hash: bytes
    leaf: bytes

    def line(self) -> bytes:
        return f'{{"hash":"{self.hash.hex()}","index":{self.index},"leaf":{_quote(self.leaf.decode())}}}\n'.encode()


@dataclass(frozen=True)
class Signed:
    size: int
    note: str

    def line(self) -> bytes:
        return _line({"size": self.size, "checkpoint": self.note})


def read_lines(file: BinaryIO) -> Iterator[bytes]:
    """The file's lines, none longer than can be (what is longer comes in pieces, which are no valid lines)."""
    while line := file.readline(MAX_LINE):
        yield line


def parse_header(line: bytes) -> Header:
    """Raises `LineInvalid`."""
    fields = _fields(
        line, {"format": str, "origin": str, "org": str, "vkey": str, "size": int, "from": int, "to": int, "before": list, "after": list}
    )
    if fields["format"] != FORMAT:
        raise LineInvalid(f"the format is not {FORMAT}")
    try:
        before = tuple(_hash(text) for text in fields["before"])
        after = tuple((_level(level), _hash(text)) for level, text in fields["after"])
    except (TypeError, ValueError):
        raise LineInvalid("`before` and `after` hold hashes") from None
    header = Header(fields["origin"], fields["org"], fields["vkey"], fields["size"], fields["from"], fields["to"], before, after)
    if not 0 <= header.begin < header.end <= header.size < 1 << 62:
        raise LineInvalid("the range is empty or not in the tree")
    return header


def parse_line(line: bytes) -> Record | Signed:
    """A line below the header. Raises `LineInvalid`."""
    if line.startswith(b'{"checkpoint"'):
        fields = _fields(line, {"size": int, "checkpoint": str})
        return Signed(fields["size"], fields["checkpoint"])
    try:
        fields = json.loads(line)
        record = Record(int(fields["index"]), _hash(fields["hash"]), fields["leaf"].encode())
        if record.line() != line:  # says the same as `canonical`, at a fraction of its cost
            raise LineInvalid("not a canonical line")
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        raise LineInvalid("not a canonical line") from None
    return record


def _fields(line: bytes, types: dict[str, type]) -> dict[str, Any]:
    try:
        parsed: object = json.loads(line)
        if not isinstance(parsed, dict) or canonical(cast("dict[str, Any]", parsed)) + b"\n" != line:
            raise LineInvalid("not a canonical line")
    except (ValueError, RecursionError):
        raise LineInvalid("not a canonical line") from None
    fields = cast("dict[str, Any]", parsed)
    if {name: type(value) for name, value in fields.items()} != types:
        raise LineInvalid("not the fields of such a line")
    return fields


def _line(fields: dict[str, Any]) -> bytes:
    return canonical(fields) + b"\n"


def _hash(text: str) -> bytes:
    if not _HASH.fullmatch(text):
        raise LineInvalid("a hash has 32 bytes, in lower-case hex")
    return bytes.fromhex(text)


def _level(level: int) -> int:
    if type(level) is not int or not 0 <= level < 62:
        raise LineInvalid("a level is a small number")
    return level
