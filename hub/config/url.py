"""The URL of a store as its parts. No message repeats any of it: it may hold a password.

User and password are percent-encoded where they hold `:`, `/`, `@`, `?` or `#`.
"""

import re
from urllib.parse import parse_qsl

from msgspec import Struct

_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+]*)://(?P<authority>[^/?#]*)(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?")
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~%-]+)(?::(?P<port>[0-9]{1,5}))?")

HOST = "one of its hosts is not `host` or `host:port`; a user or password is written percent-encoded"


class Parts(Struct, frozen=True):
    """`account` is `user:password`; a host's port is None where none is written. It never prints itself."""

    scheme: str
    account: str
    hosts: tuple[tuple[str, int | None], ...]
    path: str
    query: tuple[tuple[str, str], ...]

    def __repr__(self) -> str:
        return f"Parts({self.scheme})"


def split(url: str) -> Parts:
    """Raises `ValueError` with a sentence that is safe to show."""
    found = _URL.fullmatch(url) if url.isascii() and url.isprintable() and " " not in url else None
    if found is None:
        raise ValueError("not a URL: in a user, password or name, write what is no letter or digit percent-encoded, as `%40` for `@`")
    account, _, hosts = found["authority"].rpartition("@")
    if "@" in account:
        raise ValueError("it has two `@`: in a user or password, write `%40`")
    names = tuple(map(_host, hosts.split(","))) if hosts else ()
    query = parse_qsl(found["query"] or "", keep_blank_values=True)
    return Parts(found["scheme"], account, names, (found["path"] or "").strip("/"), tuple(query))


def _host(text: str) -> tuple[str, int | None]:
    found = _HOST.fullmatch(text)
    port = int(found["port"]) if found and found["port"] else None
    if found is None or (port is not None and not 0 < port < 65536):
        raise ValueError(HOST)
    return found["name"].strip("[]"), port
