"""A batch on its way to PostgreSQL without the driver: as the messages that place it, and the answer read. Knows no connection."""

from collections.abc import Sequence
from functools import lru_cache

from hub.audit.rows_postgres import PLACE, Batch
from hub.store import postgres_wire as wire

_ONE, _ANY = b"journal_one", b"journal_any"

STATEMENTS = {
    _ONE.decode(): "SELECT journal_place_one($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    _ANY.decode(): PLACE,
}
"""What has to be prepared, by name."""

_ONE_BIGINT = b"\x00\x01\x00\x00\x00\x08"
_FALSE, _TRUE = b"\x00", b"\x01"


def placing(boot: str, key: int, turn: int, *, fresh: bool, batches: Sequence[Batch]) -> bytes:
    """The messages that write `batches`, one record by a statement of its own. The parameters are those of `rows_postgres.arguments`."""
    if len(batches) == 1 and len(batches[0].records) == 1 and not fresh:
        return _one(boot, key, turn, batches[0])
    records = [record for batch in batches for record in batch.records]
    values = (
        wire.int8(key),
        boot.encode(),
        wire.int8(turn),
        _TRUE if fresh else _FALSE,
        wire.array(wire.INT4, [wire.int4(batch.log.number) for batch in batches]),
        wire.array(wire.BYTEA, [batch.salts for batch in batches]),
        wire.array(wire.INT4, [place for at, batch in enumerate(batches, 1) for place in (wire.int4(at),) * len(batch.records)]),
        wire.array(wire.TEXT, [id_.encode() for id_, _, _, _ in records]),
        wire.array(wire.INT2, [_PHASES[phase] for _, phase, _, _ in records]),
        wire.array(wire.BYTEA, [hash_ for _, _, hash_, _ in records]),
        wire.array(wire.BYTEA, [leaf for _, _, _, leaf in records]),
    )
    return wire.bind(_ANY, values)


def placed(batches: Sequence[Batch], row: bytes | None) -> list[int] | None:
    """The index of each batch's first record; None where the database did nothing. Raises `ValueError` for what is no answer to that."""
    if row is None:
        raise ValueError("no row")
    if len(row) == 14 and row[:6] == _ONE_BIGINT:
        return [int.from_bytes(row[6:], "big")]
    said, firsts = wire.columns(row)
    if said in (b"ended", b"late", b"gone"):
        return None
    if said != b"done" or firsts is None:
        raise ValueError("another answer than there are")
    found = [first for first in wire.integers(firsts) if first is not None]
    if len(found) != len(batches):
        raise ValueError("another number of batches")
    return found


def _one(boot: str, key: int, turn: int, batch: Batch) -> bytes:
    id_, phase, hash_, leaf = batch.records[0]
    return wire.bind(_ONE, (*_fixed(boot, key, turn, batch.log.number), batch.salts, id_.encode(), _PHASES[phase], hash_, leaf))


@lru_cache(maxsize=256)
def _fixed(boot: str, key: int, turn: int, number: int) -> tuple[bytes, ...]:
    return wire.int8(key), boot.encode(), wire.int8(turn), wire.int4(number)


_PHASES = tuple(wire.int2(phase) for phase in range(3))
