"""Verify an export or a proof file offline: no hub, no database, no network; standard library and `cryptography` only.

    python -m hub.audit.verify FILE --key VKEY [--checkpoint FILE | --receipt VALUE] [--json]

The steps, numbered alike in code and output:

 1. Every line has its form; the file is whole.
 2. The header names the log of the pinned key.
 3. Every record is canonical and has the fields of a record.
 4. Indices are contiguous and fill the range of the header.
 5. Every stored leaf hash is that of its record.
 6. Every record belongs to this log: its organisation is the log's.
 7. Within each boot of a hub, `n` counts without gaps.
 8. Every intent has at most one outcome, every outcome its intent.
 9. Every checkpoint is signed by the pinned key.
10. The records lead to the root of every checkpoint, and none stands beyond the last.
11. A checkpoint held outside the export fits it.
12. A receipt held outside the export fits it.

For a proof file (c2sp.org/tlog-proof@v1), after that specification: 1. leaf hash, 2. origin and signature, 3. witnesses (passed over),
4. inclusion.

What it can claim: with the key and one checkpoint or receipt from outside, every change to the records under it is found and the first bad
record named, or the interval between two checkpoints where the change hides behind recomputed hashes. Without one, a log cut back to an
earlier signed checkpoint looks whole; and whoever holds the signing key can write another log that only an outside checkpoint tells apart.

Exit codes: 0 verified; 1 tampered with or inconsistent; 2 usage, or not a file we can read; 3 verified, with a reservation that is
printed (nothing from outside was compared, or the export is a part of the log). 0 is kept for "nothing was left unchecked".
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from hub.audit import proof as proofs
from hub.audit.bundle import LineInvalid, parse_header, read_lines
from hub.audit.checkpoint import Checkpoint, NoteInvalid, VerifierKey, open_checkpoint
from hub.audit.examine import Examination, Held
from hub.audit.report import UNREADABLE, Bad, Report, Step, data, text
from hub.audit.tree import ProofInvalid

PROOF_TITLES = {1: "leaf hash", 2: "origin and signature", 3: "witnesses", 4: "inclusion"}


class Unreadable(Exception):
    """The file, key, checkpoint or receipt is not what it should be, so that nothing can be said. Safe to show."""


def verify_export(file: BinaryIO, key: VerifierKey, *, checkpoint: str = "", receipt: str = "") -> Report:
    """Verify an export. `checkpoint` is the text of a signed note, `receipt` the value of a `hub-receipt` header; either may be empty.

    Raises `Unreadable` where the file does not begin as an export, or what is held against it cannot be read or is of another log.
    """
    outside = _outside_checkpoint(checkpoint, key) if checkpoint else None
    held = parse_receipt(receipt) if receipt else None
    if held is not None and held.origin != key.name:
        raise Unreadable(f"the receipt is of the log {held.origin}, the key of {key.name}")
    lines = read_lines(file)
    try:
        header = parse_header(next(lines, b""))
    except LineInvalid as error:
        raise Unreadable(f"this is not an export of a journal: {error}") from None
    examination = Examination(header, key)
    for line in lines:
        examination.line(line)
    examination.finish(outside, held)
    return examination.report()


def verify_proof(file: str, key: VerifierKey, leaf: bytes = b"") -> Report:
    """Verify a tlog-proof file; the record is `leaf`, or the one in the file. Raises `Unreadable`."""
    try:
        proof = proofs.parse(file)
    except NoteInvalid as error:
        raise Unreadable(f"this is not a proof file: {error}") from None
    report = Report([Step(number, title) for number, title in PROOF_TITLES.items()], record=(leaf or proof.leaf).decode("utf-8", "replace"))
    report.steps[2].ok = None
    try:
        checkpoint = proofs.verify(proof, key, leaf)
    except NoteInvalid as error:
        report.steps[1].ok, report.steps[1].detail, report.steps[3].ok = False, str(error), None
    except ProofInvalid as error:
        report.steps[3].ok, report.steps[3].detail = False, str(error)
        report.first_bad = Bad(proof.index, proof.index + 1, "", str(error))
    else:
        report.steps[3].detail = f"record {proof.index} of {checkpoint.size} in {checkpoint.origin}"
    return report


def parse_receipt(value: str) -> Held:
    """Read the value of a `hub-receipt` header. Raises `Unreadable`."""
    place, semicolon, leaf = value.strip().rpartition(";")
    origin, slash, index = place.rpartition("/")
    try:
        if not (semicolon and slash and origin and index.isascii() and index.isdigit() and len(leaf) == 64):
            raise ValueError
        return Held(origin, int(index), bytes.fromhex(leaf))
    except ValueError:
        raise Unreadable("a receipt reads <log origin>/<index>;<leaf hash>") from None


def _outside_checkpoint(note: str, key: VerifierKey) -> Checkpoint:
    try:
        return open_checkpoint(note, key)
    except NoteInvalid as error:
        raise Unreadable(f"the outside checkpoint cannot be used: {error}") from None


def verify_file(path: Path, key: str, *, checkpoint: str = "", receipt: str = "") -> Report:
    """Verify an export or a proof file under a verifier key given as text. Raises `Unreadable`."""
    try:
        trusted = VerifierKey.parse(key)
    except NoteInvalid as error:
        raise Unreadable(f"the key cannot be used: {error}") from None
    try:
        with path.open("rb") as file:
            beginning = file.read(len(proofs.HEADER))
            file.seek(0)
            if beginning != proofs.HEADER.encode():
                return verify_export(file, trusted, checkpoint=checkpoint, receipt=receipt)
            return verify_proof(file.read(proofs.MAX_FILE).decode(), trusted)
    except (OSError, UnicodeDecodeError) as error:
        raise Unreadable(f"{path} cannot be read: {type(error).__name__}") from None


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m hub.audit.verify", description="Verify an export of the journal, or a proof file, offline."
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--key", required=True, help="the log's verifier key, got from a place you trust")
    outside = parser.add_mutually_exclusive_group()
    outside.add_argument("--checkpoint", type=Path, help="a signed checkpoint kept outside the export")
    outside.add_argument("--receipt", default="", help="the value of a hub-receipt header")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    try:
        note = options.checkpoint.read_text() if options.checkpoint else ""
        report = verify_file(options.file, options.key, checkpoint=note, receipt=options.receipt)
    except (Unreadable, OSError, UnicodeDecodeError) as error:
        sys.stderr.write(f"{error}\n")
        return UNREADABLE
    sys.stdout.write((json.dumps(data(report)) if options.json else text(report)) + "\n")
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
