"""What only several processes show: one small table for each question, and every sample as JSON. Each question starts what it needs."""

import shutil
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from tests.bench import measure, revocation, scaling
from tests.bench.table import markdown

Part = tuple[Sequence[str], Callable[[Path], list[dict[str, Any]]], Callable[[dict[str, Any]], list[str]]]
"""The head of a table; what measures, in a folder of its own; a result as a line of the table."""

PARTS: dict[str, Part] = {
    "workers": (scaling.WORKERS_HEAD, scaling.two_workers, scaling.workers_row),
    "added": (scaling.ADDED_HEAD, scaling.added, scaling.added_row),
    "sessions": (scaling.SESSIONS_HEAD, scaling.sessions, scaling.sessions_row),
    "revocation": (revocation.HEAD, revocation.measured, revocation.row),
}


def main(scratch: Path, results: Path) -> None:
    """Measure every part in turn; `results` is the folder the JSON goes to."""
    shutil.rmtree(scratch, ignore_errors=True)
    found: dict[str, Any] = {"machine": measure.machine()}
    for name, (head, measured, row) in PARTS.items():
        print(f"measuring {name}", file=sys.stderr)
        found[name] = measured(scratch / name)
        print(markdown([list(head), *(row(result) for result in found[name])]) + "\n")
    results.mkdir(exist_ok=True)
    path = results / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-several.json"
    path.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))
    machine = found["machine"]
    print(f"{machine['cores']} cores ({machine['cpu']}), Python {machine['python']}; every sample: {path.parent.name}/{path.name}")
