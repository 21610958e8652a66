"""Making connections: names become addresses, addresses are checked, TLS is set up. It does not know what the connection is for.

A name is resolved once per connection, and the connection goes to an address that was checked. The name, not the address, is what the
certificate must be for. Proxies of the environment are not used.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable

from hub.http1 import Connection
from hub.http1_head import Target

Resolver = Callable[[str, int], Awaitable[list[str]]]
"""Gives the addresses of a name, in the order in which they are tried. Raises `OSError`."""

MOST_ADDRESSES = 8
SHUTDOWN = 1.0
"""Seconds that a server has to answer the end of a TLS session."""

_NOT_PUBLIC_6 = tuple(ipaddress.IPv6Network(net) for net in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
_GLOBAL_6 = ipaddress.IPv6Network("2000::/3")
_SPECIAL_4 = ipaddress.IPv4Network("192.0.0.0/24")


class NotPublic(OSError):
    """A destination that must be public and is not."""


def is_public(address: str) -> bool:
    """Whether `address` is one of the public internet. Forms that embed an IPv4 address (mapped, NAT64, 6to4, Teredo) are not."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        return parsed.scope_id is None and parsed in _GLOBAL_6 and not any(parsed in net for net in _NOT_PUBLIC_6)
    return parsed.is_global and not (parsed.is_multicast or parsed.is_reserved or parsed in _SPECIAL_4)


async def resolve(host: str, port: int) -> list[str]:
    """The system's answer."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def trust(ca_file: str) -> ssl.SSLContext:
    """What servers are trusted: the system's authorities, or those of the file alone. Raises `OSError`, `ssl.SSLError`."""
    context = ssl.create_default_context(cafile=ca_file or None)
    context.set_alpn_protocols(["http/1.1"])
    return context


class Dialer:
    """Connects within `timeout` seconds in all. The trusted certificates are read at the first https destination (20 ms), once."""

    def __init__(self, timeout: float, ca_file: str = "", resolver: Resolver | None = None) -> None:
        self._timeout = timeout
        self._ca_file = ca_file
        self._resolve = resolver or resolve
        self._context = trust(ca_file) if ca_file else None

    async def dial(self, target: Target, *, public_only: bool) -> Connection:
        """A connection to the first address that takes one. Each has an equal share of the time that is left.

        Raises `NotPublic`, `TimeoutError`, `ssl.SSLError` (no other address is tried then), `OSError`.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self._timeout
        async with asyncio.timeout_at(until):
            addresses = await self._addresses(target, public_only=public_only)
        problem: OSError = OSError("no address")
        for tried, address in enumerate(addresses):
            share = (until - loop.time()) / (len(addresses) - tried)
            try:
                async with asyncio.timeout(share):
                    return await self._connect(loop, target, address)
            except ssl.SSLError:
                raise
            except OSError as failed:
                problem = failed
        raise problem

    async def _addresses(self, target: Target, *, public_only: bool) -> list[str]:
        try:
            ipaddress.ip_address(target.host)
            found = [target.host]
        except ValueError:
            found = await self._resolve(target.host, target.port)
        if public_only and not (found and all(is_public(address) for address in found)):
            raise NotPublic("not a public address")
        return found[:MOST_ADDRESSES]

    async def _connect(self, loop: asyncio.AbstractEventLoop, target: Target, address: str) -> Connection:
        connection = Connection(loop)
        try:
            if target.secure:
                if self._context is None:
                    self._context = trust(self._ca_file)
                await loop.create_connection(
                    lambda: connection,
                    address,
                    target.port,
                    ssl=self._context,
                    server_hostname=target.host.partition("%")[0].rstrip("."),
                    ssl_shutdown_timeout=SHUTDOWN,
                )
            else:
                await loop.create_connection(lambda: connection, address, target.port)
        except BaseException:
            connection.abort()
            raise
        return connection
