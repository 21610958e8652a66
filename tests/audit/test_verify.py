"""What an attacker may do to an export, and what the verifier says of it: with a checkpoint or receipt from outside, and without."""

import asyncio
import io
import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from hub.audit import bundle, export, record, verify
from hub.audit.bundle import Record, Signed
from hub.audit.checkpoint import Signer, VerifierKey
from hub.audit.entry import canonical
from hub.audit.tree import leaf_hash, root

SIZES = (8, 14, 22)
"""Checkpoints of the log under attack."""

ROOT = Path(__file__).parents[2]
OUTSIDE = ("nothing", "checkpoint", "old checkpoint", "receipt")


@pytest.fixture(scope="module")
def log(shared_audit):
    """A closed log of 22 records under three checkpoints, another organisation's log beside it, and what clients kept of both."""

    async def write():
        receipts = []
        async with shared_audit.opened(shared_audit.path) as (_, journal):
            for before, size in zip((0, *SIZES), SIZES, strict=False):
                for _ in range((size - before) // 2):
                    receipts += await shared_audit.govern(journal)
                    await shared_audit.govern(journal, "rival")
                await journal.checkpoint()
        return receipts

    receipts = asyncio.run(write())
    files = {}
    for org in ("acme", "rival"):
        out = io.BytesIO()
        export.export(shared_audit.path, org, out)
        files[org] = out.getvalue()
    lines = files["acme"].splitlines(keepends=True)
    return SimpleNamespace(
        path=shared_audit.path,
        data=files["acme"],
        rival=[bundle.parse_line(line) for line in files["rival"].splitlines(keepends=True)[1:]],
        key=VerifierKey.parse(next(log.vkey for log in export.logs(shared_audit.path) if log.org == "acme")),
        header=bundle.parse_header(lines[0]),
        records=[bundle.parse_line(line) for line in lines[1:23]],
        notes=[bundle.parse_line(line) for line in lines[23:]],
        receipts=receipts,
        outside={
            "nothing": {},
            "checkpoint": {"checkpoint": bundle.parse_line(lines[-1]).note},
            "old checkpoint": {"checkpoint": bundle.parse_line(lines[23]).note},
            "receipt": {"receipt": receipts[-1].header()},
        },
    )


def build(header, records, notes):
    return b"".join(part.line() for part in (header, *records, *notes))


def examine(log, data, outside="nothing"):
    return verify.verify_export(io.BytesIO(data), log.key, **log.outside[outside])


def identifier(line):
    return json.loads(line.leaf)["id"]


def rewrite(line, **changes):
    """The record with other fields, and the leaf hash that fits: what an attacker without the key can do."""
    leaf = canonical({**json.loads(line.leaf), **changes})
    return Record(line.index, leaf_hash(leaf), leaf)


def renumber(records):
    return [replace(line, index=index) for index, line in enumerate(records)]


def recount(records):
    """Indices, counters and hashes as if the log had always been so."""
    return [rewrite(replace(line, index=index), n=index + 1) for index, line in enumerate(records)]


def sized(log, records):
    return replace(log.header, size=len(records), end=len(records))


def flipped(log, at=10):
    line = log.records[at]
    return replace(line, leaf=line.leaf.replace(b"time_now", b"time_not"))


def put(records, at, line):
    return [*records[:at], line, *records[at + 1 :]]


def moved(records, a, b):
    swapped = list(records)
    swapped[a], swapped[b] = swapped[b], swapped[a]
    return swapped


ATTACKS = {
    "flip": lambda log: (log.header, put(log.records, 10, flipped(log)), log.notes),
    "flip, rehashed": lambda log: (log.header, put(log.records, 10, rewrite(flipped(log))), log.notes),
    "flip in the first, rehashed": lambda log: (log.header, put(log.records, 0, rewrite(flipped(log, 0))), log.notes),
    "flip in the last, rehashed": lambda log: (
        log.header,
        put(log.records, 21, rewrite(log.records[21], ts="2026-01-01T00:00:00Z")),
        log.notes,
    ),
    "leaf hash changed": lambda log: (log.header, put(log.records, 10, replace(log.records[10], hash=bytes(32))), log.notes),
    "not canonical": lambda log: (
        log.header,
        put(log.records, 10, Record(10, leaf_hash(log.records[10].leaf + b" "), log.records[10].leaf + b" ")),
        log.notes,
    ),
    "delete": lambda log: (log.header, log.records[:10] + log.records[11:], log.notes),
    "delete, renumbered": lambda log: (sized(log, log.records[1:]), renumber(log.records[:10] + log.records[11:]), log.notes),
    "delete a call, recounted": lambda log: (sized(log, log.records[2:]), recount(log.records[:10] + log.records[12:]), log.notes),
    "delete the first call, recounted": lambda log: (sized(log, log.records[2:]), recount(log.records[2:]), log.notes),
    "reorder": lambda log: (log.header, moved(log.records, 10, 15), log.notes),
    "reorder, renumbered": lambda log: (log.header, renumber(moved(log.records, 10, 15)), log.notes),
    "reorder, recounted": lambda log: (log.header, recount(moved(moved(log.records, 8, 10), 9, 11)), log.notes),
    "insert": lambda log: (log.header, [*log.records[:10], log.records[3], *log.records[10:]], log.notes),
    "insert, renumbered": lambda log: (
        replace(log.header, size=23, end=23),
        renumber([*log.records[:10], log.records[3], *log.records[10:]]),
        log.notes,
    ),
    "insert an invented record, recounted": lambda log: (
        replace(log.header, size=23, end=23),
        recount([*log.records[:10], rewrite(log.records[4], kind="admin.key.create", id="invented"), *log.records[10:]]),
        log.notes,
    ),
    "truncate": lambda log: (log.header, log.records[:18], log.notes),
    "truncate, header too": lambda log: (sized(log, log.records[:18]), log.records[:18], log.notes),
    "truncate, header and last checkpoint too": lambda log: (sized(log, log.records[:18]), log.records[:18], log.notes[:2]),
    "append, unsigned": lambda log: (
        replace(log.header, size=24, end=24),
        recount([*log.records, *(rewrite(line, id="x") for line in log.records[:2])]),
        log.notes,
    ),
    "splice": lambda log: (log.header, put(log.records, 10, log.rival[10]), log.notes),
    "splice, disguised": lambda log: (log.header, put(log.records, 10, rewrite(log.rival[10], org=log.header.org)), log.notes),
    "splice, disguised with its outcome": lambda log: (
        log.header,
        put(put(log.records, 10, rewrite(log.rival[10], org=log.header.org)), 11, rewrite(log.rival[11], org=log.header.org)),
        log.notes,
    ),
    "a checkpoint changed": lambda log: (
        log.header,
        log.records,
        put(log.notes, 1, Signed(14, log.notes[1].note.replace("\n14\n", "\n15\n"))),
    ),
}

FOUND = {
    "flip": (10, 11, 5),
    "flip, rehashed": (8, 14, 10),
    "flip in the first, rehashed": (0, 8, 10),
    "flip in the last, rehashed": (14, 22, 10),
    "leaf hash changed": (10, 11, 5),
    "not canonical": (10, 11, 3),
    "delete": (10, 11, 4),
    "delete, renumbered": (10, 11, 7),
    "delete a call, recounted": (11, 12, 8),
    "delete the first call, recounted": (1, 2, 8),
    "reorder": (10, 11, 4),
    "reorder, renumbered": (10, 11, 7),
    "reorder, recounted": (9, 10, 8),
    "insert": (10, 11, 4),
    "insert, renumbered": (10, 11, 7),
    "insert an invented record, recounted": (12, 13, 8),
    "truncate": (18, 22, 4),
    "truncate, header too": (18, 22, 10),
    "truncate, header and last checkpoint too": (14, 18, 10),
    "append, unsigned": (23, 24, 8),
    "splice": (10, 11, 6),
    "splice, disguised": (11, 12, 8),
    "splice, disguised with its outcome": (8, 14, 10),
    "a checkpoint changed": (None, None, 9),
}
"""First bad record or interval, and a step that fails."""


@pytest.mark.parametrize("outside", OUTSIDE)
def test_an_honest_export_verifies_and_says_what_it_could_not_tell(log, outside):
    report = examine(log, log.data, outside)
    assert report.ok, report
    assert report.first_bad is None
    if outside == "nothing":
        assert report.exit_code == 3
        assert "earlier signed checkpoint" in report.claims[0]
    else:
        assert report.exit_code == 0
        assert report.claims == []


@pytest.mark.parametrize("outside", OUTSIDE)
@pytest.mark.parametrize("attack", ATTACKS)
def test_every_attack_is_found_and_the_first_bad_record_or_interval_named(log, attack, outside):
    report = examine(log, build(*ATTACKS[attack](log)), outside)
    begin, end, step = (21, 22, 12) if (attack, outside) == ("flip in the last, rehashed", "receipt") else FOUND[attack]
    assert report.exit_code == 1
    assert step in [s.number for s in report.steps if s.ok is False], report
    bad = report.first_bad
    if begin is None:
        assert bad is None
        return
    assert bad is not None
    assert (bad.begin, bad.end) == (begin, end), report
    assert report.intact <= bad.begin or step == 5  # there, the record itself is as it was signed


@pytest.mark.parametrize(
    ("attack", "intact"), [("flip", 8), ("flip, rehashed", 8), ("delete the first call, recounted", 0), ("truncate", 14)]
)
def test_the_records_before_the_fault_that_are_as_they_were_signed_are_counted(log, attack, intact):
    report = examine(log, build(*ATTACKS[attack](log)))
    assert report.intact == intact
    assert (f"as they were signed: {intact}" in verify.text(report)) is (intact > 0)


def test_a_changed_record_is_named_with_its_call_id(log):
    report = examine(log, build(*ATTACKS["flip"](log)))
    assert report.first_bad is not None
    assert report.first_bad.id == identifier(log.records[10])


@pytest.mark.parametrize(("outside", "found"), [("nothing", False), ("old checkpoint", False), ("checkpoint", True), ("receipt", True)])
def test_a_log_cut_back_to_an_earlier_checkpoint_is_seen_only_from_outside(log, outside, found):
    report = examine(log, build(sized(log, log.records[:14]), log.records[:14], log.notes[:2]), outside)
    assert report.exit_code == (1 if found else 0 if outside == "old checkpoint" else 3)
    if found:
        assert report.first_bad is not None
        assert (report.first_bad.begin, report.first_bad.end) == (14, 22)


@pytest.mark.parametrize(("outside", "found"), [("nothing", False), ("checkpoint", True), ("old checkpoint", True), ("receipt", True)])
def test_a_history_rewritten_with_the_key_itself_is_seen_only_from_outside(log, shared_audit, outside, found):
    records = recount([rewrite(line, ts="2026-01-01T00:00:00.000000Z") for line in log.records])
    notes = [
        Signed(size, shared_audit.signer.checkpoint(log.header.origin, size, root(line.hash for line in records[:size]))) for size in SIZES
    ]
    report = examine(log, build(log.header, records, notes), outside)
    assert report.exit_code == (1 if found else 3)
    if outside == "receipt":
        assert report.first_bad is not None
        assert report.first_bad.begin == 21


def test_another_organisations_log_under_this_header_is_refused(log):
    records, notes = [line for line in log.rival if isinstance(line, Record)], [line for line in log.rival if isinstance(line, Signed)]
    report = examine(log, build(log.header, records, notes))
    assert report.first_bad is not None
    assert report.first_bad.begin == 0
    assert [step.ok for step in report.steps if step.number in (6, 9, 10)] == [False, False, False]


def test_another_key_verifies_nothing(log):
    key = VerifierKey.parse(Signer(b"\x02" * 32).vkey(log.header.origin))
    report = verify.verify_export(io.BytesIO(log.data), key)
    assert [step.number for step in report.steps if step.ok is False] == [2, 9, 10]


def test_no_single_changed_byte_passes(log):
    rng = random.Random(7)
    for at in [*range(0, len(log.data), 61), *(rng.randrange(len(log.data)) for _ in range(100))]:
        changed = log.data[:at] + bytes([log.data[at] ^ (1 << rng.randrange(8))]) + log.data[at + 1 :]
        try:
            report = examine(log, changed)
        except verify.Unreadable:
            assert at < len(log.header.line())
        else:
            assert report.exit_code == 1, at


def test_a_cut_anywhere_in_the_file_is_seen(log):
    for at in range(len(log.header.line()), len(log.data), 97):
        if log.data[at - 1 : at] != b"\n":
            assert examine(log, log.data[:at]).exit_code == 1


def test_a_second_outcome_is_named_though_the_hub_itself_signed_it(audit):
    async def write():
        async with audit.opened(audit.path) as (_, journal):
            call = audit.call()
            intent, _ = await audit.govern(journal, call=call)
            again = record.outcome(call, audit.caller(), audit.allow, status="ok", code="", us=1, reply=None, salt=bytes(32), of=intent)
            await journal.append("acme", again)

    asyncio.run(write())
    out = io.BytesIO()
    header = export.export(audit.path, "acme", out)
    out.seek(0)
    report = verify.verify_export(out, VerifierKey.parse(header.vkey))
    assert report.first_bad is not None
    assert (report.first_bad.begin, [step.number for step in report.steps if step.ok is False]) == (2, [8])


def test_a_partial_export_says_where_the_outside_evidence_does_not_reach(log):
    out = io.BytesIO()
    export.export(log.path, "acme", out, begin=9, end=12)
    for outside, code in (("nothing", 3), ("old checkpoint", 3), ("checkpoint", 1), ("receipt", 1)):
        assert examine(log, out.getvalue(), outside).exit_code == code
    assert "export the whole log" in examine(log, out.getvalue(), "old checkpoint").claims[0]


@pytest.mark.parametrize("data", [b"", b"\n", b"{}\n", b"\xff\xfe", b"x" * 3_000_000, b'{"format":"countersign-export/2"}\n'])
def test_what_is_no_export_is_unreadable(log, data):
    with pytest.raises(verify.Unreadable):
        examine(log, data)


@pytest.mark.parametrize(
    "receipt", ["x", "a/1;00", "a/-1;" + "0" * 64, "/1;" + "0" * 64, "a/1;" + "z" * 64, "other/audit/org_1/1;" + "0" * 64]
)
def test_a_receipt_that_is_none_or_of_another_log_is_unreadable(log, receipt):
    with pytest.raises(verify.Unreadable):
        verify.verify_export(io.BytesIO(log.data), log.key, receipt=receipt)


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "hub.audit.verify", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_the_command_has_the_exit_codes_it_documents(log, tmp_path):
    honest, forged, note, proved = (tmp_path / name for name in ("honest.jsonl", "forged.jsonl", "note.txt", "call.tlog-proof"))
    honest.write_bytes(log.data)
    forged.write_bytes(build(*ATTACKS["flip"](log)))
    note.write_text(log.outside["checkpoint"]["checkpoint"])
    proved.write_text(export.prove(log.path, "acme", 10))
    key = log.key.text()
    assert run(honest, "--key", key, "--checkpoint", note).returncode == 0
    assert run(honest, "--key", key, "--receipt", log.receipts[3].header()).returncode == 0
    found = run(forged, "--key", key)
    assert found.returncode == 1
    assert f"First bad: record 10 (call {identifier(log.records[10])})" in found.stdout
    assert [line[:2] for line in found.stdout.splitlines()[:12]] == [f"{n:2}" for n in range(1, 13)]
    assert run(honest, "--key", key).returncode == 3
    assert run(proved, "--key", key).returncode == 0
    for wrong in (
        (tmp_path / "absent", "--key", key),
        (honest,),
        (honest, "--key", "mistyped"),
        (note, "--key", key),
        (tmp_path, "--key", key),
    ):
        result = run(*wrong)
        assert result.returncode == 2
        assert "Traceback" not in result.stderr


def test_the_report_for_programs_names_the_record(log, tmp_path):
    forged = tmp_path / "forged.jsonl"
    forged.write_bytes(build(*ATTACKS["flip"](log)))
    said = json.loads(run(forged, "--key", log.key.text(), "--json").stdout)
    assert (said["ok"], said["exit"], said["first_bad"]["from"], said["first_bad"]["id"]) == (False, 1, 10, identifier(log.records[10]))


def test_a_forged_proof_file_does_not_verify(log):
    proof = export.prove(log.path, "acme", 10)
    honest = verify.verify_proof(proof, log.key)
    assert honest.exit_code == 0
    assert json.loads(honest.record)["id"] == identifier(log.records[10])
    moved = verify.verify_proof(proof.replace("index 10", "index 11"), log.key)
    assert (moved.exit_code, [step.number for step in moved.steps if step.ok is False]) == (1, [4])
    unsigned = verify.verify_proof(proof.replace("\n14\n", "\n15\n"), log.key)
    assert (unsigned.exit_code, [step.number for step in unsigned.steps if step.ok is False]) == (1, [2])


def test_a_hostile_file_cannot_drive_the_terminal(log):
    forged = build(log.header, put(log.records, 10, rewrite(log.records[10], id="\x1b[2J\x07")), log.notes)
    assert "\x1b" not in verify.text(examine(log, forged))


def test_the_verifier_needs_the_standard_library_and_cryptography_only():
    program = "import sys, hub.audit.verify; print({'msgspec', 'orjson', 'sqlite3', 'asyncio', 'hub.call', 'hub.store'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
