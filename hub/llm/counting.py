"""What the metrics hear of a model call, from its answer and the attempts on record."""

from typing import Any

from hub.llm.catalogue import Catalogue
from hub.plan import Answer
from hub.telemetry.models import Models


def count(models: Models, catalogue: Catalogue, answer: Answer, nanoseconds: int, first: int) -> None:
    """`first` is less than nothing where the answer was no stream."""
    facts, call = answer.reply.facts, answer.call
    attempted(models, facts)
    if not facts or call.target is None:
        return
    route = facts["route"]
    provider: str = route[-1]["upstream"] if route else call.target.upstream
    alias = call.door if call.door in catalogue.models else ""
    if facts.get("unpriced"):
        models.unpriced(alias, provider)
    models.done(alias, provider, nanoseconds, max(0, first), answer.reply.usage)


def attempted(models: Models, facts: dict[str, Any] | None) -> None:
    """Count the attempts of a call, whatever came of it."""
    if facts:
        for one in facts["route"]:
            models.attempt(one["upstream"], one["result"])
