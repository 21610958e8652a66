"""`hub db`: the state of the database, and its migrations."""

from typing import Any

import typer

from hub.commands.options import Config, Json
from hub.commands.output import emit

app = typer.Typer(help="The database: its state and its migrations.", no_args_is_help=True)


@app.command("status")
def status(config: Config = None, as_json: Json = False) -> None:
    """Show the database's place, size and migrations. Works beside a running hub.

    Example: hub db status --json
    """
    from hub.commands.place import in_use, located, reading
    from hub.config.load import database_file
    from hub.store.sqlite import applied, migrations

    path = database_file(located(config).config)
    with reading(config) as connection:
        number = applied(connection)
        size = int(connection.execute("PRAGMA page_count").fetchone()[0]) * int(connection.execute("PRAGMA page_size").fetchone()[0])
    pending = [name for step, name, _ in migrations() if step > number]
    state: dict[str, Any] = {"database": str(path), "bytes": size, "migration": number, "pending": pending, "in_use": in_use(path)}
    text = f"{path}: {size:,} bytes, migration {number}, " + ("open in a running hub" if state["in_use"] else "not open in a hub")
    emit(state, text + (f"\nto apply: {', '.join(pending)}" if pending else "\nup to date"), as_json)


@app.command("migrate")
def migrate(config: Config = None, as_json: Json = False) -> None:
    """Apply the migrations the database lacks, and make it where there is none. The hub does the same when it starts.

    Example: hub db migrate --config hub.yaml
    """
    from hub.commands.direct import migrate as apply

    done = apply(config)
    emit({"applied": done}, f"Applied {', '.join(done)}." if done else "Nothing to apply.", as_json)
