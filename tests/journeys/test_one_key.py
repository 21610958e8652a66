"""Agents with one key for both: their tools from a virtual server of the hub, their model from its `/v1`, and one record of all they did.

The agents are in tests/clients/one_key.py. The model behind plays by the results of tools that its agent shows it.
"""

import json
import os
import subprocess
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import pytest

from tests.journeys.test_sdks import CACHE, PROGRAMS
from tests.support import provider as scripted
from tests.support.hub import ROOT, Hub, wait_for
from tests.support.journal import records, verified
from tests.support.servers import SDK, stdio

TASK = "Add 2 and 40, and say it aloud."
SECRET = "Say the secret aloud, then add 2 and 40."
NARROWED = "Say hello, then add 2 and 40."
PLANS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    TASK: [("add", {"a": 2, "b": 40}), ("echo", {"text": "It is 42."})],
    SECRET: [("echo", {"text": "secret"}), ("add", {"a": 2, "b": 40})],
    NARROWED: [("echo", {"text": "Hello."}), ("add", {"a": 2, "b": 40})],
}
"""The tools a model calls for each task, one a round. It then says what each of them gave."""

FORBID = (
    '@id("no-secrets") forbid (principal, action == Hub::Action::"call_tool:office/echo", resource) when { context.args.text == "secret" };'
)
FRAMEWORKS = ("agents", "pydantic")
KINDS = {"agents": "llm.responses", "pydantic": "llm.messages"}
RUNS = [
    (framework, f"{name}-{framework}", task)
    for name, task in (("clerk", TASK), ("clerk", SECRET), ("poor", TASK))
    for framework in FRAMEWORKS
]
RUNS.append((FRAMEWORKS[0], f"clerk-{FRAMEWORKS[0]}", NARROWED))


def config(url: str, notes: str, tools: tuple[str, ...] = ("*",)) -> dict[str, Any]:
    grants = [{"virtual_server": "desk", "tools": list(tools)}, {"model": "*"}]
    names = [f"{name}-{framework}" for name in ("clerk", "poor") for framework in FRAMEWORKS]
    return {
        "keys": [{"name": "root", "roles": ["admin"]}, *({"name": name, "subject": f"app:{name}", "grants": grants} for name in names)],
        "upstreams": {"office": stdio(SDK, "stdio", notes)},
        "virtual_servers": {"desk": {"include": [{"from": "office", "tools": ["add", "echo"], "prompts": [], "resources": []}]}},
        "providers": {
            "openai": {"wire": "openai", "base_url": f"{url}/v1", "like": "openai"},
            "claude": {"wire": "anthropic", "base_url": url, "like": "anthropic"},
        },
        "models": {
            "fast": {"route": [{"provider": "openai", "model": "gpt-5-mini"}]},
            "wise": {"route": [{"provider": "claude", "model": "claude-opus-4-5"}]},
        },
        "budgets": [{"name": "two-rounds", "scope": "key", "match": "poor-*", "window": "lifetime", "requests": 2}],
        "policies": {"sets": {"words": {"cedar": FORBID}}},
        "server": {"drain": 1},
    }


class Model:
    """Behind the provider. `narrow` is called before it names the second tool of the last task."""

    def __init__(self) -> None:
        self.narrow: Callable[[], None] = lambda: None

    def __call__(self, asked: scripted.Asked) -> scripted.Reply:
        body = asked.json
        task, results = _read(body)
        plan = PLANS[task]
        if task == NARROWED and len(results) == 1:
            self.narrow()
        if len(results) < len(plan):
            return scripted.whole(_calling(asked.path, body["model"], len(results), *plan[len(results)]))
        return scripted.whole(_saying(asked.path, body["model"], " | ".join(results)))


class Done(NamedTuple):
    hub: Hub
    runs: dict[str, dict[str, Any]]
    """What came of each, by the key's name and the task."""
    kept: list[dict[str, Any]]
    """The outcomes in the journal, in order."""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Generator[Done]:
    folder = tmp_path_factory.mktemp("one-key")
    model = Model()
    with scripted.provider() as behind:
        behind.always = model
        hub = Hub(folder, config(behind.url, str(folder / "notes"))).start().settled("office")
        model.narrow = lambda: narrow(hub, behind.url, str(folder / "notes"))
        try:
            runs = run(hub)
        finally:
            assert hub.stop() == 0
        kept = [one for one in records(hub.database) if "outcome" in one]
        yield Done(hub, runs, kept)
    assert "Traceback" not in hub.log.read_text()
    verified(hub.database)


def narrow(hub: Hub, url: str, notes: str) -> None:
    """Take `add` from every key while an agent runs that knows of it."""
    before = hub.status()["config"]
    hub.configure(config(url, notes, ("echo",)))
    wait_for(lambda: hub.status()["config"] != before)


