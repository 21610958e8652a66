"""A wall clock that jumps: order and counts come from the tree and from monotonic time, never from the clock on the wall."""

import io
import os
from pathlib import Path

from hub.audit.checkpoint import Signer, VerifierKey
from hub.audit.export import export, logs
from hub.audit.journal import Journal
from hub.audit.ledger_sqlite import SqliteLedger
from hub.audit.record import event
from hub.audit.verify import verify_export
from hub.budget.daily_sqlite import SqliteDays
from hub.budget.limits import Limits
from hub.call import Caller
from hub.config.callers import LimitSpec
from hub.refusal import Limited
from hub.store.sqlite import Database
from tests.chaos.evidence import gapless, journal

JUMPS = ["2026-11-21T12:00:00.000000Z", "2038-01-19T03:14:08.000000Z", "1970-01-01T00:00:00.000000Z", "2026-11-21T12:00:00.000000Z"]
DAY = 86_400.0


async def test_records_keep_the_order_of_the_tree_and_their_count_when_the_clock_jumps(tmp_path: Path):
    path, signer = tmp_path / "hub.db", Signer(os.urandom(32))
    for _ in range(2):  # the second time the clock starts again where it was before
        database = Database(path)
        database.open()
        log = Journal(SqliteLedger(database), signer, build="test")
        await log.open()
        receipts = [await log.append("default", {**event("policy.change"), "ts": at}) for at in JUMPS]
        assert [receipt.index for receipt in receipts] == list(range(receipts[0].index, receipts[0].index + len(JUMPS)))
        await log.close()
        await database.close()
    found = journal(path, receipt=receipts[-1].header())
    gapless(found)
    assert [record.says["ts"] for record in found.records] == JUMPS * 2
    file = io.BytesIO()
    export(path, "default", file, begin=2, end=6)
    file.seek(0)
    assert verify_export(file, VerifierKey.parse(logs(path)[0].vkey)).ok


async def test_neither_a_rate_nor_a_day_is_given_twice_when_the_clock_jumps(tmp_path: Path):
    wall, clock = [20_000 * DAY + 60], [0]
    database = Database(tmp_path / "hub.db")
    database.open()
    specs = (
        LimitSpec(name="rate", scope="key", match="fast", per_minute=60, burst=2),
        LimitSpec(name="day", scope="key", match="slow", per_day=3),
    )
    limits = Limits(SqliteDays(database), specs, clock=lambda: clock[0], wall=lambda: wall[0])
    await limits.open()
    fast, slow = (Caller(org="default", subject=f"key:{name}", key_id=name, key_name=name) for name in ("fast", "slow"))

    def admitted(caller: Caller, times: int) -> int:
        count = 0
        for _ in range(times):
            try:
                limits.enter_caller(caller).release()
            except Limited:
                continue
            count += 1
        return count

    assert (admitted(fast, 5), admitted(slow, 2)) == (2, 2)
    for jump in (-3600.0, 7200.0, -120.0):  # back over midnight, and forth again
        wall[0] += jump
        assert admitted(fast, 3) == 0
    assert admitted(slow, 5) == 1
    wall[0] += DAY
    assert admitted(slow, 5) == 3
    wall[0] -= DAY  # the day before is over, whatever the clock says now
    assert admitted(slow, 5) == 0
    clock[0] += 2_000_000_000
    assert admitted(fast, 5) == 2
    await limits.close()
    await database.close()
