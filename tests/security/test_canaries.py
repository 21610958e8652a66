"""Canaries in every place a secret could come out of: providers' keys, clients' keys and headers, what was asked and answered, arguments and
results of tools, through success and every kind of failure. Nothing that a hub leaves behind by default sings (tests/support/sinks.py).
"""

import asyncio
import json
import socket
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from hub.config.load import load
from hub.deadlines import Deadlines
from hub.egress import Egress
from hub.routing.credentials import Credentials
from hub.routing.provider import Attempt, Provider
from hub.routing.vault import Slot, Value
from tests.cli.test_commands import Shell
from tests.security.careless import (
    ARGUMENT,
    CLIENT,
    FRONTS,
    GIVEN,
    HEADER,
    HOOK,
    KEPT,
    LANGFUSE,
    PROMPT,
    RESULT,
    SAID,
    SECRETS,
    WAYS,
    saying,
)
from tests.security.conftest import ECHO
from tests.support import provider as scripted
from tests.support import sinks
from tests.support.collector import Collector, Langfuse, served
from tests.support.hub import Hub, wait_for
from tests.support.journal import verified
from tests.support.mcp import Client
from tests.support.servers import stdio

MODELS = ("openai:m", "claude:m")


def config(url: str, raw: str, collector: str, langfuse: str, hook: str) -> dict[str, Any]:
    headers = {"x-gateway-token": "${CANARY_HEADER}"}
    return {
        "keys": [
            {"name": "root", "roles": ["admin"]},
            {"name": "ann", "subject": "user:ann", "grants": [{"model": "*"}, {"virtual_server": "*"}]},
        ],
        "providers": {
            "openai": {"wire": "openai", "base_url": f"{url}/v1", "api_key": "vault:openai", "headers": headers},
            "claude": {"wire": "anthropic", "base_url": url, "api_key": "${CANARY_KEY}", "headers": headers},
            "raw": {"wire": "openai", "base_url": f"{raw}/v1", "api_key": "vault:openai"},
            "gone": {"wire": "openai", "base_url": "http://127.0.0.1:9/v1", "api_key": "vault:openai"},
        },
        "upstreams": {"echo": stdio(ECHO)},
        "virtual_servers": {"main": {"include": [{"from": "echo"}]}},
        "budgets": [
            {
                "name": "all",
                "scope": "org",
                "match": "*",
                "window": "lifetime",
                "requests": 1000,
                "alerts": {"percents": [1, 2], "url": hook, "headers": {"x-hook": "${CANARY_HOOK}"}},
            }
        ],
        "telemetry": {
            "log_level": "debug",
            "access_log": True,
            "sample": 1,
            "every": 0.05,
            "otlp": {"collector": {"endpoint": collector, "protocol": "http/json"}, "binary": {"endpoint": hook}},
            "langfuse": {"lf": {"url": langfuse, "public_key": LANGFUSE[0], "secret_key": "${CANARY_LANGFUSE}"}},
        },
        "server": {"drain": 1},
    }


@pytest.fixture
def behind() -> Generator[scripted.Provider]:
    with scripted.provider() as found:
        yield found


