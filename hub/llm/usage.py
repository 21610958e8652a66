"""What a call consumed, from and to the words of both families. Pure.

OpenAI counts all of the input in `prompt_tokens` (`input_tokens` in Responses) and names parts of it; Anthropic's `input_tokens` leaves
out what was read from and written to the cache. Sources: platform.openai.com/docs/api-reference (usage objects),
docs.anthropic.com/en/api/messages (usage), and the usage objects of OpenAI-compatible providers.
"""

from typing import Any

from msgspec import Struct

from hub.call import Tokens


class _Details(Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None
    reasoning_tokens: int | None = None


class OpenAI(Struct):
    """The usage object of chat completions, Responses, embeddings and completions, and of the providers that follow them."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None
    prompt_cache_hit_tokens: int | None = None
    """DeepSeek's word for what was read from the cache."""
    cached_tokens: int | None = None
    """Moonshot's."""
    reasoning_tokens: int | None = None
    """Perplexity's and xAI's place for it."""


class _CacheCreation(Struct):
    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


class _ServerTools(Struct):
    web_search_requests: int | None = None


class _OutputDetails(Struct):
    thinking_tokens: int | None = None


class Anthropic(Struct):
    """The usage object of messages; in `message_delta` every count is cumulative and what is absent keeps its value."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: _CacheCreation | None = None
    server_tool_use: _ServerTools | None = None
    output_tokens_details: _OutputDetails | None = None


class Reported:
    """What a stream of messages has said of its consumption so far. `whole`: also at its end, and so of all of it; its start says what was
    read, and nearly nothing of the rest."""

    __slots__ = ("_counts", "tokens", "whole")

    def __init__(self) -> None:
        self._counts: Anthropic | None = None
        self.tokens: Tokens | None = None
        self.whole = False

    def take(self, usage: Anthropic, *, at_end: bool) -> None:
        """`at_end`: it came with `message_delta`."""
        self._counts = merged(self._counts, usage) if self._counts else usage
        self.tokens = from_anthropic(self._counts)
        self.whole = self.whole or (at_end and usage.output_tokens is not None)


_NO_DETAILS = _Details()
_MOST = (1 << 31) - 1
"""No call has more of anything."""
MOST_REQUESTS = 10_000
"""Searches of one call: they are dear, so that an absurd number would be an absurd amount."""


def from_openai(usage: OpenAI, requests: int = 0) -> Tokens | None:
    """`requests` counts the provider's own web searches. Where the total says that reasoning came on top of the output, it is added.

    None where neither direction is counted: that is no report, and least of all one of nothing.
    """
    if usage.prompt_tokens is usage.completion_tokens is usage.input_tokens is usage.output_tokens is None:
        return None
    inward = usage.prompt_tokens_details or usage.input_tokens_details or _NO_DETAILS
    outward = usage.completion_tokens_details or usage.output_tokens_details or _NO_DETAILS
    taken = _first(usage.prompt_tokens, usage.input_tokens)
    given = _first(usage.completion_tokens, usage.output_tokens)
    reasoning = _first(outward.reasoning_tokens, usage.reasoning_tokens)
    if reasoning and usage.total_tokens == taken + given + reasoning:
        given += reasoning
    if inward is _NO_DETAILS and outward is _NO_DETAILS and usage.prompt_cache_hit_tokens is None and usage.cached_tokens is None:
        return Tokens(taken, given, reasoning=min(reasoning, given), requests=_searches(requests))
    return Tokens(
        input=taken,
        output=given,
        cache_read=min(_first(inward.cached_tokens, usage.prompt_cache_hit_tokens, usage.cached_tokens), taken),
        cache_write=min(_first(inward.cache_write_tokens), taken),
        audio_in=min(_first(inward.audio_tokens), taken),
        image_in=min(_first(inward.image_tokens), taken),
        reasoning=min(reasoning, given),
        audio_out=min(_first(outward.audio_tokens), given),
        requests=_searches(requests),
    )


def from_anthropic(usage: Anthropic) -> Tokens | None:
    """None as of `from_openai`."""
    if usage.input_tokens is usage.output_tokens is usage.cache_read_input_tokens is usage.cache_creation_input_tokens is None:
        return None
    read, written = _first(usage.cache_read_input_tokens), _first(usage.cache_creation_input_tokens)
    kept = _first(usage.cache_creation.ephemeral_1h_input_tokens) if usage.cache_creation else 0
    if usage.cache_creation:
        written = max(written, kept + _first(usage.cache_creation.ephemeral_5m_input_tokens))
    given = _first(usage.output_tokens)
    return Tokens(
        input=_first(usage.input_tokens) + read + written,
        output=given,
        cache_read=read,
        cache_write=written - kept,
        cache_write_1h=kept,
        reasoning=min(_first(usage.output_tokens_details.thinking_tokens), given) if usage.output_tokens_details else 0,
        requests=_searches(usage.server_tool_use.web_search_requests) if usage.server_tool_use else 0,
    )


def merged(start: Anthropic, later: Anthropic) -> Anthropic:
    """What holds after a later, cumulative report: its counts, and the earlier ones where it is silent."""
    found = {
        name: getattr(later, name) if getattr(later, name) is not None else getattr(start, name) for name in Anthropic.__struct_fields__
    }
    return Anthropic(**found)


def to_chat(tokens: Tokens) -> dict[str, Any]:
    """The usage object of chat completions. Details are written where there is something to say."""
    found: dict[str, Any] = {
        "prompt_tokens": tokens.input,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.input + tokens.output,
    }
    inward = {
        "cached_tokens": tokens.cache_read,
        "cache_write_tokens": tokens.cache_write + tokens.cache_write_1h,
        "audio_tokens": tokens.audio_in,
        "image_tokens": tokens.image_in,
    }
    outward = {"reasoning_tokens": tokens.reasoning, "audio_tokens": tokens.audio_out}
    if any(inward.values()):
        found["prompt_tokens_details"] = {name: count for name, count in inward.items() if count or name == "cached_tokens"}
    if any(outward.values()):
        found["completion_tokens_details"] = {name: count for name, count in outward.items() if count or name == "reasoning_tokens"}
    return found


def to_responses(tokens: Tokens) -> dict[str, Any]:
    """The usage object of Responses, whose details are never absent."""
    return {
        "input_tokens": tokens.input,
        "input_tokens_details": {"cached_tokens": tokens.cache_read, "cache_write_tokens": tokens.cache_write + tokens.cache_write_1h},
        "output_tokens": tokens.output,
        "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        "total_tokens": tokens.input + tokens.output,
    }


def to_messages(tokens: Tokens) -> dict[str, Any]:
    """The usage object of messages, whose `input_tokens` leaves out the cache."""
    found: dict[str, Any] = {
        "input_tokens": max(tokens.input - tokens.cache_read - tokens.cache_write - tokens.cache_write_1h, 0),
        "cache_creation_input_tokens": tokens.cache_write + tokens.cache_write_1h,
        "cache_read_input_tokens": tokens.cache_read,
        "output_tokens": tokens.output,
    }
    if tokens.cache_write_1h:
        found["cache_creation"] = {
            "ephemeral_5m_input_tokens": tokens.cache_write,
            "ephemeral_1h_input_tokens": tokens.cache_write_1h,
        }
    if tokens.reasoning:
        found["output_tokens_details"] = {"thinking_tokens": tokens.reasoning}
    if tokens.requests:
        found["server_tool_use"] = {"web_search_requests": tokens.requests, "web_fetch_requests": 0}
    return found


def _searches(count: int | None) -> int:
    return min(max(count or 0, 0), MOST_REQUESTS)


def _first(*counts: int | None) -> int:
    """The first that was reported, never below nothing: a provider's slip must not earn anybody money, nor be too large for the ledger."""
    for count in counts:
        if count is not None:
            return 0 if count < 0 else count if count < _MOST else _MOST
    return 0
