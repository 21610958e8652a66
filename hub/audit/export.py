"""Read the journal's tables for people and auditors: export files, proof files, the last records. Never writes, works beside a live hub.

An export ends at a signed checkpoint unless asked to end earlier: what is not signed yet is no evidence yet.
"""

import json
from collections.abc import Callable
from typing import Any, BinaryIO

from hub.audit.bundle import Header, Record, Signed
from hub.audit.proof import Proof
from hub.audit.reader import Log, NotFound, Reader, Source, snapshot
from hub.audit.tree import Range, cover, inclusion_spans, root

__all__ = ["Log", "NotFound", "Source", "checkpoint", "export", "logs", "prove", "snapshot", "tail"]

_EVERY = 1000


def logs(source: Source) -> list[Log]:
    """What is in the journal, by the organisation's name; `-` is the operator log."""
    with snapshot(source) as reader:
        return reader.logs()


def export(
    source: Source,
    org: str,
    out: BinaryIO,
    *,
    begin: int = 0,
    end: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Header:
    """Write records `[begin, end)` of an organisation (its name or opaque id) and their checkpoints to `out`.

    `end` defaults to the size of the newest signed checkpoint. `progress(done, of)` is called every thousand records.
    Raises `NotFound` for an unknown organisation and for a range that is empty or not signed yet.
    """
    with snapshot(source) as reader:
        log = _log(reader, org)
        end = log.signed if end is None else end
        if not 0 <= begin < end <= log.signed:
            raise NotFound(f"the signed records of {org} are 0 to {log.signed - 1}" if log.signed else f"no record of {org} is signed yet")
        notes = reader.checkpoints(log, max(begin, 1))
        size = next(size for size, _ in notes if size >= end)
        before = _range(reader, log, 0, begin).hashes
        after = tuple((level, _subtree(reader, log, first, level)) for first, level in cover(end, size))
        header = Header(log.origin, log.id, log.vkey, size, begin, end, tuple(before), after)
        out.write(header.line())
        for index, hash_, leaf in reader.leaves(log, begin, end):
            out.write(Record(index, hash_, leaf).line())
            if progress is not None and (index - begin + 1) % _EVERY == 0:
                progress(index - begin + 1, end - begin)
        for at, note in notes:
            if at <= end or at == size:
                out.write(Signed(at, note).line())
        return header


def prove(source: Source, org: str, what: int | str) -> str:
    """A tlog-proof file for one record: by index, or by call id (then its outcome, else its intent).

    It leads to the smallest signed checkpoint that holds the record. Raises `NotFound`, also for a record not signed yet.
    """
    with snapshot(source) as reader:
        log = _log(reader, org)
        index = what if isinstance(what, int) else _index(reader, log, what)
        row = next(reader.leaves(log, index, index + 1), None) if 0 <= index < log.size else None
        if row is None:
            raise NotFound(f"no record {index} in the log of {org}")
        signed = reader.checkpoints(log, index + 1)
        if not signed:
            raise NotFound("the record is not signed yet: a checkpoint follows within seconds while the hub runs")
        size, note = signed[0]
        hashes = tuple(root(reader.hashes(log, begin, end)) for begin, end in inclusion_spans(index, size))
        return Proof(index, hashes, note, row[2]).text()


def tail(source: Source, org: str, n: int = 20) -> list[dict[str, Any]]:
    """The last `n` records, oldest first: `{"index": …, "hash": "<hex>", "record": {…}}`. Raises `NotFound`."""
    with snapshot(source) as reader:
        log = _log(reader, org)
        rows = reader.leaves(log, max(log.size - n, 0), log.size)
        return [{"index": index, "hash": hash_.hex(), "record": json.loads(leaf)} for index, hash_, leaf in rows]


def checkpoint(source: Source, org: str) -> str:
    """The newest signed checkpoint of an organisation, to be kept outside the hub. Raises `NotFound`."""
    with snapshot(source) as reader:
        log = _log(reader, org)
        notes = reader.checkpoints(log, log.signed)
        if not notes:
            raise NotFound(f"no record of {org} is signed yet")
        return notes[-1][1]


def _log(reader: Reader, org: str) -> Log:
    log = reader.find(org)
    if log is None:
        raise NotFound(f"the journal has no log of {org}")
    return log


def _index(reader: Reader, log: Log, identifier: str) -> int:
    index = reader.index(log, identifier)
    if index is None:
        raise NotFound(f"no record of {identifier} in this log")
    return index


def _range(reader: Reader, log: Log, begin: int, end: int) -> Range:
    tree = Range()
    for hash_ in reader.hashes(log, begin, end):
        tree.append(hash_)
    return tree


def _subtree(reader: Reader, log: Log, first: int, level: int) -> bytes:
    return root(reader.hashes(log, first, first + (1 << level)))