def run(hub: Hub) -> dict[str, dict[str, Any]]:
    args = [part for framework, name, task in RUNS for part in (framework, hub.keys[name], task)]
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    command = (str(CACHE / "agents" / "bin" / "python"), str(PROGRAMS / "one_key.py"), hub.url)
    ended = subprocess.run([*command, *args], check=False, cwd=ROOT, capture_output=True, env=environment, timeout=240)
    assert ended.returncode == 0, (ended.stdout[-2000:].decode(), ended.stderr[-6000:].decode())
    return {f"{name} {task}": said for (_, name, task), said in zip(RUNS, json.loads(ended.stdout), strict=True)}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_its_tools_and_its_model_are_one_trace_of_one_key(done: Done, framework: str) -> None:
    found = done.runs[f"clerk-{framework} {TASK}"]
    added, said = found["said"].split(" | ")
    assert "42" in added
    assert "It is 42." in said
    mine = of_trace(done, found["trace"])
    assert [one["kind"] for one in mine if one["kind"].startswith("llm.")] == [f"{KINDS[framework]}.outcome"] * 3
    assert [str(one["target"]["name"]) for one in mine if one["kind"].startswith("mcp.tools.call")] == ["add", "echo"]
    assert {one["actor"]["sub"] for one in mine} == {f"app:clerk-{framework}"}
    assert {one["outcome"]["status"] for one in mine} == {"ok"}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_tool_that_policy_refuses_is_an_error_it_goes_on_with(done: Done, framework: str) -> None:
    found = done.runs[f"clerk-{framework} {SECRET}"]
    refused, added = found["said"].split(" | ")
    assert "policy does not allow" in refused
    assert "42" in added
    calls = [one for one in of_trace(done, found["trace"]) if one["kind"].startswith("mcp.tools.call")]
    assert [one["outcome"]["status"] for one in calls] == ["refused", "ok"]


def test_a_tool_that_is_taken_from_its_grants_meanwhile_is_one_too(done: Done) -> None:
    said = done.runs[f"clerk-{FRAMEWORKS[0]} {NARROWED}"]["said"].split(" | ")
    assert "Hello." in said[0]
    assert "no-grant" in said[1]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_budget_that_runs_out_ends_it_with_its_sdks_own_error(done: Done, framework: str) -> None:
    found = done.runs[f"poor-{framework} {TASK}"]
    assert found["limited"], found
    assert "two-rounds" in found["why"]
    mine = of_trace(done, found["trace"])
    asked = [one["outcome"]["status"] for one in mine if one["kind"].startswith("llm.")]
    assert asked == ["ok", "ok", "refused"], "it is not asked again where waiting is pointless"
    assert [one["outcome"]["status"] for one in mine if one["kind"].startswith("mcp.tools.call")] == ["ok", "ok"]


def of_trace(done: Done, trace: str) -> list[dict[str, Any]]:
    return [one for one in done.kept if one.get("trace") == trace]


def _read(body: dict[str, Any]) -> tuple[str, list[str]]:
    """The task, and what the tools gave so far, in the words of Responses or of Messages."""
    turns: list[Any] = body["input"] if "input" in body else body["messages"]
    if isinstance(turns, str):
        return turns, []
    parts = [part for turn in turns for part in ([turn] if "input" in body else _parts(turn))]
    texts = [str(part.get("text") or part.get("content")) for part in parts if part.get("role") == "user" or part.get("type") == "text"]
    results = [part["output"] for part in parts if part.get("type") == "function_call_output"]
    results += [part["content"] for part in parts if part.get("type") == "tool_result"]
    return texts[0], [one if isinstance(one, str) else json.dumps(one) for one in results]


def _parts(turn: dict[str, Any]) -> list[dict[str, Any]]:
    content = turn["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _calling(path: str, model: str, number: int, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    if path == "/v1/messages":
        block = {"type": "tool_use", "id": f"toolu_{number}", "name": tool, "input": arguments}
        return scripted.messages_whole(model) | {"content": [block], "stop_reason": "tool_use"}
    call = {"type": "function_call", "id": f"fc_{number}", "call_id": f"call_{number}", "name": tool, "arguments": json.dumps(arguments)}
    return scripted.responses_whole(model) | {"output": [call | {"status": "completed"}]}


def _saying(path: str, model: str, text: str) -> dict[str, Any]:
    if path == "/v1/messages":
        return scripted.messages_whole(model) | {"content": [{"type": "text", "text": text}]}
    answer = scripted.responses_whole(model)
    answer["output"][0]["content"][0]["text"] = text
    return answer
