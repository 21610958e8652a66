"""`python -m scripts.prices.answers FILE`: what genai-prices itself says that calls cost, for the tests to compare the hub with.

Runs where genai-prices is installed, which the hub's own environment is not: a throw-away one. The same version gives the same file.
"""

import gzip
import json
import random
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

SEED, CALLS = 1, 9000
CONTEXTS = {
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "fast": {"service_tier": "fast", "speed": "fast"},
}
PARTS = {
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "audio_in": "input_audio_mtok",
    "image_in": "input_image_mtok",
    "reasoning": "output_reasoning_mtok",
    "audio_out": "output_audio_mtok",
}
TOKENS = {
    *("input_mtok", "output_mtok", "web_searches_kcount", "storage_searches_kcount", "requests_kcount"),
    *("cache_audio_read_mtok", "cache_image_read_mtok", *PARTS.values()),
}
"""Prices of what `hub.call.Tokens` can tell, and of what is never dearer than what stands for it there."""
MADE = {"output_image_mtok", "output_video_mtok"}


def main() -> None:
    from genai_prices.data import providers

    chance, rows = random.Random(SEED), []  # noqa: S311 (a sample)
    known = [(provider, model, names) for provider in providers for model in provider.models if (names := _names(model))]
    once = known.copy()  # every model once, then at random
    while len(rows) < CALLS:
        provider, model, names = once.pop() if once else chance.choice(known)
        row = _row(chance, provider, model, chance.choice(names))
        if row is not None:
            rows.append(row)
    content = {"genai_prices": version("genai-prices"), "calls": rows}
    Path(sys.argv[1]).write_bytes(gzip.compress(json.dumps(content, separators=(",", ":")).encode(), 9, mtime=0))
    sys.stdout.write(f"{len(rows)} calls\n")


def _names(model: Any) -> list[str]:
    """The model's id, and names made of its rules."""
    return [model.id, *_texts(model.match)]


def _texts(clause: Any) -> list[str]:
    kind = type(clause).__name__
    if kind == "ClauseEquals":
        return [clause.equals, clause.equals.upper()]
    if kind == "ClauseStartsWith":
        return [clause.starts_with + "-20260102", clause.starts_with]
    if kind == "ClauseContains":
        return ["x-" + clause.contains + "-y"]
    if kind == "ClauseEndsWith":
        return ["x-" + clause.ends_with]
    return [text for one in getattr(clause, "or_", ()) or () for text in _texts(one)]


def _row(chance: random.Random, provider: Any, model: Any, name: str) -> dict[str, Any] | None:
    from genai_prices import Usage, calc_price

    at = datetime(2023, 1, 1, tzinfo=UTC) + timedelta(seconds=chance.randrange(5 * 365 * 86_400))
    service = chance.choice(["", "", *CONTEXTS])
    context = CONTEXTS.get(service)
    try:
        found = calc_price(Usage(), model_ref=name, provider_id=provider.id, genai_request_timestamp=at)
    except LookupError:
        return {"provider": provider.id, "model": name, "at": int(at.timestamp()), "found": False}
    price = found.model.get_prices(at, context)
    units = {key: value for key, value in price.__dict__.items() if value is not None}
    row: dict[str, Any] = {"provider": provider.id, "model": name, "at": int(at.timestamp()), "found": True}
    if not units or units.keys() - TOKENS:
        return row | {"tells": False, "empty": not units, "makes": bool(units.keys() & MADE)}
    mine = any(found.model is one for one in provider.models)
    listed = {key: value for one in found.model.price_variants or () if context for key, value in one.when.items()}
    if service and not (mine and any(context.get(key) == value for key, value in listed.items())):
        service, context = "", None
        price = found.model.get_prices(at)
        units = {key: value for key, value in price.__dict__.items() if value is not None}
    tokens = _tokens(chance, units)
    answer = calc_price(
        Usage(**_usage(tokens, units)), model_ref=name, provider_id=provider.id, genai_request_timestamp=at, price_context=context
    )
    with localcontext() as exact:
        exact.prec = 60
        row |= {"service": service, "tokens": tokens, "nano": format(answer.total_price * 10**9, "f"), "exact": _exact(units)}
    return row


def _tokens(chance: random.Random, units: dict[str, Any]) -> dict[str, int]:
    """A usage of what has a price there; its parts fit into their sides."""
    made = {"input": int(10 ** chance.uniform(0, 6.2))}
    if "output_mtok" in units:
        made["output"] = int(10 ** chance.uniform(0, 5))
    for side in ("input", "output"):
        left = made.get(side, 0)
        for part, unit in PARTS.items():
            if unit in units and (part in {"reasoning", "audio_out"}) == (side == "output") and chance.random() < 0.6:
                made[part] = chance.randrange(left + 1)
                left -= made[part]
    if "web_searches_kcount" in units and chance.random() < 0.4:
        made["requests"] = chance.randrange(1, 9)
    return made


def _usage(tokens: dict[str, int], units: dict[str, Any]) -> dict[str, int]:
    """The same in their words: what is kept for an hour is part of what is kept; nothing is two parts at once."""
    theirs = {
        "input_tokens": tokens["input"],
        "output_tokens": tokens.get("output", 0),
        "cache_read_tokens": tokens.get("cache_read", 0),
        "cache_write_tokens": tokens.get("cache_write", 0) + tokens.get("cache_write_1h", 0),
        "cache_write_1h_tokens": tokens.get("cache_write_1h", 0),
        "input_audio_tokens": tokens.get("audio_in", 0),
        "input_image_tokens": tokens.get("image_in", 0),
        "output_reasoning_tokens": tokens.get("reasoning", 0),
        "output_audio_tokens": tokens.get("audio_out", 0),
        "web_searches": tokens.get("requests", 0),
        "cache_audio_read_tokens": 0,
        "cache_image_read_tokens": 0,
    }
    return theirs | ({"requests": 1} if "requests_kcount" in units else {})


def _exact(units: dict[str, Any]) -> bool:
    figures = [one for value in units.values() for one in (value, *_tiers(value)) if isinstance(one, Decimal)]
    return all(figure * 10**9 == int(figure * 10**9) for figure in figures)


def _tiers(value: Any) -> list[Decimal]:
    return [] if isinstance(value, Decimal) else [value.base, *(tier.price for tier in value.tiers)]


if __name__ == "__main__":
    main()
