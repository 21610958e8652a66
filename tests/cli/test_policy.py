"""`hub policy explain` on a journal with recorded decisions."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from hub.audit.checkpoint import Signer
from hub.audit.journal import Journal
from hub.audit.ledger_sqlite import SqliteLedger
from hub.audit.record import intent
from hub.call import Call, Caller, Credential, Grant, Target, new_id
from hub.commands.app import run
from hub.config.callers import Policies, PolicySpec
from hub.policy.decide import Places, Policy, ToolType
from hub.policy.snapshots_sqlite import SqliteSnapshots
from hub.store.sqlite import Database

TOOL = Target("git", "tool", "git_log")
SCHEMA = b'{"type":"object","properties":{"max_count":{"type":"integer"}}}'
RULE = '@id("no-bulk") forbid (principal, action == Hub::Action::"call_tool:git/git_log", resource) when { context.args has max_count && context.args.max_count > 100 };'
ARGUMENTS = b'{"max_count":500}'


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a call that was denied on account of an argument; the working directory is its hub's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HUB_CONFIG", raising=False)
    (tmp_path / "arguments").write_bytes(ARGUMENTS + b"\n")
    (tmp_path / "other").write_bytes(ARGUMENTS.replace(b"500", b"5"))
    return asyncio.run(record(tmp_path / ".hub" / "hub.db"))


async def record(path: Path) -> str:
    policies = Policies(sets={"house": PolicySpec(cedar=RULE)})
    policy = Policy.compile(policies, path.parent, [ToolType(TOOL, SCHEMA)], Places({"demo": "default"}))
    caller = Caller("default", "user:ann", "k1", (Grant(virtual_server="*"),))
    made = Call(
        new_id(),
        "mcp.tools.call",
        "tools/call",
        "demo",
        b"{}",
        Credential(),
        0.0,
        target=TOOL,
        arguments=json.loads(ARGUMENTS),
        committed=ARGUMENTS,
    )
    decision = policy.decide(made, caller)
    assert not decision.allow
    database = Database(path)
    database.open()
    journal = Journal(SqliteLedger(database), Signer(os.urandom(32)), build="test")
    await journal.open()
    await SqliteSnapshots(database).save(policy)
    await journal.append("default", intent(made, caller, decision, os.urandom(32)))
    await journal.close()
    await database.close()
    return made.id


def test_the_deciding_policy_is_named_and_the_arguments_are_asked_for(call: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "explain", call]) == 0
    told = capsys.readouterr().out
    assert "no-bulk" in told
    assert "give the request's `arguments`" in told


def test_with_the_arguments_that_were_sent_it_is_decided_again(call: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "explain", call, "--args", "arguments", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["outcome"] == "same"
    assert told["org"] == "default"


def test_other_arguments_do_not_match_the_commitment(call: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "explain", call, "--args", "other"]) == 0
    assert "do not match" in capsys.readouterr().out


def test_an_unknown_call_and_a_missing_file_are_one_sentence(call: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "explain", "nope"]) == 1
    assert run(["policy", "explain", call, "--args", "missing"]) == 1
    assert capsys.readouterr().err.splitlines() == ["hub: the journal has no call nope", "hub: No such file or directory: missing"]


def test_tail_follows_what_comes(call: str, tmp_path: Path) -> None:
    async def follow() -> list[str]:
        command = [sys.executable, "-m", "hub.cli", "audit", "tail", "-n", "1", "--follow", "--json"]
        environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        reader = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, env=environ, stdout=asyncio.subprocess.PIPE)
        assert reader.stdout is not None
        try:
            seen = [json.loads(await asyncio.wait_for(reader.stdout.readline(), 30))]
            await record(tmp_path / ".hub" / "hub.db")
            seen += [json.loads(await asyncio.wait_for(reader.stdout.readline(), 30)) for _ in range(2)]
        finally:
            reader.kill()
            await reader.wait()
        return [entry["record"]["kind"] for entry in seen]

    assert asyncio.run(follow()) == ["mcp.tools.call.intent", "mcp.tools.call.outcome", "mcp.tools.call.intent"]
