"""What differs between the two eras of MCP on the wire of a result: pure functions over raw JSON.

The older era opens with `initialize` (2024-11-05 to 2025-11-25); the newer, 2026-07-28, is stateless. Inside one era the bytes of a
result are not touched. Across eras only these members differ: `resultType`, `ttlMs`, `cacheScope`.
"""

import msgspec
from msgspec import Raw

MODERN = "2026-07-28"
OLDER = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
NEWEST_OLDER = OLDER[-1]
BATCHES = "2025-03-26"

META = "io.modelcontextprotocol/"
VERSION_KEY = META + "protocolVersion"
CAPABILITIES_KEY = META + "clientCapabilities"
SUBSCRIPTION_KEY = META + "subscriptionId"

_members = msgspec.json.Decoder(dict[str, Raw])
_MODERN_ONLY = ("resultType", "ttlMs", "cacheScope")
_NO_CACHE = {"ttlMs": Raw(b"0"), "cacheScope": Raw(b'"private"')}


def is_modern(version: str) -> bool:
    return version == MODERN


def translate(result: bytes, upstream: str, client: str, *, cacheable: bool) -> bytes:
    """A result as the client's era has it. `cacheable`: the method's results carry caching hints in the newer era."""
    if is_modern(upstream) == is_modern(client):
        return result
    if not is_modern(client) and not any(name.encode() in result for name in _MODERN_ONLY):
        return result
    members = _members.decode(result)
    if is_modern(client):
        members = {"resultType": Raw(b'"complete"'), **members, **(_NO_CACHE if cacheable else {})}
    else:
        members = {name: value for name, value in members.items() if name not in _MODERN_ONLY}
    return msgspec.json.encode(members)
