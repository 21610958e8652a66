"""The 2026-07-28 era on the client's side: what a request must carry before it becomes a call. Pure.

Source: MCP 2026-07-28 basic/index "Per-request protocol fields", basic/transports/streamable-http "Server Validation". The order of
the checks is the specification's: fields present, headers agree, version supported.
"""

from typing import Any, cast

from hub.refusal import HeaderMismatch, InvalidParams, UnsupportedVersion
from virtual_servers.envelope import Message
from virtual_servers.eras import CAPABILITIES_KEY, MODERN, OLDER, VERSION_KEY
from virtual_servers.headers import Table
from virtual_servers.mirror import NAMED, agree, at, decode
from virtual_servers.wire import Exchange

SUPPORTED = (MODERN, *reversed(OLDER))
_OLDER = frozenset(version.encode() for version in OLDER)


class Incomplete(InvalidParams):
    """A required field of the request is missing: HTTP 400 by the specification."""

    status = 400


def is_modern_request(exchange: Exchange, message: Message) -> bool:
    """The era is chosen by the request: by its version header, without one by the fields only the newer era has."""
    version = exchange.headers.get(b"mcp-protocol-version")
    if version:
        return version not in _OLDER
    meta = message.values.get("_meta")
    return isinstance(meta, dict) and VERSION_KEY in meta


def check(exchange: Exchange, message: Message) -> None:
    """Raises `Incomplete`, `HeaderMismatch` or `UnsupportedVersion`."""
    meta = message.values.get("_meta")
    fields: dict[str, Any] = cast("dict[str, Any]", meta) if isinstance(meta, dict) else {}
    if VERSION_KEY not in fields or CAPABILITIES_KEY not in fields:
        missing = [key for key in (VERSION_KEY, CAPABILITIES_KEY) if key not in fields]
        raise Incomplete(f"params._meta lacks {' and '.join(missing)}")
    version = fields[VERSION_KEY]
    if exchange.header(b"mcp-protocol-version") != version:
        raise HeaderMismatch("the MCP-Protocol-Version header and params._meta do not agree")
    if exchange.header(b"mcp-method") != message.method:
        raise HeaderMismatch("the Mcp-Method header and the method of the body do not agree")
    _check_name(exchange, message)
    if version != MODERN:
        raise UnsupportedVersion("unsupported protocol version", data={"supported": list(SUPPORTED), "requested": version})
    if not isinstance(fields[CAPABILITIES_KEY], dict):
        raise Incomplete(f"{CAPABILITIES_KEY} must be an object")


def _check_name(exchange: Exchange, message: Message) -> None:
    member = NAMED.get(message.method)
    if member is None:
        return
    header = exchange.headers.get(b"mcp-name")
    if header is None:
        raise HeaderMismatch("the Mcp-Name header is required for this method")
    if decode(header.decode("latin-1")) != message.values.get(member):
        raise HeaderMismatch(f"the Mcp-Name header and params.{member} do not agree")


def check_params(exchange: Exchange, table: Table, arguments: Any) -> None:
    """`Mcp-Param-*` headers mirror the arguments their tool marks with `x-mcp-header`. Raises `HeaderMismatch`."""
    for name, (path, kind) in table.items():
        value = at(arguments, path)
        raw = exchange.headers.get(f"mcp-param-{name}".encode())
        if value is None and raw is None:
            continue
        if raw is None or value is None or not agree(raw.decode("latin-1"), value, kind):
            raise HeaderMismatch(f"the Mcp-Param-{name} header and the argument {'.'.join(path)} do not agree")
