"""Small price tables, and the hub's own with some figures changed. Tests only."""

import gzip
import json
from collections.abc import Callable
from functools import cache
from typing import Any

from hub.budget.price_table import embedded_bytes


def table(models: dict[str, dict[str, Any]], date: str = "2026-01-01") -> bytes:
    """A table of one provider, `acme`: for each model its price, as a snapshot writes it."""
    listed = [{"id": name, "match": {"equals": name}, "phases": [{"price": price}]} for name, price in models.items()]
    head = {"format": 1, "date": date, "sources": [], "names": {}, "urls": {}}
    return json.dumps({**head, "providers": {"acme": {"models": listed}}}).encode()


@cache
def edited(change: Callable[[dict[str, Any]], None]) -> bytes:
    """The hub's own table after `change(models of openai by their id)`, which may also take some out."""
    content = json.loads(gzip.decompress(embedded_bytes()))
    provider = content["providers"]["openai"]
    models = {model["id"]: model for model in provider["models"]}
    change(models)
    provider["models"] = list(models.values())
    return gzip.compress(json.dumps(content).encode(), mtime=0)
