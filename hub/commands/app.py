"""The command tree, and how a run of it ends: one sentence for a fault, and the exit code."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from hub.commands import audit, budgets, check, connect, content, db, init, keys, policy, prices, schema, serve, usage, vault
from hub.commands.output import Failed, encoded

app = typer.Typer(
    name="hub",
    help="Countersign: a governance hub for AI agents. Every call is authenticated, authorised, limited and recorded, "
    "and anyone can verify the record.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # Rich's help would read a Markdown parser first: half a second for `hub --help`
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve")(serve.serve)
app.command("init")(init.init)
app.command("check")(check.check)
app.command("schema")(schema.schema)
app.command("connect")(connect.connect)
app.add_typer(keys.app, name="keys")
app.add_typer(vault.app, name="vault")
app.add_typer(budgets.app, name="budgets")
app.add_typer(content.app, name="content")
app.add_typer(policy.app, name="policy")
app.add_typer(prices.app, name="prices")
app.add_typer(usage.app, name="usage")
app.add_typer(db.app, name="db")
app.add_typer(audit.app, name="audit")


def _version(wanted: bool) -> None:
    if wanted:
        from hub import __version__

        typer.echo(f"hub {__version__}")
        raise typer.Exit


@app.callback()
def _root(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False) -> None:
    del version


def run(arguments: Sequence[str]) -> int:
    """Run a command line; the exit code."""
    as_json = "--json" in arguments
    try:
        return int(app(list(arguments), prog_name="hub", standalone_mode=False) or 0)
    except Failed as failure:
        return _fail(failure, as_json)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        sys.stdout = None
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        return _told(error, as_json)


def _told(error: Exception, as_json: bool) -> int:
    """Faults that are not our own: those of the command line, and those of files and stores."""
    import sqlite3

    from hub.refusal import Refusal
    from hub.store.base import LaterVersion

    show = getattr(error, "show", None)
    if callable(show):  # a usage error of the command line says itself what to do
        show()
        return int(getattr(error, "exit_code", 2))
    if isinstance(error, Refusal):
        why = f" ({error.detail})" if error.detail else ""  # whoever has the command line is the operator
        return _fail(Failed(f"{error.message}{why}", data={"code": error.code}), as_json)
    if isinstance(error, LaterVersion):
        return _fail(Failed(str(error)), as_json)
    if isinstance(error, OSError):
        where = f": {Path(str(error.filename))}" if error.filename else ""
        return _fail(Failed(f"{error.strerror or error}{where}"), as_json)
    if isinstance(error, sqlite3.Error):
        return _fail(Failed(f"the database cannot be used: {error}"), as_json)
    raise error


def _fail(failure: Failed, as_json: bool) -> int:
    typer.echo(f"hub: {failure.message}", err=True)
    if as_json:
        typer.echo(encoded({"error": failure.message, **failure.data}))
    return failure.code
