"""Reads and verifies the journal of a hub from its database (a SQLite file, or the address of a PostgreSQL one), while it runs or after."""

import io
import json
from pathlib import Path
from typing import Any

from hub.audit.checkpoint import VerifierKey
from hub.audit.entry import INTENT, OUTCOME, base
from hub.audit.export import checkpoint, export, logs, snapshot
from hub.audit.tree import leaf_hash
from hub.audit.verify import parse_receipt, verify_export
from tests.support.wire import Response

Record = dict[str, Any]


def records(database: Path | str, org: str = "default") -> list[Record]:
    """Everything in an organisation's log, by index, signed already or not."""
    return [json.loads(leaf) for leaf in leaves(database, org)]


def changes(said: list[Record], of: str = "admin.") -> list[str]:
    """Kinds of the changes that operators made, in the order in which they held. Each was announced before, by the same."""
    begun = {(one["id"], base(one["kind"])): one for one in said if one["kind"].endswith(INTENT)}
    ended = [one for one in said if one["kind"].startswith(of) and one["kind"].endswith(OUTCOME) and one["outcome"]["status"] == "ok"]
    for one in ended:
        assert begun[one["id"], base(one["kind"])]["actor"] == one["actor"]
    return [base(one["kind"]) for one in ended]


def leaves(database: Path | str, org: str = "default") -> list[bytes]:
    with snapshot(database) as reader:
        log = reader.find(org)
        return [] if log is None else [leaf for _, _, leaf in reader.leaves(log, 0, log.size)]


def of_call(database: Path | str, answer: Response, org: str = "default") -> list[Record]:
    """The records of the call behind an answer, told by its request id."""
    return [record for record in records(database, org) if record.get("id") == answer.headers["x-request-id"]]


def verified(database: Path | str) -> dict[str, int]:
    """Verify every log of a hub that has stopped, each with its newest checkpoint held outside; the number of records of each."""
    found: dict[str, int] = {}
    for log in logs(database):
        assert log.size == log.signed, f"records of {log.org} are unsigned after an orderly stop"
        if log.size == 0:
            continue
        out = io.BytesIO()
        export(database, log.org, out)
        out.seek(0)
        report = verify_export(out, VerifierKey.parse(log.vkey), checkpoint=checkpoint(database, log.org))
        assert report.exit_code == 0, [step for step in report.steps if not step.ok]
        found[log.org] = log.size
    return found


def receipt_stands(database: Path | str, receipt: str, org: str = "default") -> Record:
    """The record a `hub-receipt` names. Its leaf hash must be the receipt's."""
    held = parse_receipt(receipt)
    leaf = leaves(database, org)[held.index]
    assert leaf_hash(leaf) == held.leaf
    return json.loads(leaf)
