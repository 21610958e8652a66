"""deploy/make_secrets.py: what it makes, and that it takes nothing back."""

import base64
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.compose import ROOT

SCRIPT = ROOT / "deploy/make_secrets.py"


def run(folder: Path) -> str:
    return subprocess.run([sys.executable, "-I", SCRIPT, folder], check=True, capture_output=True, text=True).stdout


def contents(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("hub", "postgres", "redis"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_it_makes_every_secret_once_and_says_none(folder: Path) -> None:
    said = run(folder)
    assert said == "secrets made: master, log, database, redis, superuser\n"
    first = contents(folder)
    assert set(first) == {
        *("hub/master", "hub/log", "hub/database", "hub/redis"),
        *("postgres/database", "postgres/superuser", "redis/users.acl"),
    }
    assert {len(base64.b64decode(first[f"hub/{name}"], validate=False)) for name in ("master", "log")} == {32}
    assert len(set(first.values())) == len(first) - 1, "two have the same: the hub's password at PostgreSQL"
    assert first["hub/database"] == first["postgres/database"]
    assert run(folder) == "every secret is there already\n"
    assert contents(folder) == first


def test_the_hubs_files_are_its_users_alone_and_the_others_can_only_be_read(folder: Path) -> None:
    run(folder)
    modes = {str(file.relative_to(folder)): file.stat().st_mode & 0o777 for file in folder.rglob("*") if file.is_file()}
    assert {mode for name, mode in modes.items() if name.startswith("hub/")} == {0o400}
    assert {mode for name, mode in modes.items() if not name.startswith("hub/")} == {0o444}


def test_redis_gets_the_hash_of_the_password_only(folder: Path) -> None:
    run(folder)
    password = (folder / "hub/redis").read_text().strip()
    users = (folder / "redis/users.acl").read_text()
    assert password not in users
    assert f"#{hashlib.sha256(password.encode()).hexdigest()}" in users


@pytest.mark.parametrize(("gone", "anew"), [("hub/database", "postgres/database"), ("hub/redis", "redis/users.acl")])
def test_a_password_that_was_taken_away_is_made_anew_for_both_sides_and_nothing_else_is(folder: Path, gone: str, anew: str) -> None:
    run(folder)
    first = contents(folder)
    (folder / gone).unlink()
    assert run(folder) == f"secrets made: {Path(gone).name}\n"
    assert {name for name, text in contents(folder).items() if text != first[name]} == {gone, anew}


@pytest.mark.parametrize("content", [b"", b"\n", b"short\n", b"\xff" * 64])
def test_a_file_without_a_secret_is_no_password_that_anybody_could_use(folder: Path, content: bytes) -> None:
    run(folder)
    first = contents(folder)["redis/users.acl"]
    (folder / "hub/redis").unlink()
    (folder / "hub/redis").write_bytes(content)
    done = subprocess.run([sys.executable, "-I", SCRIPT, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "take it away" in done.stderr
    assert "Traceback" not in done.stderr
    assert (folder / "redis/users.acl").read_text() == first


def test_it_says_how_it_is_used() -> None:
    done = subprocess.run([sys.executable, "-I", SCRIPT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "usage: make_secrets.py FOLDER\n")
