"""The usage ledger, asked as `/v1/usage` is: of the running hub where its admin key is at hand, else of its database."""

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from hub.budget.usage_ask import Dialect, Statement
from hub.budget.usage_read import Reader
from hub.budget.usage_sqlite import selected
from hub.call import Caller
from hub.commands import api
from hub.commands.output import Failed
from hub.commands.place import connected, database, reading
from hub.config import stores
from hub.identity.roles import OPERATORS
from hub.llm.usages import answered
from hub.refusal import InvalidRequest

_OPERATOR = Caller(org=OPERATORS, subject="operator", key_id="command-line", roles=("admin",))
"""Whoever has the command line and the database is the operator."""


def asked(config: Path | None, url: str | None, key: str | None, path: str, query: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """What `path` answers. Raises `Failed`."""
    text = urlencode(query)
    found = api.attempt("GET", f"{path}?{text}" if text else path, key, url, config)
    if found is not None:
        return found
    at = database(config)
    try:
        if isinstance(at, stores.SqliteFile):
            with reading(at) as connection:
                return asyncio.run(answered(_InSqlite(connection), path, text.encode(), _OPERATOR))
        return asyncio.run(_in_postgres(at, path, text.encode()))
    except InvalidRequest as refused:
        raise Failed(refused.message, code=2) from None


async def _in_postgres(at: stores.PostgresDatabase, path: str, query: bytes) -> dict[str, Any]:
    from hub.budget.usage_postgres import PostgresUsage

    async with connected(at) as postgres:
        ledger: Reader = PostgresUsage(postgres)
        return await answered(ledger, path, query, _OPERATOR)


class _InSqlite:
    """A `Reader` beside the hub whose database it is."""

    dialect: Dialect = "sqlite"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def select(self, statement: Statement, org: str | None) -> list[Sequence[Any]]:
        return selected(self._connection, statement)
