"""What clients hold in their hands against what the journal says: every receipt is found, every tree verifies, nothing is missing."""

import asyncio
import collections
import io
import json
import sqlite3
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from hub.audit.checkpoint import VerifierKey
from hub.audit.export import Log, export, logs
from hub.audit.verify import parse_receipt, verify_export
from tests.chaos.load import Answer
from tests.support.hub import eventually

UNGOVERNED = ("unauthenticated", "draining", "journal_unavailable", "outcome_unrecorded", "store_unavailable")
"""Refusals that bear no receipt: nobody was let in, or nothing could be written."""


class Record(NamedTuple):
    index: int
    hash: str
    says: dict[str, Any]

    @property
    def phase(self) -> str:
        kind: str = self.says["kind"]
        return kind.rpartition(".")[2] if kind.endswith((".intent", ".outcome")) else ""


class Journal(NamedTuple):
    """One organisation's log as exported and verified."""

    origin: str
    records: list[Record]

    def by_call(self) -> dict[str, list[Record]]:
        found: dict[str, list[Record]] = collections.defaultdict(list)
        for record in self.records:
            found[record.says["id"]].append(record)
        return found


async def signed(database: Path | str) -> None:
    """Wait until every record is under a signed checkpoint. Only when nothing is written any more."""

    def all_signed() -> bool:
        found = logs(database)
        return bool(found) and all(log.signed == log.size for log in found)

    await eventually(all_signed)


def journal(database: Path | str, org: str = "default", receipt: str = "") -> Journal:
    """Export a log and verify the export, holding `receipt` against it where there is one."""
    log: Log = next(log for log in logs(database) if log.org == org)
    file = io.BytesIO()
    export(database, org, file)
    file.seek(0)
    report = verify_export(file, VerifierKey.parse(log.vkey), receipt=receipt)
    assert report.ok, report
    assert not receipt or report.exit_code == 0, report
    lines = [json.loads(line) for line in file.getvalue().splitlines()[1:]]
    return Journal(log.origin, [Record(line["index"], line["hash"], json.loads(line["leaf"])) for line in lines if "leaf" in line])


def gapless(found: Journal) -> None:
    """Within each boot, `n` counts 1, 2, 3 in the order of the tree."""
    counts: collections.Counter[str] = collections.Counter()
    for record in found.records:
        boot = record.says["boot"]
        counts[boot] += 1
        assert record.says["n"] == counts[boot], (record, counts[boot])


def answered(found: Journal, answers: Iterable[Answer]) -> int:
    """Every receipt names a record of its call, at its index and with its hash; every answer that must have one does. How many.

    A refusal that repeats a limit within a second is counted only: it has neither a receipt nor a record.
    """
    receipts = 0
    calls = {record.says["id"] for record in found.records}
    for answer in answers:
        assert answer.receipts or answer.code in UNGOVERNED or (answer.code == "limited" and answer.call not in calls), answer
        for text in answer.receipts:
            held = parse_receipt(text)
            record = found.records[held.index]
            assert (held.origin, held.leaf.hex(), answer.call) == (found.origin, record.hash, record.says["id"]), (answer, record)
            receipts += 1
    return receipts


def repeated(operator: Journal, answers: Iterable[Answer]) -> int:
    """After an orderly stop the operator log counts every refusal that has no record for repeating a limit. How many."""
    unrecorded = sum(answer.code == "limited" and not answer.receipts for answer in answers)
    counts = [one.says["count"] for one in operator.records if (one.says["kind"], one.says.get("code")) == ("edge.refused", "limited")]
    assert sum(counts) >= unrecorded, (counts, unrecorded)
    return unrecorded


def complete(found: Journal, answers: Iterable[Answer], *, may_be_open: bool = False) -> dict[str, int]:
    """Every intent has exactly one outcome, and what was answered has the outcome that was answered. Outcomes by status."""
    calls = found.by_call()
    outcomes: collections.Counter[str] = collections.Counter()
    for records in calls.values():
        phases = [record.phase for record in records]
        if "intent" in phases or "outcome" in phases:
            assert phases == ["intent", "outcome"] or (may_be_open and phases == ["intent"]), records
            if len(records) == 2:
                intent, outcome = records
                status: str = outcome.says["outcome"]["status"]
                outcomes[status] += not outcome.says["kind"].startswith("admin.")  # what operators changed is no call
                assert outcome.says["intent"] == intent.index, outcome
                assert (status == "unknown") == (outcome.says["boot"] != intent.says["boot"]), outcome
    for answer in answers:
        if answer.what.startswith("call ") and answer.status == 200 and not answer.code:
            status = calls[answer.call][-1].says.get("outcome", {}).get("status", "open")
            assert status in ("ok", "error") or len(answer.receipts) == 1, (answer, calls[answer.call])
    return dict(+outcomes)


def intended(found: Journal, notes: Path) -> int:
    """Nothing reached a server without its intent: every call that a server noted has one, by its trace. How many."""
    return noted(found, notes.read_text().splitlines() if notes.exists() else [])


def noted(found: Journal, lines: Iterable[str]) -> int:
    """The same of lines of such notes that were read before the journal was."""
    traces = {record.says.get("trace") for record in found.records if record.phase == "intent"}
    seen = [line.split(" ", 1)[0] for line in lines]
    missing = [trace for trace in seen if trace not in traces]
    assert not missing, missing[:5]
    return len(seen)


def counted(database: Path, answers: Iterable[Answer]) -> tuple[int, int]:
    """The daily count of the clients' key is never less than the calls of today that were let in. (stored, answered)."""
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    today = sum(1 for answer in answers if answer.began >= midnight and answer.receipts and not answer.code)
    with sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True) as connection:
        day = time.strftime("%Y-%m-%d", time.gmtime(midnight))
        stored = connection.execute("SELECT COALESCE(SUM(used), 0) FROM daily_use WHERE rule = 'day' AND day = ?", (day,)).fetchone()[0]
    connection.close()
    assert stored >= today, (stored, today)
    return int(stored), today


async def examine(database: Path, notes: Path, answers: list[Answer], **how: bool) -> dict[str, Any]:
    """All of it; figures for those who want them. The hub may run, but nobody may be calling it."""
    await signed(database)
    held = next((answer.receipts[-1] for answer in reversed(answers) if answer.receipts), "")
    operator, found = await asyncio.to_thread(journal, database, "-"), await asyncio.to_thread(journal, database, "default", held)
    gapless(operator)
    gapless(found)
    receipts = answered(found, answers)
    outcomes = complete(found, answers, **how)
    stored, today = counted(database, answers)
    return {
        "answers": len(answers),
        "receipts": receipts,
        "records": len(found.records),
        "outcomes": outcomes,
        "sent": intended(found, notes),
        "count": (stored, today),
    }
