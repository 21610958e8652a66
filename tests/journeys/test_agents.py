"""Agents of the OpenAI Agents SDK, of Pydantic AI and of Vercel's AI SDK, and LangChain's chat models, run through the hub: tools, streams and
typed answers, by every API they ask with.

They are in tests/clients/agents_python.py, vercel.mjs and langchain_python.py, the model behind them in tests/clients/actor.py.
"""

import json
import os
import subprocess
from collections.abc import Generator
from typing import Any, NamedTuple

import pytest

from tests.clients.actor import Actor
from tests.clients.expected import ADA, HELLO, RESULTS
from tests.journeys.test_sdks import CACHE, KEY, MODELS, NODE, PROGRAMS, config
from tests.support import provider as scripted
from tests.support.hub import ROOT, Hub
from tests.support.journal import records, verified

WAYS = {
    "python": ("agents-chat", "agents-responses", "pydantic-chat", "pydantic-responses", "pydantic-messages"),
    "js": ("vercel-chat", "vercel-responses", "vercel-messages"),
}
PYTHON = {"python": "agents_python.py", "langchain": "langchain_python.py"}
EACH = {
    "whole": RESULTS,
    "streamed": [RESULTS, RESULTS],
    "called": ["Bern", "Bern", "Rome", "Rome"],
    "tokens": 2 * 28,
    "person": ADA,
}


CHAT = {
    "whole": [HELLO, [20, 8, 28]],
    "streamed": [HELLO, [20, 8, 28]],
    "tools": [["Bern 1", "Rome 2"], RESULTS],
    "person": ADA,
    "error": [True, 429],
}
"""What a chat model of LangChain sees, by every way."""


class Place(NamedTuple):
    hub: Hub
    actor: Actor


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Generator[Place]:
    actor = Actor(KEY)
    with scripted.provider() as behind:
        hub = Hub(tmp_path_factory.mktemp("agents"), config(behind.url))
        hub.environment["PROVIDER_KEY"] = KEY
        behind.always = actor
        hub.start()
        try:
            actor.strangers |= set(hub.keys.values())
            yield Place(hub, actor)
        finally:
            assert hub.stop() == 0
    assert "Traceback" not in hub.log.read_text()
    verified(hub.database)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("language", list(WAYS))
def test_agents_with_tools_come_to_the_same_by_every_way_with_either_family(place: Place, language: str) -> None:
    said, ended = run(place, language)
    assert said == {f"{way} {model}": EACH for way in WAYS[language] for model in MODELS}
    assert ended == ["ok"] * 5 * len(WAYS[language]) * len(MODELS), "two rounds of each of two runs, and one for the person"


@pytest.mark.timeout(300)
def test_langchains_chat_models_see_the_same_by_every_way_with_either_family(place: Place) -> None:
    said, ended = run(place, "langchain")
    assert said == {f"{way} {model}": CHAT for way in ("chat", "responses", "messages") for model in MODELS}
    assert ended == ["ok", "ok", "ok", "ok", "ok", "error"] * 3 * len(MODELS)


def run(place: Place, language: str) -> tuple[Any, list[str]]:
    """What the clients saw, and how each of their calls ended. A program of Node.js is read from stdin, so that it finds the packages of the
    folder it runs in."""
    hub, actor = place
    before = len(records(hub.database))
    interpreter = str(CACHE / "agents" / "bin" / "python")
    program, command, where = b"", (interpreter, str(PROGRAMS / PYTHON.get(language, ""))), ROOT
    if language == "js":
        program, command, where = (PROGRAMS / "vercel.mjs").read_bytes(), NODE, CACHE / "sdks-js"
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    args = (*command, hub.url, hub.keys["ann"], *MODELS)
    done = subprocess.run(args, check=False, input=program, cwd=where, capture_output=True, env=environment, timeout=240)
    assert actor.problems == []
    assert done.returncode == 0, (done.stdout[-2000:].decode(), done.stderr[-6000:].decode())
    kept = [one for one in records(hub.database)[before:] if one["kind"].startswith("llm.") and "outcome" in one]
    return json.loads(done.stdout), [one["outcome"]["status"] for one in kept]
