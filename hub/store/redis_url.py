"""The URL of Redis as a value: one server, a set watched by Sentinel, or a cluster; with or without TLS. It connects to nothing.

::

    redis://user:password@host:6379/0              one server                  rediss://…            the same over TLS
    redis+sentinel://h1:26379,h2:26379/service/0   whom the Sentinels name     rediss+sentinel://…   (Sentinels too)
    redis+cluster://h1:6379,h2:6379                the cluster these are of    rediss+cluster://…

User and password are percent-encoded. Parameters, named as redis-py names them: `ssl_ca_certs` (a PEM file trusted instead of the system's
authorities), `ssl_certfile` and `ssl_keyfile` (the hub's own certificate), `sentinel_username` and `sentinel_password`. Certificates are
always checked.
"""

import re
import ssl
from urllib.parse import parse_qsl, unquote

from msgspec import Struct

from hub.config.stores import Form, redis_parameters

Address = tuple[str, int]

_FORMS: dict[str, Form] = {"": "single", "sentinel": "sentinel", "cluster": "cluster"}
_PORTS: dict[Form, int] = {"single": 6379, "sentinel": 26379, "cluster": 6379}
_URL = re.compile(r"(?P<scheme>rediss?)(?:\+(?P<form>[a-z]+))?://(?P<authority>[^/?#]*)(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?")
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")


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

    def trust(self) -> ssl.SSLContext | None:
        """What servers are trusted; None without TLS. Raises `OSError`, `ssl.SSLError` where a file cannot be used."""
        if not self.tls:
            return None
        context = ssl.create_default_context(cafile=self.ca_file or None)
        if self.certificate:
            context.load_cert_chain(self.certificate, self.key or None)
        return context


def parse(url: str) -> Site:
    """Raises `ValueError` with a sentence that is safe to show: no part of the URL but names of parameters stands in it."""
    parts = _URL.fullmatch(url)
    form = _FORMS.get(parts["form"] or "") if parts else None
    if parts is None or form is None:
        raise ValueError("write `redis://host:6379/0`, `rediss://…` for TLS, `redis+sentinel://…` or `redis+cluster://…`")
    account, _, hosts = parts["authority"].rpartition("@")
    user, _, password = account.partition(":")
    seeds = tuple(_address(host, _PORTS[form]) for host in hosts.split(","))
    if form == "single" and len(seeds) > 1:
        raise ValueError("it names several hosts: write `redis+sentinel://` or `redis+cluster://`")
    service, database = _path(parts["path"] or "", form)
    tls = parts["scheme"] == "rediss"
    more = _parameters(parts["query"] or "", form, tls)
    return Site(
        form,
        seeds,
        service=service,
        database=database,
        login=Login(unquote(user), unquote(password)),
        sentinel_login=Login(more.get("sentinel_username", ""), more.get("sentinel_password", "")),
        tls=tls,
        ca_file=more.get("ssl_ca_certs", ""),
        certificate=more.get("ssl_certfile", ""),
        key=more.get("ssl_keyfile", ""),
    )


def _address(text: str, port: int) -> Address:
    found = _HOST.fullmatch(text)
    if found is None or not 0 < int(found["port"] or port) < 65536:
        raise ValueError("one of its hosts is not `host` or `host:port`; a user or password is written percent-encoded")
    return found["host"].strip("[]"), int(found["port"] or port)


def _path(path: str, form: Form) -> tuple[str, int]:
    service, _, number = path.strip("/").partition("/") if form == "sentinel" else ("", "", path.strip("/"))
    if form == "sentinel" and not service:
        raise ValueError("it names no service: write `redis+sentinel://host:26379/service/0`")
    if number and not (number.isascii() and number.isdigit()):
        raise ValueError("what stands behind its last `/` must be the number of a database")
    if form == "cluster" and int(number or 0):
        raise ValueError("a cluster has database 0 only")
    return unquote(service), int(number or 0)


def _parameters(query: str, form: Form, tls: bool) -> dict[str, str]:
    found = parse_qsl(query, keep_blank_values=True)
    for sentence in redis_parameters(found, form, tls):
        raise ValueError(sentence)
    return dict(found)
