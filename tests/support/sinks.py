"""Everything a hub leaves behind, as text in which a canary would be found. Tests only."""

import gzip
import io
from collections.abc import Iterable
from pathlib import Path

from hub.audit.export import export, logs
from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer
from tests.support.collector import Collector


def files(folder: Path) -> str:
    """All files below a folder, as they stand on the disk."""
    return "\n".join(file.read_bytes().decode("latin-1") for file in sorted(folder.rglob("*")) if file.is_file())


def tables(server: PostgresServer, database: str) -> str:
    """Every row of every table, as the superuser sees them; bytes as hex."""
    named = "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    found = server.sql(named, database).splitlines()
    assert len(found) > 10, found
    return "\n".join(server.sql(f"SELECT * FROM {table}", database) for table in found)


def commands(server: RedisServer) -> str:
    """Every command that changed something, since the server started: its append-only file is not compressed."""
    return files(server.folder / "data" / "appendonlydir")


def journal(database: Path | str) -> str:
    """The export of each organisation's log."""
    found: list[str] = []
    for log in logs(database):
        out = io.BytesIO()
        export(database, log.org, out)
        found.append(out.getvalue().decode("latin-1"))
    assert any(found)
    return "\n".join(found)


def sent(places: Iterable[Collector]) -> str:
    """What collectors were sent."""
    return "\n".join(plain(body) for place in places for body in place.raw)


def plain(body: bytes) -> str:
    """A body that was sent, compressed or not."""
    return (gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body).decode("latin-1")


def running(pid: int) -> str:
    """What anybody on the machine sees of a process and those it started: name, title and arguments."""
    folder = Path(f"/proc/{pid}")
    children = (folder / "task" / str(pid) / "children").read_text().split()
    own = (folder / "comm").read_text() + (folder / "cmdline").read_bytes().decode("latin-1")
    return own + "".join(running(int(child)) for child in children)
