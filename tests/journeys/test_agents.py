"""Agents of the OpenAI Agents SDK and of Pydantic AI run through the hub: tools, streams and typed answers, by every API they ask with.

The agents are in tests/clients/agents_python.py, the model behind them in tests/clients/actor.py.
"""

import json
import os
import subprocess
from pathlib import Path

from tests.clients.actor import Actor
from tests.clients.expected import ADA, RESULTS
from tests.journeys.test_sdks import CACHE, KEY, MODELS, PROGRAMS, config
from tests.support import provider as scripted
from tests.support.hub import Hub
from tests.support.journal import records, verified

WAYS = ("agents-chat", "agents-responses", "pydantic-chat", "pydantic-responses", "pydantic-messages")
EACH = {
    "whole": RESULTS,
    "streamed": [RESULTS, RESULTS],
    "called": ["Bern", "Bern", "Rome", "Rome"],
    "tokens": 2 * 28,
    "person": ADA,
}


def test_agents_with_tools_come_to_the_same_by_every_way_with_either_family(tmp_path: Path) -> None:
    actor = Actor(KEY)
    with scripted.provider() as behind:
        hub = Hub(tmp_path, config(behind.url))
        hub.environment["PROVIDER_KEY"] = KEY
        behind.always = actor
        hub.start()
        try:
            actor.strangers |= set(hub.keys.values())
            program = [str(CACHE / "agents" / "bin" / "python"), str(PROGRAMS / "agents_python.py")]
            environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
            command = [*program, hub.url, hub.keys["ann"], *MODELS]
            done = subprocess.run(command, check=False, capture_output=True, env=environment, timeout=110)
        finally:
            assert hub.stop() == 0
    assert actor.problems == []
    assert done.returncode == 0, (done.stdout[-2000:].decode(), done.stderr[-6000:].decode())
    seen = json.loads(done.stdout)
    versions = seen.pop("versions")
    assert [version.partition(".")[0] for version in versions] == ["3", "2"]
    assert seen == {f"{way} {model}": EACH for way in WAYS for model in MODELS}
    ended = [one["outcome"]["status"] for one in records(hub.database) if one["kind"].startswith("llm.") and "outcome" in one]
    assert ended == ["ok"] * 5 * len(WAYS) * len(MODELS), "two rounds of each of two runs, and one for the person"
    assert "Traceback" not in hub.log.read_text()
    verified(hub.database)
