"""What the locked requirements promise: every package pinned and hashed, and no download address or path of a machine anywhere."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PINS = sorted(ROOT.glob("requirements/*.txt"))
LOCKS = sorted([*ROOT.glob("requirements/*/package-lock.json"), *ROOT.glob("tests/services/*/package-lock.json")])


@pytest.mark.parametrize("path", PINS, ids=lambda path: path.name)
def test_every_requirement_is_pinned_and_hashed(path: Path) -> None:
    entries = path.read_text().replace("\\\n", " ").splitlines()
    assert entries
    for entry in entries:
        assert re.match(r"^[a-z0-9._-]+==[^ ]+ .*--hash=sha256:[0-9a-f]{64}", entry), entry[:80]
        assert "://" not in entry
        assert not entry.startswith("-")


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.parent.name)
def test_every_locked_package_has_a_digest_and_no_download_address(path: Path) -> None:
    packages: dict[str, dict[str, Any]] = json.loads(path.read_text())["packages"]
    for name, package in packages.items():
        assert "resolved" not in package, name
        assert not name or package["integrity"].startswith("sha512-"), name


def test_the_development_pins_hold_the_very_packages_that_run() -> None:
    run, dev = (set(re.findall(r"^[a-z0-9._-]+==[^ ]+", (ROOT / f"requirements/{name}.txt").read_text(), re.M)) for name in ("run", "dev"))
    assert run <= dev
