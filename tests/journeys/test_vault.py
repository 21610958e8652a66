"""A provider's key in the vault: set, used, replaced while hundreds of calls run, and removed; by API and by command, on either medium."""

import base64
import io
import json
import sys
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import httpx2 as httpx
import pytest

from tests.cli.test_commands import Shell
from tests.support import provider as scripted
from tests.support.hub import Hub, running, wait_for
from tests.support.journal import changes, records, verified
from tests.support.several import several

KEY = "sk-canary-7d1e-%04d"
ASK = {"model": "fast", "messages": [{"role": "user", "content": "Say hello."}]}


class Strict:
    """A provider that takes one key only, whichever it was last told."""

    def __init__(self, behind: scripted.Provider) -> None:
        self.key = ""
        self.refused = 0
        behind.always = self.answer

    def answer(self, asked: scripted.Asked) -> scripted.Reply:
        if asked.headers.get("authorization") != f"Bearer {self.key}":
            self.refused += 1
            return scripted.whole({"error": {"message": f"bad key {asked.headers.get('authorization')}", "type": "x"}}, 401)
        return scripted.usual(asked)


def config(url: str) -> dict[str, Any]:
    return {
        "keys": [
            {"name": "root", "roles": ["admin"]},
            {"name": "auditor", "roles": ["auditor"]},
            {"name": "boss", "org": "acme", "roles": ["admin"]},
            {"name": "ann", "subject": "user:ann", "grants": [{"model": "*"}]},
        ],
        "providers": {
            "openai": {"wire": "openai", "base_url": f"{url}/v1", "api_key": "vault:openai"},
            "other": {"wire": "openai", "base_url": f"{url}/v1", "api_key": "${OTHER_KEY}"},
        },
        "models": {
            "fast": {"route": [{"provider": "openai", "model": "gpt-5-mini"}]},
            "sure": {"route": [{"provider": "openai", "model": "gpt-5-mini"}, {"provider": "other", "model": "gpt-5-mini"}]},
        },
        "server": {"drain": 1},
    }


@pytest.fixture
def behind() -> Generator[scripted.Provider]:
    with scripted.provider() as found:
        yield found


def put(hub: Any, name: str, value: str, key: str = "root", **more: Any) -> Any:
    return hub.admin("PUT", f"/admin/v1/vault/{name}", {"value": value, **more}, key=key)


def ask(url: str, key: str, **more: Any) -> httpx.Response:
    return httpx.post(f"{url}/v1/chat/completions", json=ASK | more, headers={"authorization": f"Bearer {key}"}, timeout=30)


class Load:
    """Clients that ask without a pause until told to stop, whole and streamed in turn."""

    def __init__(self, urls: list[str], key: str, clients: int = 4) -> None:
        self.good = 0
        self.bad: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(urls[n % len(urls)], key, n % 2 == 1)) for n in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, url: str, key: str, stream: bool) -> None:
        headers = {"authorization": f"Bearer {key}"}
        with httpx.Client(base_url=url, headers=headers, timeout=30) as client:
            while not self._stop.is_set():
                answer = client.post("/v1/chat/completions", json=ASK | {"stream": stream})
                if answer.status_code == 200 and ("[DONE]" if stream else "Hello there.") in answer.text:
                    self.good += 1
                else:
                    self.bad.append(f"{answer.status_code} {answer.text}")


