"""`hub vault`: set, list, remove and re-wrap secrets, through the running hub or in its database. No value is an argument or is shown."""

import asyncio
import sys
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from hub.commands.options import AdminKey, Config, Json, Url
from hub.commands.output import Failed, emit, table

app = typer.Typer(help="The vault: keys of providers, encrypted in the database.", no_args_is_help=True)

_LONGEST = 16 * 1024
_AT = "/admin/v1/vault"
_Org = Annotated[str, typer.Option("--org", help="Organisation it belongs to.")]
_Name = Annotated[str, typer.Argument(help="Name of the secret, as `vault:NAME` refers to it.")]


@app.command("set")
def set_value(
    name: _Name,
    org: _Org = "default",
    overlap: Annotated[
        float, typer.Option("--overlap", min=0, help="Seconds the value before is kept, should the provider not take the new one yet.")
    ] = 600.0,
    url: Url = None,
    admin_key: AdminKey = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Store a value, read from standard input or asked for; hubs that run use it within a second.

    Example: hub vault set openai < key.txt
    """
    from hub.commands import api, direct_vault

    value = _value()
    made = api.attempt("PUT", f"{_AT}/{quote(name, safe='')}", admin_key, url, config, {"value": value, "org": org, "overlap": overlap})
    if made is None:
        made = asyncio.run(direct_vault.set_value(config, org, name, value, overlap))
    done = made["set"]
    emit(made, f"Set {done['org']}/{done['name']}, version {done['version']}.", as_json)


@app.command("list")
def list_names(
    org: Annotated[str | None, typer.Option("--org", help="Organisation; default: all.", show_default=False)] = None,
    url: Url = None,
    admin_key: AdminKey = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """List names and versions; of a value at most its last four characters.

    Example: hub vault list
    """
    from hub.commands import api, direct_vault

    found = api.attempt("GET", _AT + (f"?{urlencode({'org': org})}" if org else ""), admin_key, url, config)
    if found is None:
        found = asyncio.run(direct_vault.listed(config, org))
    secrets: list[dict[str, Any]] = found["secrets"]
    head = ("ORG", "NAME", "VERSION", "ENDS IN", "CREATED", "KEY", "BEFORE KEPT UNTIL", "STATE")
    emit({"secrets": secrets}, table(head, [_row(one) for one in secrets]), as_json)


@app.command("remove")
def remove(
    name: _Name,
    org: _Org = "default",
    url: Url = None,
    admin_key: AdminKey = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Remove a secret with all its versions. Calls of providers that need it are refused from then on.

    Example: hub vault remove openai
    """
    from hub.commands import api, direct_vault

    gone = api.attempt("DELETE", f"{_AT}/{quote(name, safe='')}?{urlencode({'org': org})}", admin_key, url, config)
    if gone is None:
        gone = asyncio.run(direct_vault.remove(config, org, name))
    emit(gone, f"Removed {gone['removed']['org']}/{gone['removed']['name']}.", as_json)


@app.command("rotate")
def rotate(url: Url = None, admin_key: AdminKey = None, config: Config = None, as_json: Json = False) -> None:
    """Wrap everything in the vault, and the keys of captured content, under the key that `secrets.vault` gives now, all or nothing.

    Example: hub vault rotate
    """
    from hub.commands import api, direct_vault

    done = api.attempt("POST", f"{_AT}/rotate", admin_key, url, config)
    if done is None:
        done = asyncio.run(direct_vault.rotate(config))
    said = done["rotated"]
    emit(done, f"{said['rewrapped']} values and {said['days']} keys of content were wrapped under key {said['kek']}.", as_json)


def _value() -> str:
    """One line, from standard input or a prompt that does not show it."""
    if sys.stdin.isatty():
        return str(typer.prompt("Value", hide_input=True))
    text = sys.stdin.read(_LONGEST + 1)
    if len(text) > _LONGEST:
        raise Failed("the value is too long", code=2)
    return text.rstrip("\r\n")


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    texts = (str(one.get(field) or "") for field in ("org", "name", "version", "last4", "created", "kek", "overlap"))
    return (*texts, str(one.get("problem") or "usable"))
