"""Published figures as rates: dollars, written in decimals, become integer nano-dollars per million."""

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal

Column = dict[str, int]
"""Rates by the names of `hub.budget.prices.Rates`, and `call` and `search`."""

PARTS = ("cache_read", "cache_write", "cache_write_1h", "audio_in", "image_in")


class Rounded:
    """Counts the figures that were no whole number of units: residues of binary floats, such as 0.13999999999999999 and 1/12."""

    def __init__(self) -> None:
        self.count = 0

    def unit(self, dollars_per_million: Decimal) -> int:
        exact = dollars_per_million * 10**9
        whole = exact.to_integral_value(ROUND_HALF_UP)
        self.count += whole != exact
        return int(whole)


def settled(found: Mapping[str, int | None]) -> Column | None:
    """Rates by the names of either source's parts as one column; None where tokens alone cannot tell the price.

    The hub cannot tell tokens of a made image or video from other output, so all of it costs what the dearest costs; what it can tell,
    reasoning, keeps its own rate. A part that costs what its side costs is left out.
    """
    rates = {name: rate for name, rate in found.items() if rate is not None}
    if "input" not in rates:
        return None
    made = [rates.pop(name) for name in ("image_out", "video_out") if name in rates]
    if made and "output" not in rates:
        return None
    if made and max(made) > rates["output"]:
        rates.setdefault("reasoning", rates["output"])
        rates["output"] = max(made)
    if rates.pop("video_in", 0) > rates["input"]:
        return None
    rates.setdefault("cache_write_1h", rates.get("cache_write", rates["input"]))  # unless priced apart, as what is kept for minutes
    kept = {name: rates[name] for name in ("input", "output", "call", "search") if name in rates}
    kept |= {name: rates[name] for name in PARTS if rates.get(name, rates["input"]) != rates["input"]}
    kept |= {name: rates[name] for name in ("reasoning", "audio_out") if name in rates and rates[name] != rates.get("output")}
    return kept


def priced(base: Column, long: Mapping[int, Column]) -> dict[str, object]:
    """A `hub.budget.prices.Price` as it is written in a snapshot."""
    made: dict[str, object] = {"rates": _rates(base)}
    above = [{"over": over, "rates": _rates(column)} for over, column in sorted(long.items()) if _rates(column) != _rates(base)]
    if above:
        made["long"] = above
    return made | {name: base[name] for name in ("call", "search") if name in base}


def _rates(column: Column) -> Column:
    return {name: rate for name, rate in column.items() if name not in {"call", "search"}}
