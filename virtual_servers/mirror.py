"""Headers that mirror the body of a request, as 2026-07-28 asks (streamable HTTP, "Request Metadata"). It sends nothing.

`Mcp-Name` repeats the name or URI; `Mcp-Param-*` repeat the arguments that a tool's input schema marks with `x-mcp-header`. Both sides are
here: what is written towards a server, and what is held against the body of a client.
"""

import base64
import binascii
import re
from typing import Any, cast

from virtual_servers import rpc
from virtual_servers.headers import Table

NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""Methods that carry `Mcp-Name`, and the member it repeats."""

SAFE = 2**53 - 1

_plain = re.compile(r"[!-~]([ -~\t]*[!-~])?", re.ASCII)
_integral = re.compile(r"(-?[0-9]{1,40})(?:\.0+)?", re.ASCII)


def encode(text: str) -> str:
    """`text` as a header value: as it is where it is plain ASCII, else `=?base64?…?=`."""
    if _plain.fullmatch(text) and not (text.startswith("=?base64?") and text.endswith("?=")):
        return text
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


def decode(value: str) -> str | None:
    """The text of a header value, decoded from its `=?base64?…?=` form; None when that form is malformed or not canonical."""
    if not (value.startswith("=?base64?") and value.endswith("?=") and len(value) >= 11):
        return value
    payload = value[9:-2]
    try:
        raw = base64.b64decode(payload, validate=True)
        return raw.decode() if base64.b64encode(raw).decode() == payload else None
    except (binascii.Error, UnicodeDecodeError):
        return None


def at(arguments: Any, path: tuple[str, ...]) -> Any:
    """The value at a chain of property names; None where there is none."""
    node = arguments
    for key in path:
        if not isinstance(node, dict):
            return None
        node = cast("dict[str, Any]", node).get(key)
    return node


def agree(header: str, value: Any, kind: str) -> bool:
    """Whether a received header says what the argument says. Integers are compared as numbers, as the specification advises."""
    text = decode(header)
    if text is None:
        return False
    if isinstance(value, bool):
        return text == ("true" if value else "false")
    if kind == "integer" and isinstance(value, int | float) and value == value // 1:
        match = _integral.fullmatch(text)
        return match is not None and int(match[1]) == int(value)
    return isinstance(value, str | int) and text == str(value)


def params(arguments: Any, table: Table) -> list[tuple[str, str]]:
    """The `Mcp-Param-*` headers of a call. Values that are absent, null or of another type have none: the server judges the body."""
    headers: list[tuple[str, str]] = []
    for name, (path, _) in table.items():
        text = _as_text(at(arguments, path))
        if text is not None:
            headers.append((f"mcp-param-{name}", encode(text)))
    return headers


def _as_text(node: Any) -> str | None:
    if isinstance(node, bool):
        return "true" if node else "false"
    if isinstance(node, int):
        return str(node) if -SAFE <= node <= SAFE else None
    if isinstance(node, float) and node.is_integer() and -SAFE <= node <= SAFE:
        return str(int(node))
    return node if isinstance(node, str) else None


def name_of(method: str, raw: bytes) -> str | None:
    """The value of `Mcp-Name` for these parameters, not yet encoded, or None where the method has none."""
    member = NAMED.get(method)
    if member is None or not raw:
        return None
    found = rpc.members(raw).get(member)
    text = rpc.value(found) if found is not None else None
    return text if isinstance(text, str) else None
