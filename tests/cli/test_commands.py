"""The `hub` command as a program: what it prints, where, and how it ends."""

import contextlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.commands.app import run
from tests.support.journal import changes

ROOT = Path(__file__).parents[2]


class Shell:
    """Runs `hub` in a folder of its own, without this process's hub variables: in this process, or with `program` in one of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {k: v for k, v in os.environ.items() if not k.startswith("HUB_")} | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}

    def __call__(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        before = Path.cwd(), dict(os.environ)
        try:
            os.chdir(self.folder)
            os.environ.clear()
            os.environ.update(self.environ | environ)
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = run(arguments)
        finally:
            os.chdir(before[0])
            os.environ.clear()
            os.environ.update(before[1])
        said, told = (stream.buffer.getvalue().decode() for stream in (out, err))
        return subprocess.CompletedProcess(arguments, code, said, told)

    def program(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "hub.cli", *arguments]
        return subprocess.run(command, cwd=self.folder, env=self.environ | environ, capture_output=True, text=True, timeout=60, check=False)

    def json(self, *arguments: str, code: int = 0, **environ: str) -> Any:
        done = self(*arguments, "--json", **environ)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)

    def fails(self, *arguments: str, code: int = 1, **environ: str) -> str:
        """The one sentence on stderr."""
        done = self(*arguments, **environ)
        assert done.returncode == code, done.stderr
        assert done.stdout == ""
        return done.stderr.strip()


@pytest.fixture
def hub(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_help_names_every_command_and_each_has_help_with_an_example(hub: Shell) -> None:
    top = hub.program("--help")
    assert top.returncode == 0
    for command in ("serve", "init", "check", "schema", "connect", "keys", "policy", "prices", "db", "audit"):
        assert f"\n  {command} " in top.stdout
    lines = ["serve", "init", "check", "schema", "connect", "keys create", "keys mint", "keys list", "keys revoke", "policy explain"]
    lines += ["prices show", "prices status", "prices diff", "prices refresh", "prices confirm", "prices reject"]
    lines += ["db status", "db migrate", "audit tail", "audit prove", "audit export", "audit verify", "audit key"]
    for line in lines:
        shown = hub(*line.split(), "--help")
        assert shown.returncode == 0, line
        assert "Example: " in shown.stdout, line
        assert line == "serve" or "--json" in shown.stdout, line


def test_help_comes_quickly_and_loads_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "hub.cli", "--help"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    loaded = {line.rsplit("|", 1)[-1].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert not loaded & {"yaml", "cryptography", "jsonschema", "aiohttp", "starlette", "mcp", "cedarpy", "markdown_it"}


def test_serve_with_good_options_loads_neither_typer_nor_rich() -> None:
    code = "import sys; from hub.cli import plain_serve as p; print(p(['serve', '--port=0', '-c', 'x']), {'typer', 'rich', 'click'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "ServeOptions(config=PosixPath('x'), host=None, port=0, workers=None) set()"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nope"],
        ["keys", "crate"],
        ["serve", "--port", "x"],
        ["serve", "--port", "70000"],
        ["serve", "--workers", "0"],
        ["serve", "--bogus"],
        ["serve", "--workers", "2"],
        ["connect", "emacs", "--server", "demo"],
        ["check"],
        ["keys", "create", "bob"],
        ["keys", "create", "bob", "--server", "x", "--expires", "999999999999d"],
        ["audit", "export", "--json"],
        ["audit", "verify", "nothing", "--key", "x"],
    ],
)
def test_wrong_usage_is_exit_code_2(hub: Shell, arguments: list[str]) -> None:
    done = hub(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr


def test_the_program_ends_with_the_exit_code_and_speaks_on_the_right_stream(hub: Shell) -> None:
    for arguments, code in (
        (["keys", "crate"], 2),
        (["serve", "--workers", "2"], 2),
        (["db", "status"], 1),
        (["audit", "tail", "--json"], 1),
    ):
        done = hub.program(*arguments)
        assert done.returncode == code, arguments
        assert "Traceback" not in done.stderr
        assert done.stderr
        assert not done.stdout or "error" in json.loads(done.stdout)
    minted = hub.program("keys", "mint", "--json")
    assert minted.returncode == 0
    assert json.loads(minted.stdout)["key"].startswith("hub_")


def test_init_writes_a_configuration_that_checks_and_never_overwrites_it(hub: Shell) -> None:
    path = hub.folder / "new" / "hub.yaml"
    assert hub.json("init", "new") == {"written": "new/hub.yaml"}
    path.write_text(path.read_text() + "# mine\n")
    assert "already there" in hub.fails("init", "new")
    assert path.read_text().endswith("# mine\n")
    assert hub.json("check", "new/hub.yaml")["ok"] is True
    assert hub("init", "new", "--force").returncode == 0
    assert not path.read_text().endswith("# mine\n")


def test_check_reports_every_problem_with_its_line(hub: Shell) -> None:
    (hub.folder / "hub.yaml").write_text("server:\n  prot: 1\n  drain: x\n")
    assert hub.fails("check", "hub.yaml").splitlines() == [
        "hub.yaml:2:3: server.prot: unknown key; did you mean `port`?",
        "hub.yaml:3:10: server.drain: expected a number",
    ]
    told = hub.json("check", "hub.yaml", code=1)
    assert told["ok"] is False
    assert [problem["line"] for problem in told["problems"]] == [2, 3]
    assert "cannot be read" in hub.fails("check", "none.yaml")


def test_check_knows_keys_and_policies(hub: Shell) -> None:
    key = hub.json("keys", "mint")["key"]
    (hub.folder / "hub.yaml").write_text('keys: [{name: ci, secret: "${K}"}]\npolicies: {sets: {a: {cedar: "${P}"}}}\n')
    good = "forbid (principal, action, resource);"
    assert hub.json("check", "hub.yaml", K=key, P=good)["keys"] == 1
    mistyped = hub.fails("check", "hub.yaml", K=key[:-1] + ("a" if key[-1] != "a" else "b"), P=good)
    assert "`hub keys mint`" in mistyped
    assert key[10:40] not in mistyped
    assert hub.fails("check", "hub.yaml", K=key, P="forbid (")


def test_schema_and_reference_are_printed(hub: Shell) -> None:
    schema = hub("schema")
    assert json.loads(schema.stdout)["title"] == "hub.yaml"
    assert hub("schema", "--reference").stdout == (ROOT / "docs" / "configuration.md").read_text()


@pytest.mark.parametrize("client", ["claude-code", "vscode", "cursor", "inspector"])
def test_connect_prints_what_to_paste(hub: Shell, client: str) -> None:
    (hub.folder / "hub.yaml").write_text('server: {host: 0.0.0.0, port: 9000}\nkeys: [{name: a, secret: "${UNSET}"}]\n')
    done = hub("connect", client, "--server", "demo", "--key", "hub_k")
    assert done.returncode == 0
    assert "http://127.0.0.1:9000/mcp/demo" in done.stdout
    assert "Authorization" in done.stdout
    assert "Bearer hub_k" in done.stdout
    without = hub("connect", client, "--server", "demo", "--url", "https://hub.example/")
    assert "https://hub.example/mcp/demo" in without.stdout
    assert ("hub-key" if client == "vscode" else "HUB_KEY") in without.stdout
    if client in {"vscode", "cursor"}:
        json.loads(done.stdout)
        json.loads(without.stdout)


def test_a_minted_key_has_the_format_and_is_stored_nowhere(hub: Shell) -> None:
    from hub.identity.keys import parse

    minted = hub.json("keys", "mint")
    parsed = parse(minted["key"])
    assert parsed is not None
    assert parsed.id == minted["id"]
    assert list(hub.folder.iterdir()) == []


def test_commands_that_read_say_where_there_is_no_database(hub: Shell) -> None:
    for command in (["db", "status"], ["keys", "list"], ["audit", "tail"], ["policy", "explain", "x"]):
        assert "no database at" in hub.fails(*command)
        assert "error" in hub.json(*command, code=1)


def test_a_broken_configuration_is_told_also_by_commands_on_data(hub: Shell) -> None:
    (hub.folder / "hub.yaml").write_text("stores: {database: 'postgresql://x'}")
    assert "names no database" in hub.fails("keys", "list")


def test_a_key_can_be_made_for_models(hub: Shell) -> None:
    made = hub.json("keys", "create", "shop", "--model", "fast", "-m", "openai:*", "--deny", "openai/gpt-5")
    assert [(grant["model"], grant["deny"]) for grant in made["info"]["grants"]] == [
        ("fast", ["openai/gpt-5"]),
        ("openai:*", ["openai/gpt-5"]),
    ]
    assert "model:fast,model:openai:*" in hub("keys", "list").stdout


def test_keys_are_made_listed_and_revoked_in_the_database_of_a_stopped_hub(hub: Shell) -> None:
    made = hub.json("keys", "create", "alice", "--subject", "user:alice", "--server", "demo", "--tool", "time/*", "--expires", "1h")
    assert made["key"].startswith("hub_")
    assert made["info"]["grants"][0]["tools"] == ["time/*"]
    assert "called 'alice'" in hub.fails("keys", "create", "alice", "--server", "demo")
    assert "cannot be made" in hub.fails("keys", "create", "Bob!", "--server", "demo")
    (listed,) = hub.json("keys", "list")["keys"]
    assert listed["subject"] == "user:alice"
    assert hub.json("keys", "list", "--org", "acme")["keys"] == []
    assert hub.json("keys", "revoke", "alice")["revoked"]["id"] == listed["id"]
    assert "no live key" in hub.fails("keys", "revoke", "alice")
    assert "revoked" in hub("keys", "list").stdout
    assert changes([entry["record"] for entry in hub.json("audit", "tail")]) == ["admin.key.create", "admin.key.revoke"]
    for path in (hub.folder / ".hub").rglob("*"):
        assert path.is_dir() or made["key"].encode() not in path.read_bytes()


def test_evidence_is_taken_out_and_verified_elsewhere(hub: Shell, tmp_path: Path) -> None:
    hub("keys", "create", "a", "--role", "auditor")
    hub("keys", "create", "b", "--role", "auditor")
    key = hub("audit", "key").stdout.strip()
    (hub.folder / "kept").write_text(hub("audit", "key", "--checkpoint").stdout)
    assert hub.json("audit", "export", "--out", "e.jsonl")["to"] == 4
    assert hub("audit", "export").stdout == (hub.folder / "e.jsonl").read_text()
    elsewhere = Shell(tmp_path / "elsewhere")
    elsewhere.folder.mkdir()
    export = str(hub.folder / "e.jsonl")
    assert elsewhere.json("audit", "verify", export, "--key", key, code=3)["reservations"]
    assert elsewhere.json("audit", "verify", export, "--key", key, "--checkpoint", str(hub.folder / "kept"))["ok"] is True
    (hub.folder / "bad.jsonl").write_text((hub.folder / "e.jsonl").read_text().replace("auditor", "auditer", 1))
    told = elsewhere("audit", "verify", str(hub.folder / "bad.jsonl"), "--key", key)
    assert told.returncode == 1
    assert "First bad: record 0" in told.stdout
    call = hub.json("audit", "tail", "-n", "1")[0]["record"]["id"]
    assert hub("audit", "prove", call, "--out", "p.proof").returncode == 0
    assert elsewhere("audit", "verify", str(hub.folder / "p.proof"), "--key", key).returncode == 0
    assert "no record of" in hub.fails("audit", "prove", "nope")
    assert "no log of" in hub.fails("audit", "tail", "--org", "nobody")
    assert "holds no decision" in hub("policy", "explain", call).stdout


def test_migrations_are_shown_and_applied(hub: Shell) -> None:
    assert hub.json("db", "migrate")["applied"]
    assert hub.json("db", "migrate")["applied"] == []
    status = hub.json("db", "status")
    assert status["pending"] == []
    assert status["in_use"] is False


@pytest.fixture
def running(hub: Shell) -> Iterator[dict[str, str]]:
    (hub.folder / "hub.yaml").write_text("server: {port: 0}\n")
    with (hub.folder / "out").open("w") as out:
        process = subprocess.Popen([sys.executable, "-m", "hub.cli", "serve"], cwd=hub.folder, env=hub.environ, stdout=out, stderr=out)
    try:
        first, end = hub.folder / ".hub" / "first-run", time.monotonic() + 30
        while not (first.exists() and "API key" in first.read_text()):
            assert process.poll() is None, (hub.folder / "out").read_text()
            assert time.monotonic() < end
            time.sleep(0.02)
        words = first.read_text().split()
        url = next(word.strip(".:;") for word in words if word.startswith("http://"))
        yield {"HUB_ADMIN_KEY": next(word for word in words if word.startswith("hub_")), "HUB_URL": url}
    finally:
        process.terminate()
        process.wait(30)


def test_a_running_hub_is_asked_and_its_database_left_alone(hub: Shell, running: dict[str, str]) -> None:
    assert "give its admin key" in hub.fails("keys", "create", "x", "--server", "demo")
    assert "the hub is running" in hub.fails("db", "migrate")
    made = hub.json("keys", "create", "x", "--server", "demo", **running)
    assert made["info"]["name"] == "x"
    assert "x" in [key["name"] for key in hub.json("keys", "list", **running)["keys"]]
    assert "x" in [key["name"] for key in hub.json("keys", "list")["keys"]]
    refused = hub("keys", "create", "x", "--server", "demo", "--json", **running)
    assert refused.returncode == 1
    assert json.loads(refused.stdout)["error"]
    assert hub.json("keys", "revoke", "x", **running)["revoked"]["name"] == "x"
    assert hub.json("db", "status")["in_use"] is True
    assert "admin.key.revoke" in changes([entry["record"] for entry in hub.json("audit", "tail")])
    assert "hub key is required" in hub.fails("keys", "list", HUB_URL=running["HUB_URL"], HUB_ADMIN_KEY="hub_wrong")
    assert "another" not in hub.fails("keys", "list", HUB_URL="http://127.0.0.1:1", HUB_ADMIN_KEY="hub_wrong")
    assert "cannot be sent" in hub.fails("keys", "list", HUB_URL=running["HUB_URL"], HUB_ADMIN_KEY="a\nb", code=2)
