"""genai-prices as plain values: its data file is read as syntax, and nothing of the package runs."""

import ast
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from scripts.prices.rates import Column, Rounded, priced, settled

_UNITS = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "audio_in",
    "input_image_mtok": "image_in",
    "input_video_mtok": "video_in",
    "output_audio_mtok": "audio_out",
    "output_image_mtok": "image_out",
    "output_video_mtok": "video_out",
    "output_reasoning_mtok": "reasoning",
    "requests_kcount": "call",
    "web_searches_kcount": "search",
}
_THOUSANDS = {"call", "search"}
_NOT_OURS = {"cache_audio_read_mtok", "cache_image_read_mtok", "storage_searches_kcount"}
"""Priced there, and never more than what the hub takes instead: the part's own rate, or a search of the web."""

_SERVICES = {
    ("processing", "batch"): "batch",
    ("service_tier", "flex"): "flex",
    ("service_tier", "priority"): "priority",
    ("service_tier", "fast"): "fast",
    ("speed", "fast"): "fast",
}
_CLAUSES = {
    "ClauseEquals": ("equals", "equals"),
    "ClauseStartsWith": ("starts_with", "starts"),
    "ClauseEndsWith": ("ends_with", "ends"),
    "ClauseContains": ("contains", "contains"),
    "ClauseRegex": ("regex", "regex"),
    "ClauseOr": ("or_", "any"),
    "ClauseAnd": ("and_", "all"),
}


class Node(dict[str, Any]):
    """A call of the data file: the name of what it makes, and its keyword arguments."""

    def __init__(self, kind: str, fields: dict[str, Any]) -> None:
        super().__init__(fields)
        self.kind = kind


def read(source: str) -> list[Node]:
    """The providers of `genai_prices/data.py`."""
    assigned = [one.value for one in ast.parse(source).body if isinstance(one, ast.AnnAssign)]
    if len(assigned) != 1 or assigned[0] is None:
        raise ValueError("genai_prices/data.py has another form than this script reads")
    return _value(assigned[0])


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.List(elts=items):
            return [_value(item) for item in items]
        case ast.Dict(keys=keys, values=values):
            return {_value(key): _value(value) for key, value in zip(keys, values, strict=True) if key is not None}
        case ast.Call(func=ast.Name(id="Decimal"), args=[ast.Constant(value=str(text))]):
            return Decimal(text)
        case ast.Call(func=ast.Name(id=name), args=[], keywords=given):
            return Node(name, {str(one.arg): _value(one.value) for one in given})
        case ast.Call(func=ast.Attribute(attr=name), args=[*given]):
            keywords = {str(one.arg): _value(one.value) for one in node.keywords}
            return Node(name, {"args": tuple(_value(one) for one in given), **keywords})
        case ast.Attribute(attr=name):
            return name
        case _:
            raise ValueError(f"genai_prices/data.py, line {node.lineno}: a form this script does not read")


def models(provider: Node, rounded: Rounded) -> Iterator[dict[str, Any]]:
    """The provider's models as a snapshot writes them, in their order."""
    for model in provider["models"]:
        phases = _timeline(model["prices"])
        services = _services(phases, model.get("price_variants") or [])
        made = {"id": model["id"], "match": rule(model["match"]), "phases": [_phase(one, rounded) for one in phases]}
        if services:
            made["services"] = {name: [_phase(one, rounded) for one in them] for name, them in sorted(services.items())}
        if model.get("context_window"):
            made["window"] = model["context_window"]
        yield made


def rule(clause: Node) -> dict[str, Any]:
    """A clause as a `hub.budget.price_rules.Rule`. Names are compared in lower case there."""
    theirs, ours = _CLAUSES[clause.kind]
    value = clause[theirs]
    if isinstance(value, str):
        return {ours: value if ours == "regex" else value.lower()}
    unique: list[dict[str, Any]] = []
    for one in map(rule, value):
        if one not in unique:
            unique.append(one)
    return unique[0] if len(unique) == 1 else {ours: unique}


class _Phase:
    """Prices of one phase, by their names there, and when it begins."""

    def __init__(self, prices: dict[str, Any], constraint: Node | None) -> None:
        self.prices = prices
        self.start, self.hours = 0, None
        if constraint is not None and constraint.kind == "StartDateConstraint":
            year, month, day = constraint["start_date"]["args"]
            self.start = int(datetime(year, month, day, tzinfo=UTC).timestamp())
        elif constraint is not None:
            self.hours = (_second(constraint["start_time"]), _second(constraint["end_time"]))


def _second(time: Node) -> int:
    hour, minute, *rest = (*time["args"], 0)
    if time.get("tzinfo") not in (None, "UTC", "utc"):
        raise ValueError(f"a time of day in another zone than UTC: {dict(time)}")
    return hour * 3600 + minute * 60 + (rest[0] if len(rest) > 1 else 0)


def _timeline(prices: Any) -> list[_Phase]:
    if isinstance(prices, list):
        return [_Phase(one["prices"], one.get("constraint")) for one in prices]
    return [_Phase(prices, None)]


def _services(phases: list[_Phase], variants: list[Node]) -> dict[str, list[_Phase]]:
    """What each class of service costs from each day on which it, or the standard price, changes."""
    found: dict[str, list[_Phase]] = {}
    for name in sorted({_service(one) for one in variants} - {""}):
        mine = [_Phase(one["prices"], one.get("constraint")) for one in variants if _service(one) == name]
        if any(one.hours for one in [*phases, *mine]):
            raise ValueError("a class of service and hours of the day at once: a form this script does not read")
        days = sorted({one.start for one in [*phases, *mine]} | {0})
        found[name] = []
        for day in days:
            merged: dict[str, Any] = {}
            for one in mine:  # of several that hold, the first one counts, for each unit apart
                if one.start <= day:
                    merged = {**one.prices, **merged}
            made = _Phase({**_standard(phases, day).prices, **merged}, None)
            made.start = day
            found[name].append(made)
    return found


def _service(variant: Node) -> str:
    return _SERVICES.get(next(iter(variant["when"].items())), "") if len(variant["when"]) == 1 else ""


def _standard(phases: list[_Phase], at: int) -> _Phase:
    return next((one for one in reversed(phases) if one.start <= at), phases[0])


def _phase(phase: _Phase, rounded: Rounded) -> dict[str, Any]:
    made: dict[str, Any] = {}
    price = _price(phase.prices, rounded)
    if price is not None:
        made["price"] = price
    if phase.start:
        made["start"] = phase.start
    if phase.hours:
        made["hours"] = phase.hours
    return made


def _price(prices: dict[str, Any], rounded: Rounded) -> dict[str, object] | None:
    given = {name: figure for name, figure in prices.items() if name not in _NOT_OURS}
    if given.keys() - _UNITS.keys():
        return None
    overs = sorted({tier["start"] for figure in given.values() if isinstance(figure, Node) for tier in figure["tiers"]})
    columns: dict[int, Column] = {}
    for over in (0, *overs):
        column = settled({_UNITS[name]: _rate(_UNITS[name], figure, over, rounded) for name, figure in given.items()})
        if column is None:
            return None
        columns[over] = column
    return priced(columns.pop(0), columns)


def _rate(ours: str, figure: Any, over: int, rounded: Rounded) -> int:
    """The unit's rate for an input of more than `over` tokens."""
    if isinstance(figure, Node):
        tiers = sorted(figure["tiers"], key=lambda tier: tier["start"], reverse=True)
        figure = next((tier["price"] for tier in tiers if over and tier["start"] <= over), figure["base"])
    return rounded.unit(figure * 1000 if ours in _THOUSANDS else figure)
