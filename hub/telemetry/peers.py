"""Who is spoken to downstream, in the words of the conventions: name of the provider, address, transport. Pure.

Source: open-telemetry/semantic-conventions-genai, registry (`gen_ai.provider.name`), docs/gen-ai/mcp.md (transport).
"""

from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from msgspec import Struct

from hub.config.model import Config
from hub.config.models import ProviderSpec

_PROVIDERS = {
    "azure": "azure.ai.openai",
    "mistral": "mistral_ai",
    "xai": "x_ai",
    "bedrock": "aws.bedrock",
    "vertex": "gcp.vertex_ai",
    "gemini": "gcp.gemini",
}
"""Where the conventions have another word than the hub; other known providers have the same in both."""


class Peer(Struct, frozen=True):
    """A server or provider. `provider` is empty for an MCP server; `address` for one that is spoken to over pipes."""

    provider: str = ""
    address: str = ""
    port: int = 0


def peers(config: Config, known: Callable[[str, ProviderSpec], str]) -> Mapping[str, Peer]:
    """By `model:<provider>` and `mcp:<upstream>`: the two kinds may have the same names. `known` tells which provider one is like."""
    found: dict[str, Peer] = {}
    for name, spec in config.providers.items():
        like = "anthropic" if spec.wire == "anthropic" else known(name, spec)
        found[f"model:{name}"] = _at(spec.base_url, _PROVIDERS.get(like, like) or name)
    for name, upstream in config.upstreams.items():
        found[f"mcp:{name}"] = _at(upstream.url, "") if upstream.url else Peer()
    return found


def _at(url: str, provider: str) -> Peer:
    parts = urlsplit(url)
    return Peer(provider, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
