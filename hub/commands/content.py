"""`hub content`: what organisations that opted in keep of questions and answers. By the running hub alone, which records who reads."""

from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from hub.commands.options import AdminKey, Config, Json, Url
from hub.commands.output import Failed, emit, table

app = typer.Typer(help="Captured content: questions to models and their answers, where an organisation keeps them.", no_args_is_help=True)

_AT = "/admin/v1/contents"
_Call = Annotated[str, typer.Argument(help="The call, as `x-request-id` and its records name it.")]


@app.command("list")
def list_contents(
    org: Annotated[str | None, typer.Option("--org", help="Organisation; default: all.", show_default=False)] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Parts at most.")] = 50,
    url: Url = None,
    admin_key: AdminKey = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """List what is kept, the newest first, without showing any of it.

    Example: hub content list --org acme
    """
    query = urlencode({"limit": limit, **({"org": org} if org else {})})
    contents: list[dict[str, Any]] = _asked("GET", f"{_AT}?{query}", admin_key, url, config)["contents"]
    head = ("CALL", "PART", "ORG", "DAY", "KIND", "MODEL", "SUBJECT", "BYTES")
    rows = [tuple(str(one[name]) for name in ("id", "part", "org", "day", "kind", "door", "sub", "size")) for one in contents]
    emit({"contents": contents}, table(head, rows), as_json)


@app.command("show")
def show(call: _Call, url: Url = None, admin_key: AdminKey = None, config: Config = None, as_json: Json = False) -> None:
    """Show the question and the answer of one call. That they were read, and by whom, is recorded.

    Example: hub content show 0198c1a2-…
    """
    found = _asked("GET", f"{_AT}/{quote(call, safe='')}", admin_key, url, config)
    parts: list[dict[str, Any]] = found["parts"]
    text = "\n".join(f"--- {part['part']}, {part['size']} bytes{', cut' if part['cut'] else ''}\n{part['content']}" for part in parts)
    emit(found, text, as_json)


@app.command("erase")
def erase(call: _Call, url: Url = None, admin_key: AdminKey = None, config: Config = None, as_json: Json = False) -> None:
    """Take away what is kept of one call. Its records, which hold nothing of it, stay.

    Example: hub content erase 0198c1a2-…
    """
    emit(_asked("DELETE", f"{_AT}/{quote(call, safe='')}", admin_key, url, config), f"Erased what was kept of {call}.", as_json)


def _asked(method: str, path: str, key: str | None, url: str | None, config: Any) -> Any:
    from hub.commands import api

    answer = api.attempt(method, path, key, url, config)
    if answer is None:
        raise Failed("this needs a running hub, and a key with the role for it: give --admin-key or HUB_ADMIN_KEY")
    return answer
