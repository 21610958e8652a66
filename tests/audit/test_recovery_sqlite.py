"""What only a file can do to its journal: a disk that is full."""

import asyncio

import pytest

from hub.audit.journal import JournalDown
from tests.audit.writing import check_log, run_writer


@pytest.fixture
def audit(sqlite_audit):
    return sqlite_audit


async def test_a_full_disk_refuses_and_room_recovers_without_loss(audit):
    def starve():
        with run_writer(audit.path, "starve") as process:
            assert process.stdout is not None
            return [line.decode().strip() for line in process.stdout]

    lines = await asyncio.to_thread(starve)
    said = [line for line in lines if line in ("down", "up", "done")]
    assert said == ["down", "up", "done"]
    assert lines.index("up") - lines.index("down") == 33
    async with audit.opened(audit.path):
        pass
    check_log(audit.path, audit.signer, [line for line in lines if line not in said])


async def test_a_journal_at_its_size_limit_refuses_and_goes_on_when_there_is_room(audit):
    async with audit.opened(audit.path) as (database, log):
        acknowledged = [*await audit.govern(log)]
        await database.write(lambda connection: connection.execute("PRAGMA max_page_count=1"))  # SQLite: no fewer than there are
        refused = None
        while refused is None:
            try:
                acknowledged += await audit.govern(log)
            except JournalDown as error:
                refused = error
        assert "disk is full" in refused.detail
        await database.write(lambda connection: connection.execute("PRAGMA max_page_count=1000000"))
        acknowledged += await audit.govern(log)
    async with audit.opened(audit.path):
        pass
    check_log(audit.path, audit.signer, [receipt.header() for receipt in acknowledged])