def rotate_under_load(strict: Strict, load: Load, set_value: Callable[[str], None], times: int = 8, calls: int = 60) -> None:
    """The hub is told first, then the provider takes the new key only; calls go on meanwhile."""
    with load:
        for turn in range(1, times + 1):
            before = load.good
            wait_for(lambda before=before: load.good >= before + calls // 2 or load.bad, 30)
            set_value(KEY % turn)
            wait_for(lambda before=before: load.good >= before + calls // 2 + 4 or load.bad, 30)
            strict.key = KEY % turn
            wait_for(lambda before=before: load.good >= before + calls or load.bad, 30)
    assert load.bad == []
    assert load.good >= times * calls


def test_a_key_is_changed_under_load_without_an_error_and_leaves_no_trace(tmp_path: Path, behind: scripted.Provider) -> None:
    strict = Strict(behind)
    strict.key = KEY % 0
    hub = Hub(tmp_path, config(behind.url))
    hub.environment["OTHER_KEY"] = "sk-of-another-one"
    hub.start()
    try:
        assert ask(hub.url, hub.keys["ann"]).status_code == 503
        assert ask(hub.url, hub.keys["ann"]).json()["error"]["code"] == "credential_unavailable"
        strict.key = "sk-of-another-one"
        assert ask(hub.url, hub.keys["ann"], model="sure").status_code == 200, "only that provider's calls are refused"
        strict.key = KEY % 0
        assert put(hub, "openai", KEY % 0) == {"set": {"org": "default", "name": "openai", "version": 1}}
        assert ask(hub.url, hub.keys["ann"]).status_code == 200
        rotate_under_load(strict, Load([hub.url], hub.keys["ann"]), lambda value: put(hub, "openai", value) and None)
        assert strict.refused, "the provider was asked with a key it does not take, and nobody noticed"
        shown = hub.admin("GET", "/admin/v1/vault", key="auditor")["secrets"]
        assert [(one["name"], one["version"], one["last4"]) for one in shown] == [("openai", 9, "0008")]
        hub.admin("DELETE", "/admin/v1/vault/openai")
        assert ask(hub.url, hub.keys["ann"]).status_code == 503
        assert ask(hub.url, hub.keys["ann"], model="other:gpt-5-mini").status_code == 502, "that provider takes another key by now"
    finally:
        assert hub.stop() == 0
    kinds = changes(records(hub.database), "admin.vault.")
    assert kinds == ["admin.vault.set"] * 9 + ["admin.vault.remove"]
    verified(hub.database)
    kept = b"".join(file.read_bytes() for file in (tmp_path / ".hub").rglob("*") if file.is_file()) + hub.log.read_bytes()
    assert b"sk-canary-7d1e" not in kept
    assert "Traceback" not in hub.log.read_text()


def test_who_may_do_what(tmp_path: Path, behind: scripted.Provider) -> None:
    said: list[str] = []

    def code(method: str, path: str, body: Any = None, *, key: str) -> int:
        try:
            hub.admin(method, path, body, key=key)
        except HTTPError as error:
            said.append(error.read().decode())
            return error.code
        return 200

    with running(tmp_path, {**config(behind.url), "providers": {}, "models": {}}) as hub:
        value = {"value": KEY % 1}
        for key in ("auditor", "ann"):
            assert code("PUT", "/admin/v1/vault/openai", value, key=key) == 403
            assert code("DELETE", "/admin/v1/vault/openai", key=key) == 403
            assert code("POST", "/admin/v1/vault/rotate", key=key) == 403
        assert code("GET", "/admin/v1/vault", key="ann") == 403
        assert code("PUT", "/admin/v1/vault/openai", value, key="boss") == 200
        assert code("PUT", "/admin/v1/vault/openai", value | {"org": "default"}, key="boss") == 403
        assert code("POST", "/admin/v1/vault/rotate", key="boss") == 403
        assert code("DELETE", "/admin/v1/vault/openai?org=default", key="boss") == 403
        assert code("PUT", "/admin/v1/vault/openai", value | {"org": "rival"}, key="root") == 200
        assert [one["org"] for one in hub.admin("GET", "/admin/v1/vault", key="boss")["secrets"]] == ["acme"]
        assert [one["org"] for one in hub.admin("GET", "/admin/v1/vault")["secrets"]] == ["acme", "rival"]
        assert [one["org"] for one in hub.admin("GET", "/admin/v1/vault?org=rival")["secrets"]] == ["rival"]
        assert hub.admin("GET", "/admin/v1/vault?org=rival", key="boss")["secrets"][0]["org"] == "acme"
        assert code("PUT", "/admin/v1/vault/openai", {"value": "sk-canary bad"}, key="root") == 400
        assert code("PUT", "/admin/v1/vault/openai", {"sk-canary": 1}, key="root") == 400
        assert code("PUT", "/admin/v1/vault/openai", {"value": ["sk-canary"]}, key="root") == 400
        assert hub.admin("POST", "/admin/v1/vault/rotate")["rotated"]["rewrapped"] == 0
        assert code("DELETE", "/admin/v1/vault/openai", key="boss") == 200
        assert code("DELETE", "/admin/v1/vault/openai", key="boss") == 404
        assert "sk-canary" not in "".join(said) + hub.log.read_text()


def test_commands_read_the_value_from_stdin_and_never_show_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = Shell(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO(KEY % 1 + "\n"))
    assert shell.json("vault", "set", "openai", "--org", "acme") == {"set": {"org": "acme", "name": "openai", "version": 1}}
    monkeypatch.setattr(sys, "stdin", io.StringIO(KEY % 2))
    assert shell("vault", "set", "openai", "--org", "acme").stdout == "Set acme/openai, version 2.\n"
    (one,) = shell.json("vault", "list")["secrets"]
    assert (one["version"], one["last4"], one["problem"]) == (2, "0002", "")
    assert one["overlap"]
    assert shell.json("vault", "list", "--org", "other")["secrets"] == []
    key = tmp_path / "kek"
    key.write_text(base64.b64encode(b"k" * 32).decode())
    (tmp_path / "hub.yaml").write_text(json.dumps({"secrets": {"vault": {"command": ["cat", str(key)]}}}))
    assert shell.json("vault", "rotate")["rotated"]["rewrapped"] == 2
    assert [one["last4"] for one in shell.json("vault", "list")["secrets"]] == ["0002"]
    assert "usable" in shell("vault", "list").stdout
    (tmp_path / "hub.yaml").write_text("{}")
    assert "does not have" in shell.json("vault", "list")["secrets"][0]["problem"]
    assert "nothing was changed" in shell.fails("vault", "rotate")
    assert shell("vault", "remove", "openai", "--org", "acme").stdout == "Removed acme/openai.\n"
    assert shell.fails("vault", "remove", "openai", "--org", "acme") == "hub: the vault has no value of this name"
    monkeypatch.setattr(sys, "stdin", io.StringIO("sk-canary bad"))
    assert "sk-canary" not in shell.fails("vault", "set", "openai")
    said = [entry["record"] for entry in shell.json("audit", "tail", "--org", "acme")]
    assert changes(said) == ["admin.vault.set", "admin.vault.set", "admin.vault.remove"]
    assert "canary" not in json.dumps(said)


def test_two_processes_use_a_changed_key_within_a_second_and_under_load_without_an_error(
    tmp_path: Path, behind: scripted.Provider, emptied_url: str, redis_url: str
) -> None:
    strict = Strict(behind)
    strict.key = KEY % 0
    settings = config(behind.url)
    del settings["providers"]["other"], settings["models"]["sure"]
    with several(tmp_path, settings, postgres=emptied_url, redis=redis_url) as both:
        one, two = both.hubs
        urls = [hub.url for hub in both.hubs]
        put(one, "openai", KEY % 0)
        assert [ask(url, both.keys["ann"]).status_code for url in urls] == [200, 200]
        rotate_under_load(strict, Load(urls, both.keys["ann"]), lambda value: put(two, "openai", value) and None, times=5)
        started = time.monotonic()
        put(two, "openai", KEY % 99, overlap=0)
        strict.key = KEY % 99
        assert ask(one.url, both.keys["ann"]).status_code == 200, "answered when it holds everywhere"
        assert time.monotonic() - started < 30
        for hub in both.hubs:
            assert "sk-canary" not in hub.log.read_text()
