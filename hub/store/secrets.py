"""The hub's own key material: one master secret everything else is derived from, and the seed the journal is signed with.

It does not know what the derived keys are used for. Files are made once and never written again.
"""

import base64
import binascii
import os
import secrets
import stat
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SIZE = 32
"""Bytes of a secret."""

KEY_PEPPER = "key pepper"
"""The purpose under which the pepper of API keys is derived."""


class UnusableSecret(ValueError):
    """Key material that is malformed, or that others on this machine can read. The message never holds any of it."""


class Secrets:
    """Key material of one hub. It never prints itself."""

    def __init__(self, master: bytes, log_seed: bytes) -> None:
        self._master = master
        self.log_seed = log_seed
        """The Ed25519 seed of the journal's signer: stands alone, so that it can be kept and rotated apart from the master."""

    def __repr__(self) -> str:
        return "Secrets(***)"

    @staticmethod
    def load(folder: Path, master: str | None, log: str | None) -> "Secrets":
        """Take what was given (32 bytes in base64), read or make the rest in `folder` (0700; `master.key` and `log.key`, 0600).

        Raises `UnusableSecret`, or `OSError` where the folder cannot be used.
        """
        return Secrets(
            _kept(folder, "master.key") if master is None else decoded(master, "secrets.master"),
            _kept(folder, "log.key") if log is None else decoded(log, "secrets.log"),
        )

    def derive(self, purpose: str, length: int = SIZE) -> bytes:
        """A key for one purpose: HKDF-SHA256 (RFC 5869) of the master secret, without salt, with the purpose as `info`."""
        return HKDF(SHA256(), length, salt=None, info=purpose.encode()).derive(self._master)


def _kept(folder: Path, name: str) -> bytes:
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # `parents` makes all but the last with the default mode
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_mode & 0o022:
        raise UnusableSecret(f"{folder} can be written by other users: run `chmod 700 {folder}` and start again")
    path = folder / name
    if not path.exists():
        _make(path)
    return _read(path)


def _read(path: Path) -> bytes:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        mode = stat.S_IMODE(os.fstat(file).st_mode)
        if mode & 0o077:
            raise UnusableSecret(f"{path} is open to other users (mode {mode:04o}): run `chmod 600 {path}` and start again")
        return decoded(os.read(file, 4096).decode("ascii", "replace"), str(path))
    finally:
        os.close(file)


def _make(path: Path) -> None:
    """Make the file whole or not at all, and never in place of another: the finished file gets its name by `link`."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, base64.b64encode(secrets.token_bytes(SIZE)) + b"\n")
        os.fsync(file)
        os.link(draft, path)
    except FileExistsError:  # another process was first: its key counts
        return
    finally:
        os.close(file)
        draft.unlink(missing_ok=True)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def decoded(text: str, where: str) -> bytes:
    """A secret of 32 bytes, written in base64. Raises `UnusableSecret`."""
    try:
        value = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise UnusableSecret(f"{where} is not base64") from None
    if len(value) != SIZE:
        raise UnusableSecret(f"{where} holds {len(value)} bytes; it must hold {SIZE}")
    return value
