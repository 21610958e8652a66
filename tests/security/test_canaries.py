"""Canaries in every place a secret could come out of: a provider's keys, a client's key, what was asked. Nothing sings."""

import json
import socket
import threading
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from hub.config.load import load
from hub.egress import Egress
from hub.routing.credentials import Credentials
from hub.routing.deadlines import Deadlines
from hub.routing.provider import Attempt, Provider
from hub.routing.vault import Slot, Value
from tests.cli.test_commands import Shell
from tests.support import provider as scripted
from tests.support.hub import Hub, wait_for
from tests.support.journal import verified

KEPT, GIVEN, HEADER = "sk-canary-kept/4b1d7e90", "sk-canary-given+77c2ab31", "canary-header-0d9e8f7a"
SECRETS = (KEPT, GIVEN, HEADER)
PROMPT = "canary-of-what-was-asked-51f2"
FRONTS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": PROMPT}]},
    "/v1/responses": {"input": PROMPT},
    "/v1/messages": {"messages": [{"role": "user", "content": PROMPT}], "max_tokens": 64},
}
MODELS = ("openai:m", "claude:m")


def config(url: str, raw: str) -> dict[str, Any]:
    headers = {"x-gateway-token": "${CANARY_HEADER}"}
    return {
        "keys": [{"name": "root", "roles": ["admin"]}, {"name": "ann", "subject": "user:ann", "grants": [{"model": "*"}]}],
        "providers": {
            "openai": {"wire": "openai", "base_url": f"{url}/v1", "api_key": "vault:openai", "headers": headers},
            "claude": {"wire": "anthropic", "base_url": url, "api_key": "${CANARY_KEY}", "headers": headers},
            "raw": {"wire": "openai", "base_url": f"{raw}/v1", "api_key": "vault:openai"},
            "gone": {"wire": "openai", "base_url": "http://127.0.0.1:9/v1", "api_key": "vault:openai"},
        },
        "telemetry": {"log_level": "debug"},
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


def _echo(asked: scripted.Asked) -> str:
    """What a careless provider says: the credentials it was shown."""
    return " ".join(asked.headers.get(name, "") for name in ("authorization", "x-api-key", "x-gateway-token"))


def _whole(asked: scripted.Asked) -> Any:
    body = scripted.messages_whole("m") if asked.path == "/v1/messages" else scripted.responses_whole("m")
    return scripted.chat_whole("m") if asked.path == "/v1/chat/completions" else body


def _events(asked: scripted.Asked) -> list[bytes]:
    match asked.path:
        case "/v1/messages":
            return scripted.messages_stream("m")
        case "/v1/responses":
            return scripted.responses_stream("m")
        case _:
            return scripted.chat_stream(asked.json)


def _split(data: bytes) -> Iterable[bytes]:
    return (data[at : at + 1] for at in range(len(data)))


def _streamed(asked: scripted.Asked, *, cut: bool = False, failing: bool = False) -> scripted.Reply:
    first, *rest = _events(asked)
    echo = first.replace(b'"m"', json.dumps("m " + _echo(asked)).encode())
    if failing:
        return scripted.stream(
            [
                first,
                *_split(
                    b'event: error\ndata: {"type": "error", "error": {"type": "x", "message": '
                    + json.dumps(_echo(asked)).encode()
                    + b"}}\n\n"
                ),
            ]
        )
    said = [*_split(b": " + _echo(asked).encode() + b"\n\n"), *_split(echo)]
    if cut:
        return scripted.stream([*said, b"data: " + _echo(asked).encode()[:-3], scripted.cut])
    return scripted.stream([*said, *rest])


def _error(status: int) -> Callable[[scripted.Asked], scripted.Reply]:
    return lambda asked: scripted.whole({"error": {"message": f"bad: {_echo(asked)}", "type": _echo(asked), "code": _echo(asked)}}, status)


def _headers(asked: scripted.Asked) -> scripted.Reply:
    echo = _echo(asked)
    names = ("openai-version", "openai-processing-ms", "x-should-retry", "retry-after", "x-request-id", "set-cookie", "www-authenticate")
    return scripted.whole(_whole(asked), 200, **{name.replace("-", "_"): echo for name in names})


WAYS: dict[str, Callable[[scripted.Asked], scripted.Reply]] = {
    "whole": lambda asked: scripted.whole({**_whole(asked), "model": _echo(asked), "echo": [_echo(asked)]}),
    "headers": _headers,
    "not json": lambda asked: scripted.Reply((b"{" + _echo(asked).encode(),)),
    "cut whole": lambda asked: scripted.Reply((_echo(asked).encode(), scripted.cut)),
    "redirect": lambda asked: scripted.whole({"to": _echo(asked)}, 302, location=f"http://127.0.0.1:9/{_echo(asked)}"),
    **{f"status {status}": _error(status) for status in (400, 401, 403, 404, 413, 422, 429, 500, 503, 529)},
    "stream": _streamed,
    "stream cut": lambda asked: _streamed(asked, cut=True),
    "stream fails": lambda asked: _streamed(asked, failing=True),
    "empty stream": lambda asked: scripted.stream([]),
    "type": lambda asked: scripted.Reply((_echo(asked).encode(),), 200, (("content-type", "text/plain; x=" + _echo(asked)),)),
}


def test_no_canary_sings_anywhere(tmp_path: Path, behind: scripted.Provider, broken: str) -> None:
    hub = Hub(tmp_path, config(behind.url, broken))
    hub.environment |= {"CANARY_KEY": GIVEN, "CANARY_HEADER": HEADER}
    hub.start()
    heard: list[str] = []
    headers = {"authorization": f"Bearer {hub.keys['ann']}"}
    try:
        heard.append(json.dumps(hub.admin("PUT", "/admin/v1/vault/openai", {"value": KEPT})))
        with httpx.Client(base_url=hub.url, headers=headers, timeout=60) as client:

            def ask(way: str, path: str, model: str) -> None:
                streams = "stream" in way
                try:
                    answer = client.post(path, json={**FRONTS[path], "model": model, "stream": streams})
                    heard.append(f"{way} {path} {model}: {answer.status_code} {answer.headers} {answer.text}")
                except httpx.HTTPError as error:
                    heard.append(f"{way} {path} {model}: {error!r}")

            for way, reply in WAYS.items():
                for path in FRONTS:
                    for model in MODELS:
                        behind.script.clear()
                        behind.script.append(reply)
                        ask(way, path, model)
            for model in ("raw:m", "gone:m", "nothing:m"):
                ask("whole", "/v1/chat/completions", model)
        assert all(one.headers.get("x-gateway-token") == HEADER for one in behind.asked)
        shown = {one.headers.get("authorization", one.headers.get("x-api-key")) for one in behind.asked}
        assert shown == {f"Bearer {KEPT}", GIVEN}, "each provider saw its own key: there was something to echo"
        assert not any(hub.keys["ann"] in str(one) for one in behind.asked)
        heard += [json.dumps(hub.status()), hub.admin("GET", "/metrics"), json.dumps(hub.admin("GET", "/admin/v1/vault"))]
        wait_for(lambda: hub.total("hub_calls_total") >= len(WAYS))
    finally:
        assert hub.stop() == 0
    assert any("***" in answer for answer in heard), "there was something to take out"
    log = hub.log.read_text()
    kept = b"".join(file.read_bytes() for file in (tmp_path / ".hub").rglob("*") if file.is_file()).decode("latin-1")
    checked = Shell(tmp_path)("check", str(hub.file), CANARY_KEY=GIVEN, CANARY_HEADER=HEADER)
    assert checked.returncode == 0
    listed = Shell(tmp_path)("vault", "list", "--config", str(hub.file), "--json", CANARY_KEY=GIVEN, CANARY_HEADER=HEADER)
    told = [log, kept, checked.stdout + checked.stderr, listed.stdout, *_reprs(hub)]
    for secret in SECRETS:
        forms = {secret, json.dumps(secret)[1:-1], secret.replace("/", "\\/"), secret.encode().hex()}
        singing = [text for text in (*heard, *told) if any(form in text for form in forms)]
        assert singing == [], f"{secret}: {[text[:400] for text in singing]}"
    for canary in (PROMPT, hub.keys["ann"]):
        assert not any(canary in text for text in told), canary
    assert "Traceback" not in log
    verified(hub.database)


def _reprs(hub: Hub) -> list[str]:
    loaded = load(hub.file, environ={"CANARY_KEY": GIVEN, "CANARY_HEADER": HEADER})
    spec, slot = loaded.config.providers["claude"], Slot()
    slot.fill(Value(KEPT))
    provider = Provider("claude", spec, Egress(loaded.config.egress), Deadlines(), slot)
    shown = Credentials(spec, None).present()
    attempt = Attempt(provider, "/v1/messages", PROMPT.encode(), b"", bearer=True, deadline=0.0)
    values: list[object] = [loaded, loaded.config, spec, slot, slot.present, provider, provider.credentials, provider.credentials.present()]
    values += [shown, shown.scrubber, shown.scrubber.stream(), shown.bearer, attempt]
    return [text for value in values for text in (repr(value), str(value))]
