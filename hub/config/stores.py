"""The URLs under `stores`, read once: which medium, where, and what may be shown of it. It connects to nothing.

A URL's user and password are percent-encoded where they hold `:`, `/`, `@`, `?` or `#`. No message repeats any part of a URL.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl

from msgspec import Struct

from hub.config.model import Address, Stores
from hub.config.problem import suggestion

Form = Literal["single", "sentinel", "cluster"]

NEEDED = "this needs PostgreSQL and Redis: give both, as `stores.database: postgresql://…` and `stores.redis: redis://…`"
"""What several workers want, as the end of a sentence."""

_POSTGRES = (
    *("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslpassword", "sslnegotiation"),
    *("ssl_min_protocol_version", "ssl_max_protocol_version", "target_session_attrs"),
    *("host", "port", "user", "password", "passfile", "application_name", "krbsrvname", "gsslib"),
)
"""Parameters of the URL that the driver understands; every other would become a setting of the session, or a fault at the first call."""
_TLS_PARAMETERS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_SENTINEL_PARAMETERS = ("sentinel_username", "sentinel_password")
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_REDIS: dict[str, tuple[Form, bool]] = {
    "redis": ("single", False),
    "rediss": ("single", True),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+]*)://(?P<authority>[^/?#]*)(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~%-]+)(?::(?P<port>[0-9]{1,5}))?")


class SqliteFile(Struct, frozen=True):
    """One process serves it. A relative path counts from the working directory."""

    file: Path


class PostgresDatabase(Struct, frozen=True):
    """Any number of processes serve it, where there is Redis beside it."""

    address: Address


class RedisServer(Struct, frozen=True):
    """`form` says what the hosts of the URL are."""

    address: Address
    form: Form
    tls: bool


class _Parts(Struct, frozen=True):
    scheme: str
    hosts: tuple[str, ...]
    path: str
    query: tuple[tuple[str, str], ...]


def database(address: Address) -> SqliteFile | PostgresDatabase:
    """What `stores.database` means. Raises `ValueError` with a sentence that is safe to show."""
    if address.url.startswith("sqlite:"):
        file = address.url.removeprefix("sqlite:///")
        if not file or file == address.url:
            raise ValueError("write `sqlite:///path` for a relative path, `sqlite:////path` for an absolute one")
        return SqliteFile(Path(file))
    if address.url.partition(":")[0] not in ("postgresql", "postgres"):
        raise ValueError("write `sqlite:///path`, or `postgresql://user@host:5432/database`")
    parts = _parts(address.url)
    for sentence in _postgres(parts):
        raise ValueError(sentence)
    return PostgresDatabase(address)


def redis(address: Address) -> RedisServer | None:
    """What `stores.redis` means; None where it is empty. Raises `ValueError` with a sentence that is safe to show."""
    if not address.url:
        return None
    form = _REDIS.get(address.url.partition(":")[0])
    if form is None:
        raise ValueError("write `redis://host:6379/0`, `rediss://…` for TLS, `redis+sentinel://…` or `redis+cluster://…`")
    parts = _parts(address.url)
    for sentence in (*_redis(parts, form[0]), *redis_parameters(parts.query, *form)):
        raise ValueError(sentence)
    return RedisServer(address, *form)


def several(given: Stores) -> bool:
    """Whether several processes may serve from these stores at once."""
    return isinstance(database(given.database), PostgresDatabase) and redis(given.redis) is not None


def _parts(url: str) -> _Parts:
    found = _URL.fullmatch(url) if url.isascii() and url.isprintable() and " " not in url else None
    if found is None:
        raise ValueError("not a URL: in a user, password or name, write what is no letter or digit percent-encoded, as `%40` for `@`")
    behind = found["authority"].rpartition("@")[2]
    hosts = tuple(behind.split(",")) if behind else ()
    if found["authority"].count("@") > 1:
        raise ValueError("it has two `@`: in a user or password, write `%40`")
    for host in hosts:
        one = _HOST.fullmatch(host)
        if one is None or not 0 < int(one["port"] or 1) < 65536:
            raise ValueError("one of its hosts is not `host` or `host:port`; a user or password is written percent-encoded")
    return _Parts(found["scheme"], hosts, (found["path"] or "").strip("/"), tuple(parse_qsl(found["query"] or "", keep_blank_values=True)))


def _postgres(parts: _Parts) -> Iterator[str]:
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


def _redis(parts: _Parts, form: Form) -> Iterator[str]:
    if not parts.hosts:
        yield "it names no host"
    if form == "single" and len(parts.hosts) > 1:
        yield "it names several hosts: write `redis+sentinel://` or `redis+cluster://`"
    service, _, number = parts.path.partition("/") if form == "sentinel" else ("", "", parts.path)
    if form == "sentinel" and not service:
        yield "it names no service: write `redis+sentinel://host:26379/service/0`"
    if number and not number.isdigit():
        yield "what stands behind its last `/` must be the number of a database"
    if form == "cluster" and number not in ("", "0"):
        yield "a cluster has database 0 only"


def redis_parameters(query: Iterable[tuple[str, str]], form: Form, tls: bool) -> Iterator[str]:
    """What is wrong with the parameters of a Redis URL, each in a sentence that is safe to show. One without effect is a fault."""
    known, seen = (*_TLS_PARAMETERS, *_SENTINEL_PARAMETERS), set[str]()
    for name, _ in query:
        if name not in known:
            yield f"`{name}` is no parameter of a Redis URL{suggestion(name, known) or '; there are ' + ', '.join(known)}"
        elif name in _TLS_PARAMETERS and not tls:
            yield f"`{name}` has a meaning with TLS only, as in `rediss://…`"
        elif name in _SENTINEL_PARAMETERS and form != "sentinel":
            yield f"`{name}` has a meaning in `redis+sentinel://…` only"
        elif name in seen:
            yield f"`{name}` stands in it twice"
        seen.add(name)
    if "ssl_keyfile" in seen and "ssl_certfile" not in seen:
        yield "`ssl_keyfile` has a meaning only beside `ssl_certfile`"
