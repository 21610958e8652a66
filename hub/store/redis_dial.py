"""From an address to a connection that can be used: TCP or TLS, login, database, and what kind of server is there.

It makes one connection and keeps none. Whatever goes wrong is `StoreDown`, with a detail that holds no secret.
"""

import asyncio
import ssl
from collections.abc import Sequence
from math import inf

from msgspec import Struct

from hub.config.redis_url import Address, Login, Site
from hub.refusal import StoreDown
from hub.store.redis_link import Link, down
from hub.store.resp import ReplyError, pack

NAME = "countersign"
"""What the hub's connections are called in CLIENT LIST."""


class Found(Struct, frozen=True):
    """A connection and who answers it. `run` changes when the server starts again; `keeps`: whether it writes what it holds to a log.

    `age`: whole seconds since it started. Where the server does not let us ask they are empty, False and infinite.
    """

    link: Link
    run: str = ""
    keeps: bool = False
    age: float = inf


def trust(site: Site) -> ssl.SSLContext | None:
    """What servers are trusted; None without TLS. Raises `OSError`, `ssl.SSLError` where a file cannot be used."""
    if not site.tls:
        return None
    context = ssl.create_default_context(cafile=site.ca_file or None)
    if site.certificate:
        context.load_cert_chain(site.certificate, site.key or None)
    return context


async def dial(address: Address, site: Site, trust: ssl.SSLContext | None, patience: float, *, writable: bool = True) -> Found:
    """Connect to a server that holds data, within `patience` seconds. `writable`: it must not be a replica."""
    try:
        async with asyncio.timeout(patience):
            link = await _connect(address, trust, patience)
            try:
                return await _greet(link, site, writable)
            except BaseException:
                link.close()
                raise
    except TimeoutError:
        raise down("no connection in time") from None


async def ask(address: Address, login: Login, trust: ssl.SSLContext | None, patience: float, *question: str) -> object:
    """Ask one server one thing on a connection of its own, within `patience` seconds."""
    try:
        async with asyncio.timeout(patience):
            link = await _connect(address, trust, patience)
            try:
                if login.password:
                    await link.send(pack("AUTH", *login.command))
                return await link.send(pack(*question))
            except ReplyError as error:
                raise down(f"it refuses {question[0]}: {error.code}") from None
            finally:
                link.close()
    except TimeoutError:
        raise down("no connection in time") from None


async def _connect(address: Address, trust: ssl.SSLContext | None, patience: float) -> Link:
    host, port = address
    name = host if trust is not None else None
    try:
        _, link = await asyncio.get_running_loop().create_connection(lambda: Link(patience), host, port, ssl=trust, server_hostname=name)
    except ssl.SSLCertVerificationError as error:
        raise down(f"its certificate is not accepted: {error.verify_message}") from None
    except (OSError, ValueError, OverflowError) as error:  # the latter two of a host name or a port that cannot be one
        raise down(f"no connection: {type(error).__name__}") from None
    return link


async def _greet(link: Link, site: Site, writable: bool) -> Found:
    try:
        if site.login.password:
            await link.send(pack("AUTH", *site.login.command))
        asked = [link.send(pack("ROLE")), link.send(pack("INFO", "server")), link.send(pack("INFO", "persistence"))]
        asked.append(link.send(pack("CLIENT", "SETNAME", NAME)))
        if site.database:
            await link.send(pack("SELECT", site.database))
        role, server, persistence, _ = await asyncio.gather(*asked, return_exceptions=True)
        await link.send(pack("PING"))
    except ReplyError as error:
        raise down(f"it refuses the login, the database or to serve: {error.code}") from None
    for answer in (role, server, persistence):
        if isinstance(answer, StoreDown):
            raise answer
        if isinstance(answer, ReplyError) and answer.code in ("NOAUTH", "LOADING", "MASTERDOWN"):
            raise down(f"it cannot serve: {answer.code}")
    if writable and isinstance(role, Sequence) and role and role[0] != b"master":
        raise down("the server is a replica")
    return Found(
        link,
        run=_field(server, b"run_id:").decode(errors="replace"),
        keeps=_field(persistence, b"aof_enabled:") == b"1",
        age=float(_field(server, b"uptime_in_seconds:") or inf),
    )


def _field(answer: object, name: bytes) -> bytes:
    """A field of INFO; empty where there is none or the server does not say."""
    lines = answer.splitlines() if isinstance(answer, bytes) else []
    return next((line.removeprefix(name) for line in lines if line.startswith(name)), b"")
