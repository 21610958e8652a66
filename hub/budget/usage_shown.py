"""Rows of the usage ledger and what they come to, as they are shown: members of JSON, and lines of CSV (RFC 4180). Pure.

A cost that nobody knows is null, never nothing. CSV is made for spreadsheets: a cell that one would take for a formula begins with `'`.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import json as msgjson

from hub.budget.usage import TOKENS, Usage
from hub.budget.usage_ask import BUCKETS, FILTERS, TAG, Total
from hub.config.values import Dollars

WHO = ("org", "key", "subject", "user", "app", "team", "project")
LIST = (
    *("id", "created_at", *WHO, "kind", "alias", "provider", "model", "status", "unpriced", "cost_nano_usd", "cost_usd"),
    *(f"tokens_{name}" for name in TOKENS),
    *("latency_us", "attempts", "tags"),
)
"""The columns of a list as CSV. `tags` is a JSON object."""

SUMS = ("calls", "unpriced_calls", "cost_nano_usd", "cost_usd", *(f"tokens_{name}" for name in TOKENS))

_RISKY = ("=", "+", "-", "@", "\t", "\r", "\n")


def record(row: Usage) -> dict[str, Any]:
    """A row."""
    facts = row.facts
    return {
        "id": row.id,
        "object": "usage.record",
        "created_at": instant(row.at),
        **{name: getattr(row, name) for name in WHO},
        "kind": facts.kind,
        "alias": facts.door,
        "provider": row.provider,
        "model": row.model,
        "status": facts.status,
        "unpriced": row.cost is None,
        **_money(row.cost),
        "tokens": {name: getattr(row.tokens, name) for name in TOKENS},
        "latency_us": facts.latency,
        "attempts": facts.attempts,
        "tags": facts.tags,
    }


def summed(total: Total, by: Sequence[str]) -> dict[str, Any]:
    """A group. What none of its calls had a known cost for has none; with some, `unpriced_calls` says how many are not in it."""
    cost = None if total.calls == total.unpriced else total.cost
    return {
        **{name: _named(name, value) for name, value in zip(by, total.group, strict=True)},
        "calls": total.calls,
        "unpriced_calls": total.unpriced,
        **_money(cost),
        "tokens": dict(zip(TOKENS, total.tokens, strict=True)),
    }


def together(totals: Iterable[Total]) -> dict[str, Any]:
    """All groups as one; of no calls, nothing, which is known to cost nothing."""
    whole = Total((), 0, 0, 0, [0] * len(TOKENS))
    for one in totals:
        whole.calls += one.calls
        whole.unpriced += one.unpriced
        whole.cost += one.cost
        whole.tokens = [here + there for here, there in zip(whole.tokens, one.tokens, strict=True)]
    shown = summed(whole, ())
    return shown if whole.calls else {**shown, **_money(0)}


def columns(by: Sequence[str]) -> list[str]:
    """The columns of a summary as CSV."""
    return [*by, *SUMS]


def line(names: Sequence[str], shown: dict[str, Any]) -> list[str]:
    """The cells of what `record` or `summed` made."""
    flat = {**shown, **{f"tokens_{name}": count for name, count in shown["tokens"].items()}}
    return [_cell(flat[name]) for name in names]


def written(lines: Iterable[Sequence[str]]) -> bytes:
    """Lines of CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(lines)
    return text.getvalue().encode()


def column(name: str) -> str:
    """What a group is called in the ledger."""
    return name if name in BUCKETS or name.startswith(TAG) else FILTERS[name]


def instant(micros: int) -> str:
    """RFC 3339 in UTC, to the microsecond."""
    return datetime.fromtimestamp(micros // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{micros % 1_000_000:06d}Z"


def _money(cost: int | None) -> dict[str, Any]:
    return {"cost_nano_usd": cost, "cost_usd": None if cost is None else str(Dollars(cost))}


def _named(name: str, value: str | int) -> str:
    """A bucket is its beginning."""
    if not isinstance(value, int):
        return value
    moment = datetime.fromtimestamp(value // 1_000_000, UTC)
    return moment.strftime("%Y-%m-%d") if name == "day" else moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    text = value if isinstance(value, str) else msgjson.encode(value).decode() if value else ""
    return f"'{text}" if text.startswith(_RISKY) else text
