"""`hub policy`: why a recorded call was allowed or denied."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hub.commands.options import Config, Json
from hub.commands.output import Failed, emit

if TYPE_CHECKING:
    from hub.config.stores import PostgresDatabase, SqliteFile
    from hub.policy.decide import Policy

app = typer.Typer(help="Policies: why a call was allowed or denied.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keeps `explain` a subcommand while it is the only one."""


@app.command("explain")
def explain(
    call_id: Annotated[str, typer.Argument(help="Id of the call: its x-request-id.")],
    args: Annotated[
        Path | None,
        typer.Option("--args", help="File with the call's `arguments`, byte for byte, where a policy reads them.", show_default=False),
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Say which policies decided a recorded call, and decide it again with the policies of that time.

    Arguments are not in the journal. Those given count only if they match the record's commitment. Exit code 1 where the decision
    comes out differently.

    Example: hub policy explain 0198c0de-… --args arguments.json
    """
    import msgspec

    from hub.audit.reader import NotFound, snapshot
    from hub.commands.place import database, journal
    from hub.policy.explain import explain as explained

    payload = args.read_bytes().rstrip(b"\r\n") if args else None
    try:
        with snapshot(journal(config)) as reader:
            found = reader.decided(call_id)
            if found is None:
                raise Failed(f"the journal has no call {call_id}")
            log, index, record = found
            salt = reader.salt(log, index)
    except NotFound as error:
        raise Failed(str(error)) from None
    policy = asyncio.run(_policy(database(config), str(record.get("decision", {}).get("policy_set", ""))))
    made = explained(record, policy, org=log.org, payload=payload, salt=salt)
    emit({"call": call_id, "org": log.org, **msgspec.to_builtins(made)}, made.text(), as_json)
    raise typer.Exit(1 if made.outcome == "different" else 0)


async def _policy(at: "SqliteFile | PostgresDatabase", policy_set: str) -> "Policy | None":
    from hub.policy.decide import PolicyInvalid
    from hub.policy.snapshots import kept

    body = await _body(at, policy_set)
    try:
        return kept(policy_set, body)
    except PolicyInvalid as error:
        raise Failed(f"the recorded policies cannot be used any more: {error}") from None


async def _body(at: "SqliteFile | PostgresDatabase", policy_set: str) -> bytes | None:
    from hub.commands.place import connected, reading
    from hub.config.stores import SqliteFile

    if isinstance(at, SqliteFile):
        from hub.policy.snapshots_sqlite import body

        with reading(at) as connection:
            return body(connection, policy_set)
    from hub.policy.snapshots_postgres import PostgresSnapshots

    async with connected(at) as postgres:
        return await PostgresSnapshots(postgres).body(policy_set)
