"""Makes what the services of docker-compose.yml must know and nobody else: `make_secrets.py FOLDER`. Standard library only.

::

    FOLDER/hub       master, log          key material of the hub: 32 bytes in base64 each
                     database, redis      the hub's passwords at the two
    FOLDER/postgres  database             the same password, for the role to be made with
                     superuser            PostgreSQL's, for its first seconds
    FOLDER/redis     users.acl            who may do what; of the password its hash only

Each folder is a volume that one service mounts. What FOLDER/hub holds stays as it is; what the others have of it is written anew. It says
what it made, never what is in it.
"""

import base64
import hashlib
import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

OWN = 0o400
"""Mode of files that the hub reads, as whose user this runs."""
LEAST = 32
"""Characters of a secret at least: what is shorter, or empty, is no secret, and Redis would take an empty password from anybody."""
FOREIGN = 0o444
"""Mode of files that another user reads, in a volume nobody else mounts."""


def main(folder: Path) -> None:
    made = [name for name, content in _CONTENTS.items() if _keep(folder / "hub" / name, OWN, content)]
    for name in _CONTENTS:
        if len(found := _read(folder / "hub" / name)) < LEAST or not found.isascii():
            sys.exit(f"{folder / 'hub' / name} holds no secret of {LEAST} ASCII characters: take it away to have it made anew")
    made += [name for name in ("superuser",) if _keep(folder / "postgres" / name, FOREIGN, _password)]
    _write(folder / "postgres" / "database", FOREIGN, _read(folder / "hub" / "database"))
    _write(folder / "redis" / "users.acl", FOREIGN, _acl(_read(folder / "hub" / "redis")))
    sys.stdout.write(f"secrets made: {', '.join(made)}\n" if made else "every secret is there already\n")


def _key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def _password() -> str:
    """256 bits, without a character that would have to be escaped in a URL."""
    return secrets.token_hex(32)


_CONTENTS: dict[str, Callable[[], str]] = {"master": _key, "log": _key, "database": _password, "redis": _password}


def _acl(password: str) -> str:
    """Redis' users. Whoever does not log in may ask whether it is alive; the hub may do everything with its own keys and channels.

    Of what concerns the whole server it may ask two things: whether this is the master, and what kind of server it is.
    """
    mark = hashlib.sha256(password.encode()).hexdigest()
    everybody = "user default on nopass sanitize-payload resetkeys resetchannels -@all +ping"
    hub = f"user hub on #{mark} sanitize-payload resetkeys ~hub:* resetchannels &hub:* +@all -@admin -@dangerous +role +info"
    return f"{everybody}\n{hub}"


def _keep(path: Path, mode: int, content: Callable[[], str]) -> bool:
    """Make the file where there is none; whether it was made."""
    if path.exists():
        return False
    _write(path, mode, content())
    return True


def _read(path: Path) -> str:
    return path.read_bytes().decode("ascii", "replace").strip()


def _write(path: Path, mode: int, text: str) -> None:
    """The file, whole or not at all, also where the machine loses power."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text + "\n")
        os.fchmod(descriptor, mode)
        file.flush()
        os.fsync(descriptor)
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(folder)
    os.close(folder)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make_secrets.py FOLDER")
    main(Path(sys.argv[1]))
