"""Which hub a command is about: its configuration, its address, its database. It opens nothing for writing."""

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

from hub.commands.output import Failed
from hub.config.load import ConfigError, Loaded, database_file, load

_SECTIONS = ("server", "stores", "secrets", "audit")
"""All that commands on a hub's own data need: they work where the rest of the file cannot be resolved."""


def located(config: Path | None) -> Loaded:
    """The configuration meant, without upstreams, keys and policies. Raises `Failed` where it is at fault."""
    from hub.cli import default_config

    try:
        return load(config or default_config(), only=_SECTIONS)
    except ConfigError as error:
        raise Failed("; ".join(error.lines())) from None


def hub_url(config: Path | None) -> str:
    """Where the configured hub listens, as seen from this machine."""
    server = located(config).config.server
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(server.host, server.host)  # noqa: S104 (read, not bound)
    return f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{server.port}"


@contextmanager
def reading(config: Path | None) -> Generator[sqlite3.Connection]:
    """The database, read-only: also beside a running hub. Raises `Failed` where there is none yet."""
    path = database_file(located(config).config)
    if not path.is_file():
        raise Failed(f"there is no database at {path}; the hub makes it on its first start")
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)) as connection:
        connection.execute("PRAGMA busy_timeout=2000")
        connection.execute("PRAGMA query_only=ON")
        yield connection


def in_use(path: Path) -> bool:
    """Whether a hub has this database open. Takes no lock that would keep one from starting: a shared one, for an instant."""
    import fcntl

    lock = Path(f"{path}.lock")
    if not lock.exists():
        return False
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False
