"""`hub audit`: read the journal, take evidence out of it, and verify evidence without the hub."""

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.commands.options import Config, Json
from hub.commands.output import Failed, emit, line, progress

app = typer.Typer(help="The journal: read it, prove a record, export it, verify it offline.", no_args_is_help=True)

_Org = Annotated[str, typer.Option("--org", help="Whose log, by name or opaque id; `-` is the operator log.")]
_Out = Annotated[Path | None, typer.Option("--out", "-o", help="File to write; default: standard output.", show_default=False)]

_POLL = 0.25


@app.command("tail")
def tail(
    org: _Org = "default",
    count: Annotated[int, typer.Option("-n", "--count", min=0, help="How many records, the last ones.")] = 20,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what comes, until interrupted; with --json one record to a line.")
    ] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show the last records of a log. Works beside a running hub.

    Example: hub audit tail -n 5 --follow
    """
    from hub.audit import export
    from hub.commands.place import journal

    source = journal(config)
    with _told():
        records = export.tail(source, org, count) if count else []
        if not follow:
            emit(records, "\n".join(map(_line, records)), as_json)
            return
        after = next(log.size for log in export.logs(source) if org in (log.org, log.id)) if not records else records[-1]["index"] + 1
        while True:
            for record in records:
                line(record) if as_json else typer.echo(_line(record))
            sys.stdout.flush()
            time.sleep(_POLL)
            size = next(log.size for log in export.logs(source) if org in (log.org, log.id))
            records = [record for record in export.tail(source, org, size - after) if record["index"] >= after] if size > after else []
            after = max(after, size)


@app.command("prove")
def prove(
    what: Annotated[str, typer.Argument(metavar="CALL_ID|RECEIPT|INDEX", help="Call id (x-request-id), hub-receipt, or index in the log.")],
    org: _Org = "default",
    out: _Out = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Write a proof that one record stands in the log: a tlog-proof file that is verified offline.

    Example: hub audit prove 0198c0de-… --out call.proof && hub audit verify call.proof --key "$(hub audit key)"
    """
    from hub.audit import export
    from hub.commands.place import journal

    source = journal(config)
    with _told():
        owner, place = _place(source, org, what)
        text = export.prove(source, owner, place)
    if out is not None:
        out.write_text(text)
    result = {"org": owner, "proof": text, "file": str(out) if out else ""}
    emit(result, f"Wrote {out}." if out else text.rstrip("\n"), as_json)


