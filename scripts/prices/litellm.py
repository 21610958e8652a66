"""LiteLLM's model map (`litellm/model_prices_and_context_window_backup.json`) as plain values, for the kinds of calls the hub serves."""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from msgspec import Struct

from scripts.prices.rates import Column, Rounded, priced, settled

MODES = {"chat", "responses", "completion", "embedding", "moderation"}
PROVIDERS = {
    "openai": "openai",
    "text-completion-openai": "openai",
    "anthropic": "anthropic",
    "azure": "azure",
    "azure_ai": "azure",
    "azure_text": "azure",
    "bedrock_converse": "aws",
    "bedrock": "aws",
    "bedrock_mantle": "aws",
    "amazon_nova": "aws",
    "gemini": "google",
    "mistral": "mistral",
    "groq": "groq",
    "deepseek": "deepseek",
    "cohere_chat": "cohere",
    "cohere": "cohere",
    "together_ai": "together",
    "fireworks_ai": "fireworks",
    "fireworks_ai-embedding-models": "fireworks",
    "xai": "x-ai",
    "perplexity": "perplexity",
    "cerebras": "cerebras",
    "cloudflare": "cloudflare",
    "databricks": "databricks",
    "moonshot": "moonshotai",
    "minimax": "minimax",
    "meta_llama": "meta",
    "meta": "meta",
    "novita": "novita",
    "voyage": "voyageai",
    "zai": "zai",
    "ovhcloud": "ovhcloud",
    "baseten": "baseten",
}
"""Their providers by ours, in the order in which they are asked; every `vertex_ai…` is google too. Others keep their own name."""

_LEFT_OUT = {"github_copilot", "chatgpt", "microsoft_365_copilot", "ollama", "lemonade"}
"""Subscriptions, and what runs on one's own machine."""

_FIELDS = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "input_cost_per_audio_token": "audio_in",
    "input_cost_per_image_token": "image_in",
    "output_cost_per_audio_token": "audio_out",
    "output_cost_per_image_token": "image_out",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_video_token": "video_in",
    "output_cost_per_video_token": "video_out",
    "input_cost_per_request": "call",
}
_CANNOT_COUNT = re.compile(r"(in|out)put_cost_per_(second|character|image|pixel|query|audio_per_second|video_per_second|text_message)"
                           r"|cost_per_second|citation_cost_per_token|(ocr|annotation)_cost_per_.*")  # fmt: skip
_SERVICES = {"batches": "batch", "flex": "flex", "priority": "priority", "ultrafast": "ultrafast"}
_DEAREST = 1000 * 10**9
_ABOVE = re.compile(r"_above_(\d+)k_tokens")
_CAPABILITIES = {
    "supports_function_calling": "tools",
    "supports_vision": "vision",
    "supports_response_schema": "json_schema",
    "supports_reasoning": "reasoning",
    "supports_audio_input": "audio",
    "supports_web_search": "search",
}


class Entry(Struct, frozen=True):
    """One entry: its provider by our name, its model as that provider is asked for it, and what is known of it.

    `services` has the standard price under the empty name; it is empty where the price is unknown, or zero where only a
    moderation may cost nothing.
    """

    provider: str
    name: str
    mode: str
    services: dict[str, dict[str, object]]
    window: int
    max_output: int
    can: tuple[str, ...]


def entries(models: dict[str, dict[str, Any]], rounded: Rounded) -> Iterator[Entry]:
    """Entries the hub can use, in the order of `PROVIDERS`, then by name."""
    found = [(_rank(given), key, given) for key, given in models.items() if given.get("mode") in MODES and _provider(given)]
    for _, key, given in sorted(found, key=lambda one: one[:2]):
        services = {name: price for name in ("", *_SERVICES.values()) if (price := _price(given, name, rounded)) is not None}
        yield Entry(
            _provider(given),
            _name(key, str(given["litellm_provider"])),
            given["mode"],
            services if "" in services else {},
            _count(given.get("max_input_tokens")),
            _count(given.get("max_output_tokens")),
            tuple(sorted(ours for theirs, ours in _CAPABILITIES.items() if given.get(theirs) is True)),
        )