@pytest.fixture
def broken() -> Generator[str]:
    """A server that answers anything with the key in place of a status."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(f"HTTP/1.1 {KEPT}\r\n{KEPT}: {KEPT}\r\n\r\n".encode())

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


async def _use_tools(hub: Hub) -> None:
    """In both eras: a tool that is there, one that is not, and arguments that do not fit."""
    ann = Client(hub, "ann")
    older = await ann.session()
    for client in (ann, older):
        assert ARGUMENT.encode() in (await client.call("echo", {"text": ARGUMENT})).body
        await client.call("no-such-tool", {"text": ARGUMENT})
        await client.call("echo", {"text": [ARGUMENT], ARGUMENT: {"__entity": ARGUMENT}})
    await older.end()


def _serves(client: httpx.Client) -> bool:
    return client.post("/v1/chat/completions", json={**FRONTS["/v1/chat/completions"], "model": "openai:m"}).status_code == 200


@pytest.fixture(params=["sqlite", "postgres"])
def stores(request: pytest.FixtureRequest) -> dict[str, str]:
    if request.param == "sqlite":
        return {}
    return {"postgres": request.getfixturevalue("emptied_url"), "redis": request.getfixturevalue("redis_url")}


@pytest.mark.timeout(240)
def test_no_canary_sings_anywhere(
    tmp_path: Path, behind: scripted.Provider, broken: str, stores: dict[str, str], request: pytest.FixtureRequest
) -> None:
    with scripted.provider() as hook, served(Collector()) as collector, served(Langfuse(*LANGFUSE)) as langfuse:
        hook.always = scripted.whole({})
        hub = Hub(tmp_path, config(behind.url, broken, collector.url, langfuse.url, hook.url), **stores)
        hub.environment |= CANARIES
        heard, shown = _sing(hub, behind)
        assert langfuse.spans
        assert collector.problems + langfuse.problems == []
        assert hook.asked
        assert {one.headers.get("x-hook") for one in hook.asked} == {HOOK, None}, "alerts come there, and spans in binary"
        told = {
            "log": hub.log.read_text(),
            "spans": sinks.sent([collector, langfuse]),
            "webhook": "".join(sinks.plain(one.raw) for one in hook.asked),
            "journal": sinks.journal(hub.database),
            "files": sinks.files(tmp_path / ".hub"),
            "reprs": "\n".join(_reprs(hub)),
            **shown,
        }
    if stores:
        told["tables"] = sinks.tables(request.getfixturevalue("postgres_server"), request.getfixturevalue("emptied_name"))
        told["redis"] = sinks.commands(request.getfixturevalue("redis_server"))
    else:
        told["commands"] = _commanded(tmp_path, hub)
    assert [name for name, text in told.items() if MARK[name] not in text] == [], "each holds something of what happened"
    for secret in SECRETS:
        singing = [text[:400] for text in heard if any(form in text for form in _forms(secret))]
        assert singing == [], f"{secret}: {singing}"
    for canary in (*SECRETS, LANGFUSE[1], HOOK, PROMPT, SAID, ARGUMENT, RESULT, CLIENT, hub.keys["ann"], hub.keys["root"]):
        found = {name: _around(text, form) for name, text in told.items() for form in _forms(canary) if form in text}
        assert found == {}, f"{canary}: {found}"
    assert "Traceback" not in told["log"]
    verified(hub.database)


MARK = {
    "log": '"msg":"call"',
    "spans": "gen_ai.request.model",
    "webhook": '"budget"',
    "journal": "llm.chat",
    "files": "",
    "tables": "llm.chat",
    "redis": "hub:",
    "commands": "openai",
    "reprs": "Provider",
    "status": "virtual_servers",
    "metrics": "hub_calls_total",
    "vault": "openai",
    "usage": "llm.chat",
    "process": "serve",
}
"""A word of each sink, by which it is known that something was caught in it."""

CANARIES = {"CANARY_KEY": GIVEN, "CANARY_HEADER": HEADER, "CANARY_LANGFUSE": LANGFUSE[1], "CANARY_HOOK": HOOK}


def _forms(canary: str) -> set[str]:
    return {canary, json.dumps(canary)[1:-1], canary.replace("/", "\\/"), canary.encode().hex()}


def _around(text: str, form: str) -> str:
    at = text.index(form)
    return text[max(at - 200, 0) : at + len(form) + 40]


def _sing(hub: Hub, behind: scripted.Provider) -> tuple[list[str], dict[str, str]]:
    """Ask in every way until the hub has stopped. What clients heard, and what those who look on were shown meanwhile."""
    hub.start().settled("echo")
    heard: list[str] = []
    headers = {"authorization": f"Bearer {hub.keys['ann']}", "x-client": CLIENT, "cookie": f"c={CLIENT}", "baggage": f"c={CLIENT}"}
    try:
        heard.append(json.dumps(hub.admin("PUT", "/admin/v1/vault/openai", {"value": KEPT})))
        with httpx.Client(base_url=hub.url, headers=headers, timeout=60) as client:
            wait_for(lambda: _serves(client))

            def ask(way: str, path: str, model: str) -> None:
                try:
                    answer = client.post(path, json={**FRONTS[path], "model": model, "stream": "stream" in way})
                    heard.append(f"{way} {path} {model}: {answer.status_code} {answer.headers} {answer.text}")
                except httpx.HTTPError as error:
                    heard.append(f"{way} {path} {model}: {error!r}")

            for way, reply in WAYS.items():
                for path in FRONTS:
                    for model in MODELS:
                        behind.script.clear()
                        behind.script.append(lambda asked, reply=reply: saying(reply(asked)))
                        ask(way, path, model)
            for model in ("raw:m", "gone:m", "nothing:m"):
                ask("whole", "/v1/chat/completions", model)
        asyncio.run(_use_tools(hub))
        assert all(one.headers.get("x-gateway-token") == HEADER for one in behind.asked)
        shown = {one.headers.get("authorization", one.headers.get("x-api-key")) for one in behind.asked}
        assert shown == {f"Bearer {KEPT}", GIVEN}, "each provider saw its own key: there was something to echo"
        assert not any(hub.keys["ann"] in str(one) or CLIENT in str(one) for one in behind.asked)
        wait_for(lambda: hub.total("hub_calls_total") >= len(WAYS))
        looked = {
            "status": json.dumps(hub.status()),
            "metrics": hub.admin("GET", "/metrics"),
            "vault": json.dumps(hub.admin("GET", "/admin/v1/vault")),
            "usage": json.dumps(
                [hub.admin("GET", path) for path in ("/v1/usage?limit=100", "/v1/usage/summary", "/v1/messages?limit=100")]
            ),
            "process": sinks.running(hub.pid),
        }
    finally:
        assert hub.stop() == 0
    assert any("***" in answer for answer in heard), "there was something to take out"
    assert any(SAID in answer for answer in heard), "there was something to hear"
    return heard, looked


def _commanded(folder: Path, hub: Hub) -> str:
    """What commands say that read the same configuration and database."""
    checked = Shell(folder)("check", str(hub.file), **CANARIES)
    assert checked.returncode == 0
    listed = Shell(folder)("vault", "list", "--config", str(hub.file), "--json", **CANARIES)
    return checked.stdout + checked.stderr + listed.stdout


def _reprs(hub: Hub) -> list[str]:
    loaded = load(hub.file, environ={**CANARIES, **hub.environment})
    spec, slot = loaded.config.providers["claude"], Slot()
    slot.fill(Value(KEPT))
    provider = Provider("claude", spec, Egress(loaded.config.egress), Deadlines(), slot)
    shown = Credentials(spec, None).present()
    attempt = Attempt(provider, "/v1/messages", PROMPT.encode(), b"", bearer=True, deadline=0.0)
    values: list[object] = [loaded, loaded.config, spec, slot, slot.present, provider, provider.credentials, provider.credentials.present()]
    values += [shown, shown.scrubber, shown.scrubber.stream(), shown.bearer, attempt]
    return [text for value in values for text in (repr(value), str(value))]
