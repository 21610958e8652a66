"""The official SDKs of two generations, in Python and JavaScript, against the hub: everything an app does with them, on either family.

Each client is a small program in tests/clients, run in its generation's own environment; the provider behind (tests/clients/actor.py)
checks what it gets. What each sees is the same (tests/clients/expected.py): one model's words, however its provider speaks.
"""

import json
import os
import subprocess
from collections.abc import Generator
from typing import Any, NamedTuple

import pytest

from tests.clients import expected
from tests.clients.actor import Actor
from tests.support import provider as scripted
from tests.support.hub import ROOT, Hub
from tests.support.journal import records, verified

KEY = "sk-canary-8d41c7f0e2"
PROGRAMS = ROOT / "tests" / "clients"
CACHE = ROOT / ".cache"
NODE = (str(CACHE / "tests" / "bin" / "node"), "--input-type=module", "-")
NEWEST, BEFORE = str(ROOT / ".venv" / "bin" / "python"), str(CACHE / "sdks-before" / "bin" / "python")
MODELS = ("fast", "wise")


class Client(NamedTuple):
    """`betas`: it asks betas of Anthropic's API by `?beta=true` too. `version` is how its version begins; `stdin` a program of Node.js, which is read from there so that it finds the packages of the
    folder it runs in; `names` what this generation calls errors of which others say less."""

    name: str
    command: tuple[str, ...]
    version: str
    stdin: str = ""
    names: dict[int, str] | None = None
    betas: bool = False


OPENAI = (
    Client("openai-python-3", (NEWEST, str(PROGRAMS / "openai_python.py")), "3."),
    Client("openai-python-2", (BEFORE, str(PROGRAMS / "openai_python.py")), "2."),
    Client("openai-js-7", (*NODE, "openai"), "7.", "openai.mjs"),
    Client("openai-js-6", (*NODE, "openai-before"), "6.", "openai.mjs"),
)
_NEWER, _OLDER = {413: "ContentTooLargeError", 529: "OverloadedError"}, {413: "RequestTooLargeError", 529: "OverloadedError"}
ANTHROPIC = (
    Client("anthropic-python-2", (NEWEST, str(PROGRAMS / "anthropic_python.py")), "2.", names=_NEWER),
    Client("anthropic-python-1", (BEFORE, str(PROGRAMS / "anthropic_python.py")), "1.", names=_OLDER, betas=True),
    Client("anthropic-js-1", (*NODE, "@anthropic-ai/sdk"), "1.", "anthropic.mjs", _NEWER),
    Client("anthropic-js-0", (*NODE, "@anthropic-ai/sdk-before"), "0.", "anthropic.mjs", {413: "APIError"}, betas=True),
)


def config(url: str) -> dict[str, Any]:
    grants = [{"model": "*"}]
    key = "${PROVIDER_KEY}"
    names = [f"{kind}-{client.name}" for client in OPENAI + ANTHROPIC for kind in ("slow", "spent")]
    own = [{"name": name, "subject": f"app:{name}", "grants": grants} for name in names]
    return {
        "keys": [{"name": "root", "roles": ["admin"]}, {"name": "ann", "subject": "user:ann", "grants": grants}, *own],
        "limits": [{"name": "slowly", "scope": "key", "match": "slow-*", "per_minute": 40, "burst": 1}],
        "budgets": [{"name": "one-call", "scope": "key", "match": "spent-*", "window": "lifetime", "requests": 1}],
        "providers": {
            "openai": {"wire": "openai", "base_url": f"{url}/v1", "api_key": key, "breaker": {"open_for": 0.01}},
            "claude": {"wire": "anthropic", "base_url": url, "api_key": key, "breaker": {"open_for": 0.01}},
        },
        "models": {
            "fast": {"route": [{"provider": "openai", "model": "gpt-5-mini"}]},
            "wise": {"route": [{"provider": "claude", "model": "claude-opus-4-5"}]},
        },
        "server": {"drain": 1},
    }


@pytest.fixture(scope="module")
def actor() -> Actor:
    return Actor(KEY)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, actor: Actor) -> Generator[Hub]:
    with scripted.provider() as behind:
        made = Hub(tmp_path_factory.mktemp("sdks"), config(behind.url))
        made.environment["PROVIDER_KEY"] = KEY
        actor.strangers |= set(made.keys.values())
        behind.always = actor
        made.start()
        try:
            yield made
        finally:
            actor.over.set()
            assert made.stop() == 0
        log = made.log.read_text()
        assert "Traceback" not in log, log[-8000:]
        assert KEY not in log
        verified(made.database)


def run(hub: Hub, actor: Actor, client: Client) -> Any:
    """What the client saw. What the provider did not like is told first."""
    actor.problems.clear()
    actor.betas = 0
    keys = [hub.keys[name] for name in ("ann", f"slow-{client.name}", f"spent-{client.name}")]
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    program = b"".join((PROGRAMS / part).read_bytes() for part in ("both.mjs", client.stdin)) if client.stdin else b""
    where = CACHE / "sdks-js" if client.stdin else ROOT
    command = [*client.command, hub.url, *keys, *MODELS]
    done = subprocess.run(command, check=False, input=program, cwd=where, capture_output=True, env=environment, timeout=200)
    assert actor.problems == []
    assert done.returncode == 0, (done.stdout[-2000:].decode(), done.stderr[-6000:].decode())
    seen = json.loads(done.stdout)
    assert seen.pop("version").startswith(client.version)
    return seen


def asked_by(hub: Hub, name: str) -> list[str]:
    """How the calls of a key ended, in order."""
    ended = [one for one in records(hub.database) if "outcome" in one]
    return [one["outcome"]["status"] for one in ended if one["actor"]["sub"] == f"app:{name}"]


def hear_patience(hub: Hub, client: Client) -> None:
    assert asked_by(hub, f"spent-{client.name}") == ["ok", "refused"], "what is spent is not asked for again"
    waited = asked_by(hub, f"slow-{client.name}")
    assert waited.count("ok") == 2
    assert 1 <= waited.count("refused") <= 3, "who waits as he is told asks few times in vain"


@pytest.mark.timeout(240)
@pytest.mark.parametrize("client", OPENAI, ids=lambda client: client.name)
def test_openai(hub: Hub, actor: Actor, client: Client) -> None:
    seen = run(hub, actor, client)
    assert seen == {"fast": expected.openai(native=True), "wise": expected.openai(native=False), **expected.OPENAI_ONCE}
    assert (actor.betas > 0) == client.betas
    hear_patience(hub, client)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("client", ANTHROPIC, ids=lambda client: client.name)
def test_anthropic(hub: Hub, actor: Actor, client: Client) -> None:
    seen = run(hub, actor, client)
    by = client.names or {}
    assert seen == {"fast": expected.anthropic(by, native=False), "wise": expected.anthropic(by, native=True), **expected.ANTHROPIC_ONCE}
    assert (actor.betas > 0) == client.betas
    hear_patience(hub, client)
