"""Which intents of this process wait for their outcome, and below which index of each log none does. Knows no store."""

from collections.abc import Iterable
from typing import Any

from hub.audit.entry import phase
from hub.audit.receipt import Receipt


class Opened:
    """Told of each record that became durable, in the order of its log."""

    def __init__(self) -> None:
        self._open: dict[str, dict[str, int]] = {}
        self._known: dict[str, int] = {}

    def note(self, org: str, record: dict[str, Any], receipt: Receipt) -> None:
        kind = phase(record["kind"])
        if kind == 1:
            self._open.setdefault(org, {})[record["id"]] = receipt.index
        elif kind:
            self._open.setdefault(org, {}).pop(record["id"], None)
        self._known[org] = receipt.index + 1

    def floors(self) -> dict[str, int]:
        """By organisation, an index below which no intent of this process is open."""
        return {org: min(self._open[org].values()) if self._open.get(org) else known for org, known in self._known.items()}

    def ids(self) -> Iterable[str]:
        """The calls whose intents are open."""
        return [identifier for of_org in self._open.values() for identifier in of_org]

    def __bool__(self) -> bool:
        """Whether any intent is open."""
        return any(self._open.values())
