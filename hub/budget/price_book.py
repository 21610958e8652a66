"""What the hub asks for prices: an operator's own first, then the table in force. It loads the table when it is first asked.

A price is asked for by the provider's name under `providers` (own prices know it by that), by its kind (the table knows it by that, and
`kind` says which it is) and by the provider's own name of the model.
"""

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, Literal

from msgspec import Struct

from hub.budget import own_prices
from hub.budget.own_prices import Own, fitting, owned
from hub.budget.price_table import Model, Phase, Table, embedded, embedded_hash, phase_at
from hub.budget.prices import Price
from hub.config.money import PriceSpec

_STANDARD: Final = frozenset({"", "auto", "default", "standard", "standard_only", "on_demand"})
_CHEAPER: Final = frozenset({"batch", "flex"})
"""Classes of service that never cost more than the standard one, whose price stands in where they have none listed."""

_KEPT = 4096
"""Answers kept; names come from callers too, so that there must be a bound."""

_Key = tuple[str, str, str, str, str]
_Answer = tuple[tuple[Own, ...], tuple[Phase, ...]]


class Quote(Struct, frozen=True):
    """A price, and which one it is: of the table with this hash, or an operator's own, whose hash is over its pattern, its rates and its
    beginning. `start` in Unix seconds, 0 where it always held."""

    price: Price
    source: Literal["own", "table"]
    hash: str
    start: int = 0

    def told(self) -> dict[str, str]:
        """For records."""
        found = {"source": self.source, "hash": self.hash}
        if self.start:
            found["effective_from"] = datetime.fromtimestamp(self.start, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return found


class PriceBook:
    """Prices in force. `table` may be swapped and `own` declared anew at any time: what is asked afterwards gets the new ones."""

    def __init__(self, specs: Iterable[PriceSpec] = (), table: Table | None = None) -> None:
        self._own = owned(specs)
        self._table = table
        self._answers: dict[_Key, _Answer] = {}
        self._kinds: dict[tuple[str, str, str], str] = {}

    @property
    def table(self) -> Table:
        if self._table is None:
            self._table = embedded()
        return self._table

    @property
    def hash(self) -> str:
        """Which table is in force, for records. Own prices are in the hash of the configuration."""
        return embedded_hash() if self._table is None else self._table.hash

    def declare(self, specs: Iterable[PriceSpec]) -> None:
        """Take up the prices of an edited configuration."""
        self._own = owned(specs)
        self._answers = {}

    def adopt(self, table: Table) -> None:
        """Put another table in force."""
        self._table = table
        self._answers, self._kinds = {}, {}

    def kind(self, name: str, like: str = "", url: str = "") -> str:
        """Which provider of the table a declared one is: the one it is said to be `like`, else whose address it has, else whose name.

        Empty where it is none of them, as `vllm` and `ollama`. The arguments come from `hub.yaml` alone.
        """
        known = self._kinds.get((name, like, url))
        if known is None:
            table = self.table
            known = table.named(like) if like else table.at_url(url) or table.named(name)
            self._kinds[name, like, url] = known
        return known

    def find(self, provider: str, kind: str, model: str, *, org: str = "default", service: str = "", at: int | None = None) -> Price | None:
        """The price alone that `quote` finds."""
        found = self.quote(provider, kind, model, org=org, service=service, at=at)
        return None if found is None else found.price

    def quote(
        self, provider: str, kind: str, model: str, *, org: str = "default", service: str = "", at: int | None = None
    ) -> Quote | None:
        """The price of a call at `at` (Unix seconds; now where it is None); None where nobody knows it.

        `service` is the class of service as the provider calls it. A class that costs more than the standard one, and is not listed, has
        no known price. Raises `BadTable`.
        """
        key = (org, provider, kind, model, service)
        answer = self._answers.get(key)
        if answer is None:
            answer = self._look_up(key)
        own, phases = answer
        if at is None and (own or len(phases) > 1):
            at = time.time_ns() // 1_000_000_000
        if own and (held := own_prices.phase_at(own, at or 0)) is not None and held[0].price is not None:
            return Quote(held[0].price, "own", held[1], held[0].start)
        phase = phase_at(phases, at or 0)
        return None if phase is None or phase.price is None else Quote(phase.price, "table", self.hash, phase.start)

    def facts(self, kind: str, model: str) -> Model | None:
        """What the table knows of a model besides its price: context window, longest output, capabilities. Raises `BadTable`."""
        found = self.table.model(kind, model)
        return found[0] if found else None

    def _look_up(self, key: _Key) -> _Answer:
        org, provider, kind, model, service = key
        named = service.lower()
        listed = "" if named in _STANDARD else named
        answer = fitting(self._own, org, provider, model, listed), self._phases(kind, model, listed)
        if len(self._answers) >= _KEPT:
            self._answers = {}
        self._answers[key] = answer
        return answer

    def _phases(self, kind: str, model: str, service: str) -> tuple[Phase, ...]:
        found = self.table.model(kind, model)
        if found is None:
            return ()
        known, listed = found
        if not service:
            return known.phases
        if listed and service in known.services:  # of what it sells for others, only the standard price is known
            return known.services[service]
        return known.phases if service in _CHEAPER else ()