def _provider(given: dict[str, Any]) -> str:
    theirs = str(given.get("litellm_provider", ""))
    if theirs.startswith("vertex_ai"):
        return "google"
    return "" if theirs in _LEFT_OUT else PROVIDERS.get(theirs, theirs)


def _rank(given: dict[str, Any]) -> int:
    order = list(PROVIDERS)
    theirs = given["litellm_provider"]
    return order.index(theirs) if theirs in PROVIDERS else len(order)


def _name(key: str, provider: str) -> str:
    """The name without the provider's own before it."""
    for prefix in (provider, provider.partition("-")[0], "bedrock", "azure", "cohere"):
        if key.startswith(f"{prefix}/") and (prefix == provider or provider.startswith(prefix)):
            return key.removeprefix(f"{prefix}/")
    return key


def _count(value: Any) -> int:
    return int(value) if isinstance(value, int | Decimal) else 0


def _price(given: dict[str, Any], service: str, rounded: Rounded) -> dict[str, object] | None:
    """The price of one class of service, which lists its own figures and shares the others with the standard one."""
    if any(given[name] for name in given if _CANNOT_COUNT.fullmatch(name)):
        return None
    suffix = next((f"_{theirs}" for theirs, ours in _SERVICES.items() if ours == service), "")
    if service and not {f"input_cost_per_token{suffix}", f"output_cost_per_token{suffix}"} <= given.keys():
        return None
    overs = {int(over) * 1000 for name in given for over in _ABOVE.findall(name) if name.endswith(f"tokens{suffix}")}
    columns = {over: settled(_figures(given, suffix, over, rounded)) for over in (0, *sorted(overs))}
    columns |= {} if service else _bands(given, rounded)
    known = {over: column for over, column in columns.items() if column is not None}
    if len(known) != len(columns) or 0 not in known or not _believed(known[0], given["mode"]):
        return None
    return priced(known.pop(0), known)


def _believed(column: Column, mode: str) -> bool:
    """Whether it has all that calls of this kind are charged for, and in tokens: a figure that large was meant for another unit."""
    if max(column["input"], column.get("output", 0)) > _DEAREST:
        return False
    return mode in {"moderation", "embedding"} or "output" in column


def _figures(given: dict[str, Any], suffix: str, over: int, rounded: Rounded) -> dict[str, int | None]:
    found: dict[str, int | None] = {"search": _search(given, rounded)}
    above = f"_above_{over // 1000}k_tokens" if over else ""
    for theirs, ours in _FIELDS.items():
        names = (theirs + above + suffix, theirs + suffix, theirs + above, theirs) if suffix else (theirs + above, theirs)
        figure = next((given[name] for name in names if given.get(name) is not None), None)
        if figure is not None and (figure or given["mode"] == "moderation"):  # a zero stands there for what nobody looked up
            found[ours] = rounded.unit(Decimal(figure) * 1_000_000)
    return found


def _bands(given: dict[str, Any], rounded: Rounded) -> dict[int, Column | None]:
    """`tiered_pricing`: figures by how long the input is. Its first band is the base."""
    bands = [one for one in given.get("tiered_pricing", ()) if "range" in one]
    return {int(one["range"][0]): settled(_figures({**one, "mode": given["mode"]}, "", 0, rounded)) for one in bands}


def _search(given: dict[str, Any], rounded: Rounded) -> int | None:
    """The dearest of its searches, since which one it was is not told."""
    by_size = given.get("search_context_cost_per_query")
    figures = [Decimal(figure) for figure in by_size.values()] if isinstance(by_size, dict) else []
    return rounded.unit(max(figures) * 1_000_000) if figures else None
