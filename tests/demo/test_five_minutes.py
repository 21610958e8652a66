"""The first five minutes, as `make demo` runs them: every promise the README makes is kept by the script that shows it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_first_five_minutes_show_what_they_promise() -> None:
    done = subprocess.run([sys.executable, "demo/five_minutes.py"], cwd=ROOT, capture_output=True, text=True, timeout=230, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for shown in (
        "now, convert_time",
        "Echo: hello",
        "REFUSED: policy does not allow this call (no-bulk-history)",
        "REFUSED: the limit 'conversions' is reached",
        "its leaf hash is another",
        "NOT VERIFIED",
        "HTTP 401",
    ):
        assert shown in done.stdout
    assert "\n  VERIFIED" in done.stdout
