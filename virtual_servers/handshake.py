"""Finding out what a server speaks, and opening in that era. It does not know how the server is reached.

2026-07-28: `server/discover`. Older: `initialize`, then `notifications/initialized`. A server of unknown era is asked in the newer
one first; any answer that is not one of that era means the older (2026-07-28, versioning, "Backward Compatibility").
"""

import asyncio
import time
from collections.abc import Callable

import msgspec
from msgspec import Raw, Struct, field

from hub.refusal import Unavailable, UpstreamDown, UpstreamFault, UpstreamTimeout
from virtual_servers import rpc
from virtual_servers.eras import MODERN, NEWEST_OLDER, OLDER
from virtual_servers.http import Refused
from virtual_servers.link import Ask, Link

UNSUPPORTED = -32022
PROBE = 1 / 3
"""Share of the start's time that a server has to answer the probe before the older handshake is tried beside it."""


class Incompatible(UpstreamFault):
    """There is no protocol version that both know."""


class Hello(Struct, frozen=True):
    """What a server said of itself. `capabilities` and `server_info` are raw JSON objects."""

    era: str
    capabilities: bytes = b"{}"
    server_info: bytes = b"{}"
    instructions: str = ""

    def offers(self, capability: str, flag: str = "") -> bool:
        """Whether it declares the capability, and in it the flag."""
        declared = msgspec.json.decode(self.capabilities).get(capability)
        return isinstance(declared, dict) and (not flag or declared.get(flag) is True)  # pyright: ignore[reportUnknownMemberType]


class _Discovered(Struct):
    supportedVersions: list[str] = field(default_factory=list[str])  # noqa: N815 - the name on the wire
    capabilities: dict[str, Raw] = field(default_factory=dict[str, Raw])
    instructions: str = ""
    meta: dict[str, Raw] = field(name="_meta", default_factory=dict[str, Raw])


class _Initialized(Struct):
    protocolVersion: str  # noqa: N815 - the name on the wire
    capabilities: dict[str, Raw] = field(default_factory=dict[str, Raw])
    serverInfo: Raw = Raw(b"{}")  # noqa: N815 - the name on the wire
    instructions: str = ""


class _Supported(Struct):
    supported: list[str] = field(default_factory=list[str])


async def shake(link: Link, protocol: str, number: Callable[[], int], seconds: float, hint: str = "") -> Hello:
    """Open `link` as `protocol` says (`auto` or a version), within `seconds`. Raises `Unavailable` where they cannot come together.

    `hint` is the version it spoke before: with `auto`, it is tried without asking.
    """
    until = time.monotonic() + seconds
    if protocol == "auto" and hint in OLDER:
        return await _initialize(link, number(), NEWEST_OLDER, until, pinned=False)
    if MODERN in (protocol, hint):
        link.speak(MODERN)
        hello, _ = _discovered(await link.ask(_discover(number(), until)))
        if hello is None:
            raise UpstreamFault("the server does not speak 2026-07-28")
        return hello
    if protocol != "auto":
        return await _initialize(link, number(), protocol, until, pinned=True)
    return await _probe(link, number, until, seconds * PROBE)


async def _probe(link: Link, number: Callable[[], int], until: float, patience: float) -> Hello:
    link.speak(MODERN)
    asked = asyncio.ensure_future(link.ask(_discover(number(), until)))
    try:
        await asyncio.wait([asked], timeout=patience)
        version = NEWEST_OLDER
        if asked.done():
            hello, version = _heard(asked)
            if hello is not None:
                return hello
        link.speak("")
        try:
            return await _initialize(link, number(), version, until, pinned=False)
        except (UpstreamFault, UpstreamTimeout):
            # A slow server of the newer era: it answered the probe meanwhile, and does not know `initialize`.
            hello, _ = _heard(asked) if asked.done() else (None, "")
            if hello is None:
                raise
            link.speak(MODERN)
            return hello
    finally:
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)


def _heard(asked: "asyncio.Future[rpc.Message]") -> tuple[Hello | None, str]:
    """What the probe brought: a server of the newer era, or the older version to try. Raises where trying is of no use."""
    try:
        return _discovered(asked.result())
    except (Incompatible, Refused, UpstreamDown):
        raise
    except Unavailable:
        return None, NEWEST_OLDER


def _discover(ident: int, until: float) -> Ask:
    params, _ = rpc.meta(b"", rpc.modern_members())
    return Ask(ident, "server/discover", params, float("inf"), until)


def _discovered(message: rpc.Message) -> tuple[Hello | None, str]:
    if message.error:
        seen = rpc.error_object(message.error)
        if seen is not None and seen.code == UNSUPPORTED:
            return None, _common(seen.data)
        return None, NEWEST_OLDER
    try:
        result = msgspec.json.decode(message.result, type=_Discovered)
    except (msgspec.MsgspecError, RecursionError):
        return None, NEWEST_OLDER
    if MODERN not in result.supportedVersions:
        return None, _newest(result.supportedVersions)
    info = bytes(result.meta.get(f"{rpc.RESERVED}serverInfo", Raw(b"{}")))
    return Hello(MODERN, msgspec.json.encode(result.capabilities), _object(info), result.instructions), MODERN


def _common(data: Raw) -> str:
    try:
        return _newest(msgspec.json.decode(data, type=_Supported).supported)
    except (msgspec.MsgspecError, RecursionError):
        return NEWEST_OLDER


def _newest(supported: list[str]) -> str:
    common = [version for version in OLDER if version in supported]
    if supported and not common:
        raise Incompatible("the server speaks no protocol version that the hub knows")
    return max(common, default=NEWEST_OLDER)


async def _initialize(link: Link, ident: int, version: str, until: float, *, pinned: bool) -> Hello:
    link.speak("")
    params = b'{"protocolVersion":"%b","capabilities":{},"clientInfo":%b}' % (version.encode(), rpc.IMPLEMENTATION)
    message = await link.ask(Ask(ident, "initialize", params, float("inf"), until))
    if message.error:
        seen = rpc.error_object(message.error)
        raise UpstreamFault("the server refused the handshake", detail=f"{seen.code} {seen.message[:200]}" if seen is not None else "")
    try:
        result = msgspec.json.decode(message.result, type=_Initialized)
    except (msgspec.MsgspecError, RecursionError):
        raise UpstreamFault("the server's handshake is not MCP") from None
    if result.protocolVersion not in ((version,) if pinned else OLDER):
        raise UpstreamFault("the server speaks another protocol version", detail=result.protocolVersion[:64])
    link.speak(result.protocolVersion)
    await link.tell("notifications/initialized", b"")
    return Hello(result.protocolVersion, msgspec.json.encode(result.capabilities), _object(bytes(result.serverInfo)), result.instructions)


def _object(raw: bytes) -> bytes:
    return raw if raw[:1] == b"{" else b"{}"
