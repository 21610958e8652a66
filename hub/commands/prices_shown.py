"""Prices and their changes as a command shows them: US dollars as decimal text, exact."""

from collections.abc import Iterator
from typing import Any

from hub.budget.price_book import PriceBook
from hub.budget.price_diff import figures
from hub.config.model import Config
from hub.config.values import Dollars


def dollars(nano: int | None) -> str:
    """US dollars; empty where there is no amount."""
    return "" if nano is None else str(Dollars(nano))


def names(book: PriceBook, config: Config, text: str) -> Iterator[tuple[str, str, str]]:
    """(provider, its kind, model) of all that a text may mean: a model of the configuration, one of a provider, or of every provider."""
    if text in config.models:
        yield from ((one.provider, _kind(book, config, one.provider), one.model) for one in config.models[text].route)
        return
    for separator in ":/":
        provider, found, model = text.partition(separator)
        if found and (separator == ":" or provider in config.providers or book.table.named(provider)):
            yield provider, _kind(book, config, provider), model
            return
    for provider in book.table.providers:
        listed = book.table.model(provider, text)
        if listed is not None and listed[1]:
            yield provider, provider, text


def _kind(book: PriceBook, config: Config, provider: str) -> str:
    spec = config.providers.get(provider)
    return book.kind(provider, spec.like, spec.base_url) if spec else book.kind(provider)


def card(book: PriceBook, provider: str, kind: str, model: str, *, org: str, service: str, at: int | None) -> dict[str, Any]:
    """What is known of a model. `price` has its figures in US dollars per million (tokens, calls, searches); it is empty where unknown."""
    price = book.find(provider, kind, model, org=org, service=service, at=at)
    known = book.facts(kind, model)
    made: dict[str, Any] = {"provider": provider, "model": model, "price": {}}
    if price is not None:
        made["price"] = {name: dollars(rate) for name, rate in figures(price)}
    if known is not None:
        facts = {"listed_as": known.id, "source": known.source, "window": known.window, "max_output": known.max_output}
        made |= {name: value for name, value in facts.items() if value}
        made["can"] = sorted(known.can)
        made["services"] = sorted(known.services)
    return made
