"""`hub keys`: make, list and revoke keys, through the running hub or in its database."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from hub.commands.options import AdminKey, Config, Json, Url
from hub.commands.output import Failed, emit, note, table

app = typer.Typer(help="Keys: make, list and revoke them.", no_args_is_help=True)

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_Org = Annotated[str | None, typer.Option("--org", help="Organisation; default: all.", show_default=False)]
_Many = list[str] | None

_Owner = Annotated[str, typer.Option("--org", help="Organisation it belongs to; default: the administrator's, or `default`.")]
_Subject = Annotated[str, typer.Option("--subject", help="Whom it stands for: user:…, app:… or agent:….")]
_Server = Annotated[_Many, typer.Option("--server", "-s", help="Virtual server it opens, a name or a glob; repeatable.")]
_Model = Annotated[_Many, typer.Option("--model", "-m", help="Model it opens, a name, `provider:model` or a glob; repeatable.")]
_Tool = Annotated[_Many, typer.Option("--tool", help="Tools it may use there: `upstream/name` or globs; repeatable; default: all.")]
_Deny = Annotated[_Many, typer.Option("--deny", help="Never, whatever else is granted; repeatable.")]
_Role = Annotated[_Many, typer.Option("--role", help="owner, admin, member, auditor or service; repeatable.")]
_User = Annotated[str, typer.Option("--user", help="User whose money it spends; default: the subject, where that is one.")]
_App = Annotated[str, typer.Option("--app", help="Application whose money it spends; default as for --user.")]
_Team = Annotated[str, typer.Option("--team", help="Team whose money it spends.")]
_Project = Annotated[str, typer.Option("--project", help="Project whose money it spends.")]
_Expires = Annotated[str, typer.Option("--expires", help="RFC 3339 time, or a time from now such as 1h, 30d.")]


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Name of the key: lower-case letters, digits, `_` and `-`.")],
    org: _Owner = "",
    subject: _Subject = "",
    server: _Server = None,
    model: _Model = None,
    tool: _Tool = None,
    deny: _Deny = None,
    role: _Role = None,
    user: _User = "",
    app: _App = "",
    team: _Team = "",
    project: _Project = "",
    expires: _Expires = "",
    url: Url = None,
    admin_key: AdminKey = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Make a stored key and show it, once.

    Example: hub keys create alice --subject user:alice --server demo --expires 30d
    """
    if not server and not model and not role:
        raise Failed("a key must open something: give --server NAME, --model NAME, or --role", code=2)
    about = {"name": name, "org": org, "subject": subject, "roles": role or [], "expires": _instant(expires)}
    spenders = {"user": user, "app": app, "team": team, "project": project}
    body = {**about, "grants": _grants(server, model, tool, deny), **{unit: text for unit, text in spenders.items() if text}}
    from hub.commands import api, direct

    made = api.attempt("POST", "/admin/v1/keys", admin_key, url, config, body)
    if made is None:
        made = asyncio.run(direct.create(config, body))
    if not as_json:
        note("This key is shown once; the hub keeps only a hash of it.")
    emit(made, str(made["key"]), as_json)


def _grants(server: _Many, model: _Many, tool: _Many, deny: _Many) -> list[dict[str, Any]]:
    """One for each door. What is denied is denied at all of them; tools are a matter of virtual servers."""
    never = {"deny": deny} if deny else {}
    tools = {"tools": tool} if tool else {}
    return [
        *({"virtual_server": each, **tools, **never} for each in server or []),
        *({"model": each, **never} for each in model or []),
    ]


@app.command("mint")
def mint(as_json: Json = False) -> None:
    """Print a new key for `keys:` of hub.yaml. Nothing is stored: the key works once the configuration refers to it.

    Example: export HUB_CI_KEY=$(hub keys mint)
    """
    from hub.identity.keys import mint as make

    made = make()
    emit({"key": made.text, "id": made.id}, made.text, as_json)


@app.command("list")
def list_keys(org: _Org = None, url: Url = None, admin_key: AdminKey = None, config: Config = None, as_json: Json = False) -> None:
    """List keys, also revoked ones. Declared keys are listed too.

    Example: hub keys list --org acme
    """
    from hub.commands import api, direct

    path = "/admin/v1/keys" + (f"?{urlencode({'org': org})}" if org else "")
    found = api.attempt("GET", path, admin_key, url, config)
    keys: list[dict[str, Any]] = asyncio.run(direct.listed(config, org)) if found is None else found["keys"]
    head = ("ID", "NAME", "ORG", "SUBJECT", "ROLES", "OPENS", "SPENDS FOR", "EXPIRES", "STATE")
    emit({"keys": keys}, table(head, [_row(key) for key in keys]), as_json)


@app.command("revoke")
def revoke(
    key: Annotated[str, typer.Argument(help="Id or name of the key.")],
    url: Url = None,
    admin_key: AdminKey = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Revoke a key, for good. A running hub refuses it within a second and cuts its streams.

    Example: hub keys revoke alice
    """
    from hub.commands import api, direct

    gone = api.attempt("DELETE", f"/admin/v1/keys/{quote(key, safe='')}", admin_key, url, config)
    if gone is None:
        gone = asyncio.run(direct.revoke(config, key))
    emit(gone, f"Revoked {gone['revoked'].get('name') or key} ({gone['revoked'].get('id')}).", as_json)


def _instant(text: str) -> str:
    """An RFC 3339 time as given, or the time a span from now."""
    if not text or not (text[:-1].isascii() and text[:-1].isdigit() and text[-1] in _UNITS):
        return text
    try:
        end = datetime.now(UTC) + timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
    except OverflowError:
        raise Failed(f"--expires {text} lies too far ahead", code=2) from None
    return end.strftime("%Y-%m-%dT%H:%M:%SZ")


def _opens(grant: dict[str, Any]) -> str:
    """The doors of a grant: virtual servers as they are, models marked."""
    doors = [grant.get("virtual_server") or "", f"model:{grant['model']}" if grant.get("model") else ""]
    return ",".join(filter(None, doors)) or "-"


def _row(key: dict[str, Any]) -> tuple[str, ...]:
    opens = ",".join(_opens(grant) for grant in key.get("grants", ()))
    state = "revoked" if key.get("revoked") else "expired" if _past(str(key.get("expires") or "")) else "live"
    texts = (str(key.get(field) or "") for field in ("id", "name", "org", "subject"))
    spends = ",".join(f"{unit}:{key[unit]}" for unit in ("team", "project", "app", "user") if key.get(unit))
    return (*texts, ",".join(key.get("roles", ())), opens, spends, str(key.get("expires") or "never"), state)


def _past(expires: str) -> bool:
    return bool(expires) and datetime.fromisoformat(expires) <= datetime.now(UTC)
