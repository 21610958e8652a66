"""Daily counts in the store. It knows the table, not the rules.

A count is stored as it stands, not as an increment: an operation that is run twice, or after a later one was lost, does no harm.
One process counts (see `hub.store.sqlite`).
"""

import sqlite3
from datetime import UTC, datetime

DAY = 86_400


def day_of(seconds: float) -> int:
    """The number of the UTC calendar day that holds this Unix time."""
    return int(seconds // DAY)


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * DAY, UTC).strftime("%Y-%m-%d")


def load(connection: sqlite3.Connection, day: int) -> list[tuple[str, str, int]]:
    """(rule, who, used) of every count of `day`."""
    rows = connection.execute("SELECT rule, who, used FROM daily_use WHERE day = ?", (_date(day),))
    return [(str(rule), str(who), int(used)) for rule, who, used in rows]


def save(connection: sqlite3.Connection, day: int, rule: str, who: str, used: int) -> None:
    """Store one count."""
    connection.execute(
        "INSERT INTO daily_use (day, rule, who, used) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET used = excluded.used",
        (_date(day), rule, who, used),
    )


def forget(connection: sqlite3.Connection, before: int) -> None:
    """Delete the counts of the days before `before`: no rule looks at them any more."""
    connection.execute("DELETE FROM daily_use WHERE day < ?", (_date(before),))
