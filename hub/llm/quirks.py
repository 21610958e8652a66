"""Where providers that speak a dialect differ from the one that made it, as data. Knows no wire and no network.

Sources: the providers' API references and the research note on models. A provider that is not here is taken to follow the dialect; an
operator can override each field for one of his.
"""

import re
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace


class Quirks(Struct, frozen=True):
    """What an OpenAI-compatible provider takes and gives."""

    max_tokens: Literal["max_completion_tokens", "max_tokens"] = "max_tokens"
    """The member that bounds the answer. OpenAI's reasoning models refuse `max_tokens`; most others know nothing else."""
    developer: bool = False
    """Whether it knows the role `developer`; `system` is written instead."""
    stream_options: bool = True
    """Whether it takes `stream_options.include_usage`."""
    parallel_tool_calls: bool = True
    json_schema: bool = True
    """Whether it takes `response_format: {type: json_schema}`."""
    required: Literal["required", "any", ""] = "required"
    """Its word for "some tool must be called"; empty where it has none."""
    strict: bool = True
    """Whether it takes `strict` in a function."""
    reasoning_effort: bool = True
    reasoning_out: Literal["", "reasoning_content", "reasoning"] = ""
    """The member in which it gives, and takes back, what the model thought. All known members are read, whatever stands here."""
    seed: Literal["seed", "random_seed", ""] = "seed"
    user: bool = True
    metadata: bool = False
    shared: bool = False
    """Whether it takes OpenAI's own hints: service tier, cache key, safety identifier, store, verbosity."""
    penalties: bool = True
    responses: bool = False
    """Whether it has `/responses`."""
    nine_digit_ids: bool = False
    """Whether ids of tool calls must have nine letters and digits."""
    stream_usage: Literal["chunk", "last", "x_groq"] = "chunk"
    """Where a stream reports usage: in a chunk of its own, in the last one with choices, in Groq's own member. All are read."""


OPENAI = Quirks(
    max_tokens="max_completion_tokens",
    developer=True,
    metadata=True,
    shared=True,
    responses=True,
)

PROVIDERS: dict[str, Quirks] = {
    "openai": OPENAI,
    "azure": replace(OPENAI, metadata=True),
    "vercel": Quirks(responses=True, reasoning_out="reasoning"),
    "mistral": Quirks(
        stream_options=False,
        required="any",
        seed="random_seed",
        user=False,
        nine_digit_ids=True,
        stream_usage="last",
        reasoning_effort=False,
    ),
    "groq": Quirks(max_tokens="max_completion_tokens", reasoning_out="reasoning", responses=True, stream_usage="x_groq"),
    "deepseek": Quirks(
        json_schema=False,
        parallel_tool_calls=False,
        strict=False,
        reasoning_effort=False,
        reasoning_out="reasoning_content",
        user=False,
        seed="",
    ),
    "together": Quirks(strict=False, parallel_tool_calls=False, reasoning_out="reasoning"),
    "fireworks": Quirks(reasoning_out="reasoning_content", strict=False, responses=True),
    "xai": Quirks(max_tokens="max_completion_tokens", reasoning_out="reasoning_content", responses=True, stream_usage="last"),
    "openrouter": Quirks(reasoning_out="reasoning", responses=True),
    "ollama": Quirks(parallel_tool_calls=False, required="", strict=False, reasoning_out="reasoning", user=False, responses=True),
    "vllm": Quirks(reasoning_out="reasoning_content", responses=True),
    "llamacpp": Quirks(reasoning_out="reasoning_content", strict=False, user=False, reasoning_effort=False),
    "gemini": Quirks(strict=False, parallel_tool_calls=False, user=False, penalties=False),
    "cohere": Quirks(parallel_tool_calls=False, strict=False, user=False),
}


def quirks_of(name: str) -> Quirks:
    """Those of a known provider; of any other, those most servers share."""
    return PROVIDERS.get(name, Quirks())


class Claude(Struct, frozen=True):
    """What differs between Anthropic's API versions and models. `version` goes out as `anthropic-version`."""

    version: str = "2023-06-01"
    sampling: bool = True
    """Whether `temperature`, `top_p` and `top_k` are taken."""
    thinking: Literal["budget", "adaptive"] = "adaptive"
    """How thinking is asked for: with a number of tokens, or left to the model with an effort."""
    json_schema: bool = True
    max_output: int = 8192
    """What is asked for where the caller named no bound: the API has no default."""


VERSIONS: dict[str, Claude] = {"2023-06-01": Claude(), "2026-10-21": Claude(version="2026-10-21", sampling=False)}

_BY_BUDGET = re.compile(r"claude-(3|sonnet-4(-0|-5|-2025|@|$)|opus-4(-0|-1|-5|-2025|@|$)|haiku-4|instant|2)")


def claude(model: str, version: str = "2023-06-01") -> Claude:
    """How to speak to one model of Anthropic's. An unknown version is taken to be as strict as the newest known."""
    known = VERSIONS.get(version) or replace(VERSIONS["2026-10-21"], version=version)
    return replace(known, thinking="budget" if _BY_BUDGET.search(model) else "adaptive")
