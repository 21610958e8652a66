"""`hub policy`: why a recorded call was allowed or denied."""

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.commands.options import Config, Json
from hub.commands.output import Failed, emit

if TYPE_CHECKING:
    from hub.audit.ledger import Head
    from hub.policy.decide import Policy

app = typer.Typer(help="Policies: why a call was allowed or denied.", no_args_is_help=True)

_SALT = 32


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

    from hub.commands.place import reading
    from hub.policy.explain import explain as explained

    payload = args.read_bytes().rstrip(b"\r\n") if args else None
    with reading(config) as connection:
        connection.execute("BEGIN")
        head, key, record = _record(connection, call_id)
        policy = _policy(connection, str(record.get("decision", {}).get("policy_set", "")))
        salt = _salt(connection, key)
    made = explained(record, policy, org=head.name, payload=payload, salt=salt)
    emit({"call": call_id, "org": head.name, **msgspec.to_builtins(made)}, made.text(), as_json)
    raise typer.Exit(1 if made.outcome == "different" else 0)


def _record(connection: sqlite3.Connection, call_id: str) -> "tuple[Head, int, dict[str, Any]]":
    """(log, key, record) of the record that holds the call's decision: its intent, or the only one."""
    import json

    from hub.audit import ledger

    rows = connection.execute("SELECT key, leaf FROM journal_record WHERE id = ? AND phase < 2 ORDER BY phase DESC", (call_id,)).fetchall()
    if not rows:
        raise Failed(f"the journal has no call {call_id}")
    key, leaf = rows[0]
    head = next(head for head in ledger.heads(connection) if head.number == key >> ledger.INDEX_BITS)
    return head, key, json.loads(leaf)


def _policy(connection: sqlite3.Connection, policy_set: str) -> "Policy | None":
    from hashlib import sha256

    from hub.policy.decide import Policy, PolicyInvalid

    row = connection.execute("SELECT body FROM policy_sets WHERE hash = ?", (policy_set,)).fetchone()
    if row is None:
        return None
    if f"sha256:{sha256(row[0]).hexdigest()}" != policy_set:
        raise Failed(f"the snapshot kept under {policy_set} has another hash: the database was changed")
    try:
        return Policy.from_snapshot(row[0])
    except PolicyInvalid as error:
        raise Failed(f"the recorded policies cannot be used any more: {error}") from None


def _salt(connection: sqlite3.Connection, key: int) -> bytes | None:
    """The record's salt; None where it was erased. Salts stand in one row for a batch, under its first record."""
    row = connection.execute("SELECT key, salts FROM journal_salt WHERE key <= ? ORDER BY key DESC LIMIT 1", (key,)).fetchone()
    if row is None:
        return None
    at = (key - row[0]) * _SALT
    salt: bytes = row[1][at : at + _SALT]
    return salt if len(salt) == _SALT and any(salt) else None
