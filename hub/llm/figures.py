"""What the price table knows of deployments that matters for where calls go: what they cost, and how much they take."""

from collections.abc import Callable, Mapping

from hub.budget.price_book import PriceBook
from hub.call import Target
from hub.config.models import ProviderSpec

QUESTIONS = 3
"""Tokens read for each one written, in the mix by which deployments are compared."""


class Figures:
    """Answers are as the table in force and the providers have them at the moment; windows are kept as long as both stay."""

    def __init__(self, book: PriceBook, providers: Callable[[], Mapping[str, ProviderSpec]]) -> None:
        self._book = book
        self._providers = providers
        self._of: tuple[str, Mapping[str, ProviderSpec]] | None = None
        self._windows: dict[Target, int | None] = {}

    def price_of(self, target: Target) -> int | None:
        """Nano-dollars of three million tokens read and a million written, to compare deployments by; None where nobody knows it."""
        spec = self._providers().get(target.upstream)
        if spec is None:
            return None
        price = self._book.find(target.upstream, self._kind(target, spec), target.name, org=spec.org)
        return None if price is None else QUESTIONS * price.rates.input + (price.rates.output or 0)

    def window_of(self, target: Target) -> int | None:
        """Tokens of its context; None where nobody knows it."""
        providers = self._providers()
        of = (self._book.hash, providers)
        if self._of is None or self._of[0] != of[0] or self._of[1] is not providers:
            self._of, self._windows = of, {}
        if target not in self._windows:
            spec = providers.get(target.upstream)
            facts = None if spec is None else self._book.facts(self._kind(target, spec), target.name)
            self._windows[target] = (facts.window or None) if facts is not None else None
        return self._windows[target]

    def _kind(self, target: Target, spec: ProviderSpec) -> str:
        return self._book.kind(target.upstream, spec.like, spec.base_url)
