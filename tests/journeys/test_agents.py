"""Agents of the OpenAI Agents SDK, of Pydantic AI and of Vercel's AI SDK run through the hub: tools, streams and typed answers, by every API
they ask with.

The agents are in tests/clients/agents_python.py and vercel.mjs, the model behind them in tests/clients/actor.py.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.clients.actor import Actor
from tests.clients.expected import ADA, RESULTS
from tests.journeys.test_sdks import CACHE, KEY, MODELS, NODE, PROGRAMS, config
from tests.support import provider as scripted
from tests.support.hub import ROOT, Hub
from tests.support.journal import records, verified

WAYS = {
    "python": ("agents-chat", "agents-responses", "pydantic-chat", "pydantic-responses", "pydantic-messages"),
    "js": ("vercel-chat", "vercel-responses", "vercel-messages"),
}
EACH = {
    "whole": RESULTS,
    "streamed": [RESULTS, RESULTS],
    "called": ["Bern", "Bern", "Rome", "Rome"],
    "tokens": 2 * 28,
    "person": ADA,
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("language", list(WAYS))
def test_agents_with_tools_come_to_the_same_by_every_way_with_either_family(tmp_path: Path, language: str) -> None:
    actor = Actor(KEY)
    with scripted.provider() as behind:
        hub = Hub(tmp_path, config(behind.url))
        hub.environment["PROVIDER_KEY"] = KEY
        behind.always = actor
        hub.start()
        try:
            actor.strangers |= set(hub.keys.values())
            done = run(language, hub.url, hub.keys["ann"], *MODELS)
        finally:
            assert hub.stop() == 0
    assert actor.problems == []
    assert done.returncode == 0, (done.stdout[-2000:].decode(), done.stderr[-6000:].decode())
    assert json.loads(done.stdout) == {f"{way} {model}": EACH for way in WAYS[language] for model in MODELS}
    ended = [one["outcome"]["status"] for one in records(hub.database) if one["kind"].startswith("llm.") and "outcome" in one]
    assert ended == ["ok"] * 5 * len(WAYS[language]) * len(MODELS), "two rounds of each of two runs, and one for the person"
    assert "Traceback" not in hub.log.read_text()
    verified(hub.database)


def run(language: str, *args: str) -> "subprocess.CompletedProcess[bytes]":
    """A program of Node.js is read from stdin, so that it finds the packages of the folder it runs in."""
    python = (str(CACHE / "agents" / "bin" / "python"), str(PROGRAMS / "agents_python.py"))
    program, command, where = (
        (b"", python, ROOT) if language == "python" else ((PROGRAMS / "vercel.mjs").read_bytes(), NODE, CACHE / "sdks-js")
    )
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    return subprocess.run([*command, *args], check=False, input=program, cwd=where, capture_output=True, env=environment, timeout=240)
