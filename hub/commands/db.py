"""`hub db`: the state of the database, and its migrations."""

import asyncio
from typing import Any

import typer

from hub.commands.options import Config, Json
from hub.commands.output import emit
from hub.config import stores

app = typer.Typer(help="The database: its state and its migrations.", no_args_is_help=True)


@app.command("status")
def status(config: Config = None, as_json: Json = False) -> None:
    """Show the database's place, size and migrations. Works beside running hubs.

    Example: hub db status --json
    """
    from hub.commands.place import database

    at = database(config)
    state = _sqlite(at) if isinstance(at, stores.SqliteFile) else asyncio.run(_postgres(at))
    pending: list[str] = state["pending"]
    text = f"{state['database']}: {state['bytes']:,} bytes, migration {state['migration']}, "
    text += "open in a running hub" if state["in_use"] else "not open in a hub"
    emit(state, text + (f"\nto apply: {', '.join(pending)}" if pending else "\nup to date"), as_json)


@app.command("migrate")
def migrate(config: Config = None, as_json: Json = False) -> None:
    """Apply the migrations the database lacks, and make it where there is none. The hub does the same when it starts.

    Example: hub db migrate --config hub.yaml
    """
    from hub.commands import direct
    from hub.commands.place import database

    at = database(config)
    done = direct.migrate_sqlite(at) if isinstance(at, stores.SqliteFile) else asyncio.run(direct.migrate_postgres(at))
    emit({"applied": done}, f"Applied {', '.join(done)}." if done else "Nothing to apply.", as_json)


def _sqlite(at: stores.SqliteFile) -> dict[str, Any]:
    from hub.commands.place import in_use, reading
    from hub.store.sqlite import applied, migrations

    with reading(at) as connection:
        number = applied(connection)
        size = int(connection.execute("PRAGMA page_count").fetchone()[0]) * int(connection.execute("PRAGMA page_size").fetchone()[0])
    return _state(str(at.file), size, number, migrations(), in_use(at.file))


async def _postgres(at: stores.PostgresDatabase) -> dict[str, Any]:
    from hub.commands.place import bare
    from hub.seat import KEY
    from hub.store.postgres import applied, migrations

    async with bare(at) as connection:
        number = await applied(connection)
        size = await connection.fetchval("SELECT pg_database_size(current_database())")
        holders = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database"
        # an advisory lock's 64 bits stand in two columns of 32
        hubs = await connection.fetchval(
            holders + " WHERE datname = current_database()) AND classid = $1 AND objid = $2 AND objsubid = 1", KEY >> 32, KEY & 0xFFFFFFFF
        )
    return {**_state(str(at.address), size, number, migrations(), bool(hubs)), "hubs": hubs}


def _state(place: str, size: int, number: int, known: list[tuple[int, str, str]], used: bool) -> dict[str, Any]:
    pending = [name for step, name, _ in known if step > number]
    return {"database": place, "bytes": size, "migration": number, "pending": pending, "in_use": used}
