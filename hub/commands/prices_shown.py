"""Prices and their changes as a command shows them: US dollars as decimal text, exact."""

from collections.abc import Iterator
from typing import Any

from hub.budget.price_book import PriceBook
from hub.budget.price_diff import figures
from hub.budget.price_table import Table
from hub.config.model import Dollars


def dollars(nano: int | None) -> str:
    """US dollars; empty where there is no amount."""
    return "" if nano is None else str(Dollars(nano))


def names(prices: Table, text: str) -> Iterator[tuple[str, str]]:
    """(provider, model) pairs that a text may mean."""
    for separator in ":/":
        provider, found, model = text.partition(separator)
        if found and (prices.named(provider) or separator == ":"):
            yield provider, model
            return
    for provider in prices.providers:
        found = prices.model(provider, text)
        if found is not None and found[1]:
            yield provider, text


def card(book: PriceBook, provider: str, model: str, *, org: str, service: str, at: int | None) -> dict[str, Any]:
    """What is known of a model. `price` has its figures in US dollars per million (tokens, calls, searches); it is empty where unknown."""
    price = book.find(provider, provider, model, org=org, service=service, at=at)
    known = book.facts(provider, model)
    made: dict[str, Any] = {"provider": provider, "model": model, "price": {}}
    if price is not None:
        made["price"] = {name: dollars(rate) for name, rate in figures(price)}
    if known is not None:
        facts = {"listed_as": known.id, "source": known.source, "window": known.window, "max_output": known.max_output}
        made |= {name: value for name, value in facts.items() if value}
        made["can"] = sorted(known.can)
        made["services"] = sorted(known.services)
    return made
