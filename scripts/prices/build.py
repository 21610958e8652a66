"""The two sources as one snapshot: bytes that are the same for the same inputs."""

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from msgspec import convert

from hub.budget.price_rules import Rule, matches, spellings
from hub.budget.price_table import FORMAT
from scripts.prices import genai, litellm
from scripts.prices.names import NAMES, URLS
from scripts.prices.rates import Rounded

_FREE = {"price": {"rates": {"input": 0, "output": 0}, "search": 0}}


class _Provider:
    """A provider of the snapshot as it grows."""

    def __init__(self, models: list[dict[str, Any]], others: list[str]) -> None:
        self.models = models
        self.others = others
        self._rules = [_rule(model["match"]) for model in models]

    def add(self, model: dict[str, Any]) -> None:
        self.models.append(model)
        self._rules.append(_rule(model["match"]))

    def find(self, name: str) -> dict[str, Any] | None:
        return next((model for model, rule in zip(self.models, self._rules, strict=False) if matches(rule, name)), None)


def snapshot(data: str, catalogue: str, sources: list[dict[str, str]], date: str) -> bytes:
    """The content of the snapshot, unpacked. `data` is the file of genai-prices, `catalogue` LiteLLM's map."""
    rounded = Rounded()
    theirs = genai.read(data)
    found = {one["id"]: _Provider(list(genai.models(one, rounded)), list(one.get("fallback_model_providers") or ())) for one in theirs}
    mapped = list(litellm.entries(json.loads(catalogue, parse_float=Decimal), rounded))
    _free(found)
    _supplement(found, mapped)
    urls = {one["api_pattern"]: one["id"] for one in reversed(theirs) if one["id"] in found} | URLS  # of two alike the first counts
    content = {
        "format": FORMAT,
        "date": date,
        "sources": sources,
        "rounded": rounded.count,
        "names": dict(sorted((name, provider) for name, provider in NAMES.items() if provider in found)),
        "urls": urls,
        "providers": {
            name: {"models": one.models, **({"others": one.others} if one.others else {})} for name, one in sorted(found.items())
        },
    }
    return json.dumps(content, separators=(",", ":"), ensure_ascii=True).encode()


def _free(found: dict[str, _Provider]) -> None:
    """A model without figures costs nothing only where its name says so; elsewhere nobody knows."""
    for provider in found.values():
        for model in provider.models:
            if model["id"].endswith(":free") and model["phases"] == [{}]:
                model["phases"] = [_FREE]


def _supplement(found: dict[str, _Provider], mapped: Iterable[litellm.Entry]) -> None:
    """What LiteLLM knows of models that are there; and models, and providers, that are not."""
    known: dict[tuple[str, str], list[litellm.Entry]] = {}
    for entry in mapped:
        provider = found.setdefault(entry.provider, _Provider([], []))
        model = _resolved(found, provider, entry.name)
        if model is None:
            if entry.services:
                _add(provider, entry)
        elif model in provider.models:
            known.setdefault((entry.provider, model["id"]), []).append(entry)
    for (name, model_id), entries in known.items():
        _complete(next(one for one in found[name].models if one["id"] == model_id), entries)
    for name in [name for name, provider in found.items() if not provider.models]:
        del found[name]


def _resolved(found: dict[str, _Provider], provider: _Provider, name: str) -> dict[str, Any] | None:
    for spelling in spellings(name):
        for one in (provider, *(found[other] for other in provider.others if other in found)):
            if model := one.find(spelling):
                return model
    return None


def _add(provider: _Provider, entry: litellm.Entry) -> None:
    model = {"id": entry.name, "match": {"equals": entry.name.lower()}, "phases": [{"price": entry.services[""]}], "source": "litellm"}
    services = {name: [{"price": price}] for name, price in sorted(entry.services.items()) if name}
    if services:
        model["services"] = services
    provider.add(model)
    _facts(model, [entry])


def _complete(model: dict[str, Any], entries: list[litellm.Entry]) -> None:
    """What else is known of a model of genai-prices; where both agree on its present price, also parts and classes it has not."""
    if model.get("source") == "litellm":
        return
    own = [one for one in entries if one.name.lower() == model["id"].lower()]
    _facts(model, own or entries)
    if model["phases"] == [{}] and all(one.mode == "moderation" and _costs_nothing(one.services.get("")) for one in entries):
        model["phases"] = [_FREE]
    if not own or "hours" in model["phases"][-1] or not _agree(model["phases"][-1].get("price"), own[0].services.get("")):
        return
    _parts(model["phases"][-1]["price"], own[0].services[""])
    services = model.get("services", {})
    services |= {name: [{"price": price}] for name, price in sorted(own[0].services.items()) if name and name not in services}
    if services:
        model["services"] = services


def _parts(price: dict[str, Any], other: dict[str, Any]) -> None:
    """Parts that only the other source prices apart. Of prices for long inputs it may not tell all: these stay as they are."""
    if "long" not in price:
        price["rates"] = {**other["rates"], **price["rates"]}


def _costs_nothing(price: Any) -> bool:
    return price is not None and not any(price["rates"].values())


def _agree(one: Any, other: Any) -> bool:
    """Whether two prices are the same in what a model reads and writes, at every length."""
    return one is not None and other is not None and _outline(one) == _outline(other)


def _outline(price: Any) -> list[tuple[int, int, int | None]]:
    columns = [(0, price["rates"]), *((long["over"], long["rates"]) for long in price.get("long", ()))]
    return [(over, rates["input"], rates.get("output")) for over, rates in columns]


def _facts(model: dict[str, Any], entries: list[litellm.Entry]) -> None:
    """What is true of every one of them: the least, where they differ."""
    windows, outputs = [one.window for one in entries if one.window], [one.max_output for one in entries if one.max_output]
    if windows and not model.get("window"):
        model["window"] = min(windows)
    if outputs:
        model["max_output"] = min(outputs)
    can = set.intersection(*(set(one.can) for one in entries))
    if can:
        model["can"] = sorted(can)


def _rule(given: dict[str, Any]) -> Rule:
    return convert(given, Rule)
