import io
import json

import pytest

from hub.audit import bundle, export, proof
from hub.audit.bundle import LineInvalid
from hub.audit.checkpoint import VerifierKey
from hub.audit.verify import verify_export


def exported(path, org="acme", **options):
    out = io.BytesIO()
    header = export.export(path, org, out, **options)
    return header, out.getvalue()


async def filled(audit, sizes=(6, 4, 9), org="acme"):
    """A closed journal with a checkpoint after each of `sizes` calls."""
    async with audit.opened(audit.path) as (_, log):
        for calls in sizes:
            for _ in range(calls):
                await audit.govern(log, org)
            await log.checkpoint()
    return VerifierKey.parse(next(log.vkey for log in export.logs(audit.path) if log.org == org))


async def test_an_export_of_a_living_journal_ends_at_its_last_checkpoint(audit):
    async with audit.opened(audit.path) as (_, log):
        await audit.govern(log)
        await log.checkpoint()
        await audit.govern(log)
        header, data = exported(audit.path)
        assert (header.begin, header.end, header.size) == (0, 2, 2)
        lines = data.splitlines()
        assert len(lines) == 4
        assert json.loads(lines[0])["format"] == "countersign-export/1"
        assert json.loads(json.loads(lines[1])["leaf"])["kind"] == "mcp.tools.call.intent"


async def test_an_organisation_is_found_by_name_and_by_opaque_id(audit):
    await filled(audit)
    assert exported(audit.path) == exported(audit.path, export.logs(audit.path)[0].id)


async def test_every_part_of_a_log_verifies_by_itself(audit):
    key = await filled(audit, (3, 1, 4))
    with export.snapshot(audit.path) as reader:
        parts = {(begin, end): exported(reader, begin=begin, end=end)[1] for begin in range(16) for end in range(begin + 1, 17)}
    for (begin, end), data in parts.items():
        report = verify_export(io.BytesIO(data), key)
        assert report.exit_code == 3, (begin, end, report)
        assert report.claims[-1].startswith(f"Only records {begin} to {end - 1}") or (begin, end) in ((0, 6), (0, 8), (0, 16))


async def test_a_changed_part_does_not_verify(audit):
    key = await filled(audit, (3, 1, 4))
    _, data = exported(audit.path, begin=5, end=11)
    for at, line in enumerate(data.splitlines(keepends=True)[1:7]):
        changed = data.replace(line, line.replace(b"acme", b"acmf").replace(b'\\"us\\":5', b'\\"us\\":6').replace(b"time_now", b"time_not"))
        assert changed != data
        report = verify_export(io.BytesIO(changed), key)
        assert report.first_bad is not None
        assert report.first_bad.begin == 5 + at


@pytest.mark.parametrize(("begin", "end"), [(0, 0), (5, 5), (6, 5), (0, 999), (-1, 5)])
async def test_ranges_that_are_empty_or_unsigned_are_refused(audit, begin, end):
    await filled(audit)
    with pytest.raises(export.NotFound):
        exported(audit.path, begin=begin, end=end)


async def test_what_is_not_there_is_said_in_a_sentence(audit, tmp_path):
    await filled(audit)
    (tmp_path / "text").write_text("not a database, but long enough to be taken for one " * 40)
    for call in (
        lambda: exported(audit.path, "nobody"),
        lambda: export.tail(audit.path, "nobody"),
        lambda: export.prove(audit.path, "acme", 999),
        lambda: export.prove(audit.path, "acme", -1),
        lambda: export.prove(audit.path, "acme", "no-such-call"),
        lambda: export.logs(tmp_path / "absent.db"),
        lambda: export.logs(tmp_path / "text"),
    ):
        with pytest.raises(export.NotFound):
            call()


async def test_before_the_first_checkpoint_there_is_nothing_to_export_or_prove(audit):
    async with audit.opened(audit.path) as (_, log):
        await audit.govern(log)
        for call in (
            lambda: exported(audit.path),
            lambda: export.prove(audit.path, "acme", 0),
            lambda: export.checkpoint(audit.path, "acme"),
        ):
            with pytest.raises(export.NotFound, match="signed"):
                call()


async def test_any_record_is_proved_by_index_and_a_call_by_its_id(audit):
    key = await filled(audit)
    with export.snapshot(audit.path) as reader:
        for row in export.tail(reader, "acme", 99):
            proved = proof.parse(export.prove(reader, "acme", row["index"]))
            proof.verify(proved, key)
            assert json.loads(proved.leaf) == row["record"]
        by_id = proof.parse(export.prove(reader, "acme", export.tail(reader, "acme", 99)[0]["record"]["id"]))
    assert by_id.index == 1


async def test_the_tail_is_the_newest_records_oldest_first(audit):
    await filled(audit)
    assert [row["index"] for row in export.tail(audit.path, "acme", 3)] == [35, 36, 37]
    assert len(export.tail(audit.path, "acme", 999)) == 38


async def test_a_journal_that_is_being_read_serves_as_well_as_its_place(audit):
    await filled(audit)
    with export.snapshot(audit.path) as reader:
        assert exported(reader) == exported(audit.path)


async def test_what_is_read_does_not_move_while_a_hub_goes_on_writing(audit):
    async with audit.opened(audit.path) as (_, log):
        await audit.govern(log)
        with export.snapshot(audit.path) as reader:
            before = export.tail(reader, "acme"), export.logs(reader)
            await audit.govern(log)
            assert (export.tail(reader, "acme"), export.logs(reader)) == before
        assert len(export.tail(audit.path, "acme")) == 4


async def test_progress_is_told(audit, monkeypatch):
    monkeypatch.setattr(export, "_EVERY", 10)
    await filled(audit)
    told = []
    exported(audit.path, progress=lambda done, of: told.append((done, of)))
    assert told == [(10, 38), (20, 38), (30, 38)]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}\n",
        b"[]\n",
        b"null\n",
        b'{"index": 1}\n',
        b'{"hash":"00","index":1,"leaf":""}\n',
        b'{"hash":"zz","index":1,"leaf":""}\n',
        b'{"checkpoint":1,"size":1}\n',
        b"[" * 100_000 + b"\n",
        b"\xff\n",
        b'{"index":' + b"1" * 9999 + b"}\n",
    ],
)
def test_lines_out_of_form_are_refused(line):
    with pytest.raises(LineInvalid):
        bundle.parse_line(line)
    with pytest.raises(LineInvalid):
        bundle.parse_header(line)
