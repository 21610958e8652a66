"""Journals written by processes of their own (writer.py), and what must be true of them afterwards."""

import io
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from hub.audit import export
from hub.audit.checkpoint import VerifierKey
from hub.audit.verify import verify_export

WRITER = Path(__file__).with_name("writer.py")


def run_writer(path: Path | str, mode: str, *more: str) -> subprocess.Popen[bytes]:
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, str(WRITER), str(path), mode, *more], stdout=subprocess.PIPE, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}
    )


def written(path, org="acme"):
    return [row["record"] for row in export.tail(path, org, 1 << 30)]


def check_log(path, signer, acknowledged):
    """Everything acknowledged is there, counters are gapless, the tree verifies, no intent is open."""
    stored = {f"{log.origin}/{row['index']};{row['hash']}" for log in export.logs(path) for row in export.tail(path, log.org, 1 << 30)}
    assert set(acknowledged) <= stored
    records = written(path)
    counted = defaultdict(list)
    for r in records:
        counted[r["boot"]].append(r["n"])
    assert all(ns == list(range(1, 1 + len(ns))) for ns in counted.values())
    intents = {r["id"] for r in records if r["kind"].endswith(".intent")}
    outcomes = [r["id"] for r in records if r["kind"].endswith(".outcome")]
    assert intents == set(outcomes)
    assert len(outcomes) == len(set(outcomes))
    for log in export.logs(path):
        out = io.BytesIO()
        export.export(path, log.org, out)
        out.seek(0)
        report = verify_export(out, VerifierKey.parse(log.vkey), checkpoint=export.checkpoint(path, log.org))
        assert report.exit_code == 0, report
