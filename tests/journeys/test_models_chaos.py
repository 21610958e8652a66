"""What happens in the midst of model calls: keys revoked while answers stream, and connections that died where nobody looked.

What a provider does wrong while it is asked is in test_routing.py, a provider's key replaced under load in test_vault.py.
"""

import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from tests.support import provider as scripted
from tests.support.hub import Hub, running, wait_for
from tests.support.journal import records
from tests.support.several import several

TALK: list[Any] = [{"role": "user", "content": "Say hello."}]
GRANTS = [{"model": "*"}]


def config(url: str, **provider: Any) -> dict[str, Any]:
    kept = {"breaker": {"failures": 5, "open_for": 0.4}, "timeout": 5, **provider}
    return {
        "keys": [{"name": "root", "roles": ["admin"]}, {"name": "ann", "grants": GRANTS}],
        "providers": {
            "openai": {"wire": "openai", "base_url": f"{url}/v1", **kept},
            "claude": {"wire": "anthropic", "base_url": url, **kept},
            "sound": {"wire": "openai", "base_url": f"{url}/v1", **kept},
        },
        "models": {
            "fast": {"route": [{"provider": "openai", "model": "m"}]},
            "wise": {"route": [{"provider": "claude", "model": "m"}]},
            "pair": {"route": [{"provider": "openai", "model": "m"}, {"provider": "sound", "model": "well"}]},
            "first-openai": {"route": [{"provider": "openai", "model": "m"}, {"provider": "claude", "model": "well"}]},
            "first-claude": {"route": [{"provider": "claude", "model": "m"}, {"provider": "openai", "model": "well"}]},
        },
        "budgets": [{"name": "month", "scope": "org", "match": "*", "window": "month", "requests": 1000}],
        "server": {"drain": 1},
    }


@pytest.fixture
def behind() -> Generator[scripted.Provider]:
    with scripted.provider() as found:
        yield found


def chat(url: str, key: str, begun: Callable[[], None]) -> None:
    with openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0) as client:
        for _ in client.chat.completions.create(model="fast", messages=TALK, stream=True):
            begun()


def responses(url: str, key: str, begun: Callable[[], None]) -> None:
    """In translation."""
    with openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0) as client:
        for _ in client.responses.create(model="wise", input="Say hello.", stream=True):
            begun()


def messages(url: str, key: str, begun: Callable[[], None]) -> None:
    client = anthropic.Anthropic(base_url=url, api_key=key, max_retries=0)
    with client, client.messages.stream(model="wise", messages=TALK, max_tokens=9) as stream:
        for _ in stream:
            begun()


STREAMS: dict[Callable[[str, str, Callable[[], None]], None], list[bytes]] = {
    chat: scripted.chat_stream({"model": "m"})[:3],
    responses: scripted.messages_stream("m")[:4],
    messages: scripted.messages_stream("m")[:4],
}


def revoked_while_streaming(behind: scripted.Provider, ask_at: Hub, revoke_at: Hub) -> None:
    """Each client must hear that it went wrong, in its own words, and the provider must be left at once."""
    for number, (ask, parts) in enumerate(STREAMS.items()):
        name = f"brief-{number}"
        key = revoke_at.admin("POST", "/admin/v1/keys", {"name": name, "grants": GRANTS})["key"]
        behind.left.clear()
        behind.script.append(scripted.stream([*parts, *scripted.until_gone()]))
        begun = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(ask, ask_at.url, key, begun.set)
            assert begun.wait(30), asking.exception(1)
            revoke_at.admin("DELETE", f"/admin/v1/keys/{name}")
            assert behind.left.wait(30), "the provider was left"
            with pytest.raises((openai.APIError, anthropic.APIError), match="a valid hub key is required"):
                asking.result(30)
        with pytest.raises((openai.AuthenticationError, anthropic.AuthenticationError)):
            ask(ask_at.url, key, begun.set)
    ends = [one["outcome"] for one in records(ask_at.database) if "outcome" in one and one["kind"].startswith("llm.")]
    assert [end.get("code") for end in ends].count("key_revoked") == len(STREAMS), ends


def test_a_key_that_is_revoked_while_its_answers_stream_ends_them_with_an_error_in_each_dialect(
    tmp_path: Path, behind: scripted.Provider
) -> None:
    with running(tmp_path, config(behind.url)) as hub:
        revoked_while_streaming(behind, hub, hub)


def test_a_key_that_is_revoked_at_one_hub_ends_what_another_streams(
    tmp_path: Path, behind: scripted.Provider, emptied_url: str, redis_url: str
) -> None:
    with several(tmp_path, config(behind.url), postgres=emptied_url, redis=redis_url) as both:
        one, two = both.hubs
        wait_for(lambda: serves(one) and serves(two))
        revoked_while_streaming(behind, one, two)


