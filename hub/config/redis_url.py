"""The URL of Redis as a value: one server, a set watched by Sentinel, or a cluster; with or without TLS. It connects to nothing.

::

    redis://user:password@host:6379/0              one server                  rediss://…            the same over TLS
    redis+sentinel://h1:26379,h2:26379/service/0   whom the Sentinels name     rediss+sentinel://…   (Sentinels too)
    redis+cluster://h1:6379,h2:6379                the cluster these are of    rediss+cluster://…

User and password are percent-encoded. Parameters, named as redis-py names them: `ssl_ca_certs` (a PEM file trusted instead of the system's
authorities), `ssl_certfile` and `ssl_keyfile` (the hub's own certificate), `sentinel_username` and `sentinel_password`. Certificates are
always checked.
"""

from collections.abc import Iterator
from typing import Literal
from urllib.parse import unquote

from msgspec import Struct

from hub.config.problem import suggestion
from hub.config.url import HOST, Parts, split

Form = Literal["single", "sentinel", "cluster"]

Address = tuple[str, int]

_SCHEMES: dict[str, tuple[Form, bool]] = {
    "redis": ("single", False),
    "rediss": ("single", True),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
"""What the hosts of the URL are, and whether with TLS."""

_PORTS: dict[Form, int] = {"single": 6379, "sentinel": 26379, "cluster": 6379}
_TLS_PARAMETERS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_SENTINEL_PARAMETERS = ("sentinel_username", "sentinel_password")


class Login(Struct, frozen=True):
    """Who to be; both empty: nobody. It never prints itself."""

    user: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return "Login(***)" if self.password else "Login()"

    @property
    def command(self) -> tuple[str, ...]:
        """The arguments of AUTH."""
        return (self.user, self.password) if self.user else (self.password,)


class Site(Struct, frozen=True):
    """Where Redis is. `seeds` are the servers, or the Sentinels, to ask first; `service` is the name Sentinels know the set by."""

    form: Form
    seeds: tuple[Address, ...]
    service: str = ""
    database: int = 0
    login: Login = Login()
    sentinel_login: Login = Login()
    tls: bool = False
    ca_file: str = ""
    certificate: str = ""
    key: str = ""


def parse(url: str) -> Site:
    """Raises `ValueError` with a sentence that is safe to show: no part of the URL but names of parameters stands in it."""
    scheme = _SCHEMES.get(url.partition(":")[0])
    if scheme is None:
        raise ValueError("write `redis://host:6379/0`, `rediss://…` for TLS, `redis+sentinel://…` or `redis+cluster://…`")
    form, tls = scheme
    parts = split(url)
    service, _, number = parts.path.partition("/") if form == "sentinel" else ("", "", parts.path)
    for sentence in (*_target(parts, form, service, number), *_parameters(parts, form, tls)):
        raise ValueError(sentence)
    user, _, password = parts.account.partition(":")
    more = dict(parts.query)
    return Site(
        form,
        tuple((host, port or _PORTS[form]) for host, port in parts.hosts),
        service=unquote(service),
        database=int(number or 0),
        login=Login(unquote(user), unquote(password)),
        sentinel_login=Login(more.get("sentinel_username", ""), more.get("sentinel_password", "")),
        tls=tls,
        ca_file=more.get("ssl_ca_certs", ""),
        certificate=more.get("ssl_certfile", ""),
        key=more.get("ssl_keyfile", ""),
    )


def _target(parts: Parts, form: Form, service: str, number: str) -> Iterator[str]:
    """What is wrong with where it leads, each in a sentence that is safe to show."""
    if not parts.hosts:
        yield "it names no host"
    if any("%" in host for host, _ in parts.hosts):
        yield HOST
    if form == "single" and len(parts.hosts) > 1:
        yield "it names several hosts: write `redis+sentinel://` or `redis+cluster://`"
    if form == "sentinel" and not service:
        yield "it names no service: write `redis+sentinel://host:26379/service/0`"
    if number and not number.isdigit():
        yield "what stands behind its last `/` must be the number of a database"
    if form == "cluster" and number not in ("", "0"):
        yield "a cluster has database 0 only"


def _parameters(parts: Parts, form: Form, tls: bool) -> Iterator[str]:
    """What is wrong with its parameters. One without effect is a fault."""
    known, seen = (*_TLS_PARAMETERS, *_SENTINEL_PARAMETERS), set[str]()
    for name, _ in parts.query:
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
