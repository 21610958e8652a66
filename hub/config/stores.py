"""The URLs under `stores`, read once: which medium, where, and what may be shown of it. It connects to nothing."""

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from hub.config import redis_url
from hub.config.problem import suggestion
from hub.config.serving import Stores
from hub.config.url import Parts, split
from hub.config.values import Address

NEEDED = "this needs PostgreSQL and Redis: give both, as `stores.database: postgresql://…` and `stores.redis: redis://…`"
"""What several workers want, as the end of a sentence."""

_POSTGRES = (
    *("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslpassword", "sslnegotiation"),
    *("ssl_min_protocol_version", "ssl_max_protocol_version", "target_session_attrs"),
    *("host", "port", "user", "password", "passfile", "application_name", "krbsrvname", "gsslib"),
)
"""Parameters of the URL that the driver understands; every other would become a setting of the session, or a fault at the first call."""
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


class SqliteFile(Struct, frozen=True):
    """One process serves it. A relative path counts from the working directory."""

    file: Path


class PostgresDatabase(Struct, frozen=True):
    """Any number of processes serve it, where there is Redis beside it."""

    address: Address


def database(address: Address) -> SqliteFile | PostgresDatabase:
    """What `stores.database` means. Raises `ValueError` with a sentence that is safe to show."""
    if address.url.startswith("sqlite:"):
        file = address.url.removeprefix("sqlite:///")
        if not file or file == address.url:
            raise ValueError("write `sqlite:///path` for a relative path, `sqlite:////path` for an absolute one")
        return SqliteFile(Path(file))
    if address.url.partition(":")[0] not in ("postgresql", "postgres"):
        raise ValueError("write `sqlite:///path`, or `postgresql://user@host:5432/database`")
    for sentence in _postgres(split(address.url)):
        raise ValueError(sentence)
    return PostgresDatabase(address)


def redis(address: Address) -> redis_url.Site | None:
    """What `stores.redis` means; None where it is empty. Raises `ValueError` with a sentence that is safe to show."""
    return redis_url.parse(address.url) if address.url else None


def several(given: Stores) -> bool:
    """Whether several processes may serve from these stores at once."""
    return isinstance(database(given.database), PostgresDatabase) and redis(given.redis) is not None


def _postgres(parts: Parts) -> Iterator[str]:
    query = dict(parts.query)
    if not parts.path or "/" in parts.path:
        yield "it names no database: write `postgresql://user@host:5432/database`"
    if not parts.hosts and not query.get("host"):
        yield "it names no host: write `postgresql://user@host:5432/database`, or `?host=/folder` for a socket"
    for name in query:
        if name not in _POSTGRES:
            yield f"`{name}` is no parameter of a PostgreSQL URL{suggestion(name, _POSTGRES)}"
    if "sslmode" in query and query["sslmode"] not in _SSL_MODES:
        yield f"`sslmode` must be one of {', '.join(_SSL_MODES)}"