def ask(hub: Hub, model: str) -> list[tuple[str, str]]:
    """Who was asked, and what came of it."""
    with openai.OpenAI(base_url=hub.url + "/v1", api_key=hub.keys["ann"], max_retries=0, timeout=30) as client:
        answer = client.chat.completions.with_raw_response.create(model=model, messages=TALK)
    (route,) = [one["route"] for one in records(hub.database) if one.get("id") == answer.headers["x-request-id"] and "route" in one]
    return [(one["upstream"], one["result"]) for one in route]


def serves(hub: Hub) -> bool:
    """Several hubs count their budgets from the ledger first."""
    try:
        return ask(hub, "fast") == [("openai", "ok")]
    except openai.InternalServerError:
        return False


def test_connections_that_a_provider_closed_while_they_were_idle_are_not_seen(tmp_path: Path, behind: scripted.Provider) -> None:
    """It says nothing of it in its answer, as one behind a load balancer that forgets connections does not."""
    behind.always = lambda asked: scripted.usual(asked)._replace(parts=(*scripted.usual(asked).parts, scripted.cut))
    with running(tmp_path, config(behind.url)) as hub:
        for _ in range(8):
            assert ask(hub, "fast")[-1] == ("openai", "ok")
        with ThreadPoolExecutor(8) as pool:
            assert all(one == [("openai", "ok")] for one in pool.map(lambda _: ask(hub, "fast"), range(40)))


def test_one_that_is_well_again_is_found_by_a_probe_and_nobody_notices(tmp_path: Path, behind: scripted.Provider) -> None:
    ill = threading.Event()
    ill.set()
    failed: list[scripted.Asked] = []

    def answer(asked: scripted.Asked) -> scripted.Reply:
        if asked.json["model"] == "well" or not ill.is_set():
            return scripted.usual(asked)
        failed.append(asked)
        return scripted.whole({"error": {"message": "overloaded", "type": "server_error"}}, 503)

    behind.always = answer
    with running(tmp_path, config(behind.url)) as hub, ThreadPoolExecutor(8) as pool:

        def breaker() -> str:
            return next(one["breaker"] for name, one in hub.status()["deployments"].items() if name == "openai/m")

        while breaker() != "open":
            assert all(route[-1] == ("sound", "ok") for route in pool.map(lambda _: ask(hub, "pair"), range(4)))
        before = len(failed)
        while len(failed) < before + 3:  # it is probed now and then, by one call each time
            assert all(route[-1] == ("sound", "ok") for route in pool.map(lambda _: ask(hub, "pair"), range(16)))
        ill.clear()

        def mended() -> bool:
            routes = list(pool.map(lambda _: ask(hub, "pair"), range(8)))
            assert all(route[-1][1] == "ok" for route in routes)
            return all(route == [("openai", "ok")] for route in routes)

        wait_for(mended)
        assert breaker() == "closed"


FAULTS: tuple[scripted.Reply | Callable[[scripted.Asked], scripted.Reply], ...] = (
    scripted.whole({"error": {"message": "overloaded", "type": "server_error"}}, 503),
    scripted.whole({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, 529),
    scripted.whole({"error": {"message": "slow down", "type": "requests"}}, 429, retry_after="30"),
    scripted.whole({"error": {"message": "bad key", "type": "x"}}, 401),
    scripted.vanish,
    scripted.stream([scripted.cut]),
    scripted.stream([b": processing\n\n", b'data: {"choi', scripted.cut]),
)


@pytest.mark.parametrize("fault", range(len(FAULTS)))
def test_what_fails_at_one_family_is_had_of_the_other_in_the_clients_own_words(shared: tuple[Hub, scripted.Provider], fault: int) -> None:
    """Whole and streamed, by each API, and without a sign of it but for the record."""
    hub, behind = shared
    behind.always = lambda asked: scripted.usual(asked) if asked.json["model"] == "well" else _failing(FAULTS[fault], asked)
    key = hub.keys["ann"]
    for model in ("first-openai", "first-claude"):
        with openai.OpenAI(base_url=hub.url + "/v1", api_key=key, max_retries=0, timeout=30) as client:
            assert client.chat.completions.create(model=model, messages=TALK).choices[0].message.content == "Hello there."
            chunks = client.chat.completions.create(model=model, messages=TALK, stream=True)
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Hello there."
            assert client.responses.create(model=model, input="Say hello.").output_text == "Hello there."
            with client.responses.stream(model=model, input="Say hello.") as events:
                assert events.get_final_response().output_text == "Hello there."
        with anthropic.Anthropic(base_url=hub.url, api_key=key, max_retries=0, timeout=30) as client:
            assert client.messages.create(model=model, messages=TALK, max_tokens=9).content[0].text == "Hello there."  # type: ignore[union-attr]
            with client.messages.stream(model=model, messages=TALK, max_tokens=9) as stream:
                assert "".join(stream.text_stream) == "Hello there."


def _failing(fault: scripted.Reply | Callable[[scripted.Asked], scripted.Reply], asked: scripted.Asked) -> scripted.Reply:
    return fault(asked) if callable(fault) else fault


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Hub, scripted.Provider]]:
    with scripted.provider() as behind, running(tmp_path_factory.mktemp("families"), config(behind.url)) as hub:
        yield hub, behind
