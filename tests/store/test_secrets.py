"""The hub's own key material."""

import base64
import hashlib
import hmac
import os
import stat
import threading
from pathlib import Path

import pytest

from hub.store.secrets import Secrets, UnusableSecret

TEXT = base64.b64encode(bytes(range(32))).decode()


def hkdf(master: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869, section 2, as the text has it."""
    key, block, out = hmac.digest(bytes(32), master, "sha256"), b"", b""
    for number in range(1, -(-length // 32) + 1):
        block = hmac.digest(key, block + info + bytes([number]), "sha256")
        out += block
    return out[:length]


def test_the_first_load_makes_both_keys_for_the_owner_only(tmp_path: Path):
    folder = tmp_path / "hub" / "secret"
    Secrets.load(folder, None, None)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sorted(p.name for p in folder.iterdir()) == ["log.key", "master.key"]
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert len(base64.b64decode(path.read_text())) == 32


def test_a_second_load_finds_the_same_keys(tmp_path: Path):
    first, second = (Secrets.load(tmp_path, None, None) for _ in range(2))
    assert first.log_seed == second.log_seed
    assert first.derive("pepper") == second.derive("pepper")


def test_existing_files_are_never_written(tmp_path: Path):
    Secrets.load(tmp_path, None, None)
    before = {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in tmp_path.iterdir()}
    Secrets.load(tmp_path, None, None)
    assert {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("content", ["", "short", "AAAA", TEXT[:-4], "é" * 44])
def test_a_damaged_file_is_refused_and_left_as_it_is(tmp_path: Path, content: str):
    path = tmp_path / "master.key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(UnusableSecret, match=r"master\.key"):
        Secrets.load(tmp_path, None, None)
    assert path.read_text() == content


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_others_can_read_is_refused_with_advice(tmp_path: Path, mode: int):
    Secrets.load(tmp_path, None, None)
    (tmp_path / "master.key").chmod(mode)
    with pytest.raises(UnusableSecret, match="chmod 600"):
        Secrets.load(tmp_path, None, None)


def test_a_folder_others_can_write_is_refused_with_advice(tmp_path: Path):
    tmp_path.chmod(0o770)
    with pytest.raises(UnusableSecret, match="chmod 700"):
        Secrets.load(tmp_path, None, None)


def test_given_secrets_touch_no_folder(tmp_path: Path):
    secrets = Secrets.load(tmp_path / "absent", TEXT, f" {TEXT}\n")
    assert secrets.log_seed == bytes(range(32))
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("text", ["", "not base64!", "AAAA", TEXT + "AAAA"])
def test_given_secrets_must_be_32_bytes_of_base64_and_are_not_repeated_in_the_error(tmp_path: Path, text: str):
    with pytest.raises(UnusableSecret) as raised:
        Secrets.load(tmp_path, text, TEXT)
    assert "secrets.master" in str(raised.value)
    assert not text or text not in str(raised.value)


def test_purposes_derive_unrelated_keys_as_the_rfc_says():
    secrets = Secrets(bytes(range(32)), bytes(32))
    for purpose, length in (("pepper", 32), ("cursors", 16), ("sealing", 80)):
        assert secrets.derive(purpose, length) == hkdf(bytes(range(32)), purpose.encode(), length)
    assert secrets.derive("a") != secrets.derive("b")
    assert hashlib.sha256(bytes(range(32))).digest() != secrets.derive("")


def test_secrets_do_not_print_themselves():
    secrets = Secrets(b"m" * 32, b"l" * 32)
    assert "mmm" not in f"{secrets} {secrets!r}"
    assert "lll" not in f"{secrets} {secrets!r}"


def test_many_starters_agree_on_one_key(tmp_path: Path):
    found: list[bytes] = []
    gate = threading.Barrier(8)

    def start() -> None:
        gate.wait()
        found.append(Secrets.load(tmp_path / "secret", None, None).derive("pepper"))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert sorted(os.listdir(tmp_path / "secret")) == ["log.key", "master.key"]
