"""Models without a price that are in use: their calls cost nobody knows what, which is told once for each."""

import logging
from collections.abc import Callable

from hub.call import Call, Caller, Target
from hub.telemetry.logs import fields

log = logging.getLogger("hub.llm")

TOLD = 4096
"""Models that are remembered as told of; clients name models too (`provider:model`), so that there must be a bound."""


class Unpriced:
    """Of one process. `alert(target, org)` tells whoever is told of budgets, once however many processes say it."""

    def __init__(self, alert: Callable[[Target, str], None]) -> None:
        self._alert = alert
        self._told: set[Target] = set()

    def sent(self, call: Call, caller: Caller, target: Target) -> None:
        """A model has answered a call whose price nobody knows."""
        if target in self._told or len(self._told) >= TOLD:
            return
        self._told.add(target)
        log.warning(
            "a model without a price is in use: what its calls cost is unknown, and budgets in money refuse them",
            extra=fields(provider=target.upstream, model=target.name[:256], request=call.id),
        )
        self._alert(target, caller.org)