@app.command("export")
def export_log(
    org: _Org = "default",
    out: _Out = None,
    begin: Annotated[int, typer.Option("--from", min=0, help="First record.")] = 0,
    end: Annotated[
        int | None, typer.Option("--to", min=1, help="Record to end before; default: all that is signed.", show_default=False)
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Export the signed records of a log with their checkpoints, to be verified anywhere.

    Example: hub audit export --out acme.jsonl --org acme
    """
    from hub.audit import export
    from hub.commands.place import journal

    source = journal(config)
    if out is None:
        if as_json:
            raise Failed("--json needs --out FILE: the export itself is JSON lines", code=2)
        with _told():
            export.export(source, org, sys.stdout.buffer, begin=begin, end=end)
        sys.stdout.buffer.flush()
        return
    draft = out.with_name(f".{out.name}.part")
    try:
        with _told(), draft.open("wb") as file, progress("Exporting") as advance:
            header = export.export(source, org, file, begin=begin, end=end, progress=advance)
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
    facts = {"file": str(out), "origin": header.origin, "vkey": header.vkey, "from": header.begin, "to": header.end, "size": header.size}
    emit(facts, f"Wrote records {header.begin} to {header.end - 1} of {header.origin} to {out}. Key: {header.vkey}", as_json)


@app.command("verify")
def verify(
    file: Annotated[Path, typer.Argument(help="An export, or a proof file.", show_default=False)],
    key: Annotated[str, typer.Option("--key", "-k", help="The log's verifier key (`hub audit key`), got from a place you trust.")],
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", help="A signed checkpoint kept outside the export.", show_default=False)
    ] = None,
    receipt: Annotated[str, typer.Option("--receipt", help="The value of a hub-receipt header that was kept.", show_default=False)] = "",
    as_json: Json = False,
) -> None:
    """Verify an export or a proof: no hub, no database, no network.

    Prints its steps and names the first bad record. Exit codes: 0 verified; 1 tampered with or inconsistent; 2 unreadable or wrong usage;
    3 verified with a reservation, as when nothing from outside was compared.

    Example: hub audit verify acme.jsonl --key "hub-x/audit/org_y+1a2b3c4d+A…" --checkpoint kept.txt
    """
    from hub.audit import report as reports
    from hub.audit import verify as verifying

    try:
        note_text = checkpoint.read_text() if checkpoint else ""
        with progress("Verifying"):
            report = verifying.verify_file(file, key, checkpoint=note_text, receipt=receipt)
    except verifying.Unreadable as error:
        raise Failed(str(error), code=reports.UNREADABLE) from None
    except (OSError, UnicodeDecodeError):
        raise Failed(f"{checkpoint} cannot be read as a checkpoint", code=reports.UNREADABLE) from None
    emit(reports.data(report), reports.text(report), as_json)
    raise typer.Exit(report.exit_code)


@app.command("key")
def key(
    org: _Org = "default",
    checkpoint: Annotated[
        bool, typer.Option("--checkpoint", help="Print the newest signed checkpoint instead, to be kept outside.")
    ] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Print the verifier key of a log. Hand it to whoever is to verify, by a way they trust.

    Example: hub audit key --org acme > acme.vkey
    """
    from hub.audit import export
    from hub.commands.place import journal

    source = journal(config)
    with _told():
        log = next((log for log in export.logs(source) if org in (log.org, log.id)), None)
        if log is None:
            raise export.NotFound(f"the journal has no log of {org}")
        note_text = export.checkpoint(source, org) if checkpoint else ""
    facts: dict[str, Any] = {"org": log.org, "id": log.id, "origin": log.origin, "vkey": log.vkey, "size": log.size, "signed": log.signed}
    emit({**facts, **({"checkpoint": note_text} if checkpoint else {})}, note_text.rstrip("\n") or log.vkey, as_json)


class _told:  # noqa: N801 (reads as the statement it is)
    """Turns what the journal does not have into a sentence."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from hub.audit.export import NotFound

        if isinstance(error, NotFound):
            raise Failed(str(error)) from None


def _place(source: Path | str, org: str, what: str) -> tuple[str, int | str]:
    """(whose log, index or call id). A receipt names its log itself."""
    from hub.audit import export
    from hub.audit.verify import Unreadable, parse_receipt

    if what.isascii() and what.isdigit():
        return org, int(what)
    if ";" not in what:
        return org, what
    try:
        held = parse_receipt(what)
    except Unreadable as error:
        raise Failed(str(error), code=2) from None
    log = next((log for log in export.logs(source) if log.origin == held.origin), None)
    if log is None:
        raise Failed(f"the receipt is of the log {held.origin}, which is not in this journal")
    return log.org, held.index


def _line(entry: dict[str, Any]) -> str:
    from hub.config.values import Dollars

    record = entry["record"]
    target = record.get("target", {})
    outcome = record.get("outcome", {})
    where = f"{target['upstream']}/{target.get('name', '')}" if "upstream" in target else target.get("door", "")
    status = " ".join(filter(None, (outcome.get("status", ""), outcome.get("code", ""))))
    took = f"{outcome['us'] / 1000:.1f} ms" if "us" in outcome else ""
    price = record.get("price", {})
    charged = f"{price['source']} {price['hash'].removeprefix('sha256:')[:12]}" if price else ""
    cost = f"${Dollars(record['cost'])}{f' by {charged}' if charged else ''}" if "cost" in record else ""
    cost = "unpriced" if record.get("unpriced") else cost
    words = (
        str(record.get("ts", "")),
        str(record.get("kind", "")),
        str(record.get("actor", {}).get("sub", "-")),
        where,
        status,
        took,
        cost,
    )
    return f"{entry['index']:>8}  " + "  ".join(filter(None, words)) + f"  {record.get('id', '')}"
