"""Providers that fail in every way, and a client that must not notice where one of them is well."""

import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2 as httpx
import openai
import pytest

from tests.support import provider as scripted
from tests.support.hub import Hub, wait_for
from tests.support.journal import receipt_stands, records, verified
from tests.support.provider import Provider

TALK: list[Any] = [{"role": "user", "content": "Say hello."}]
PAIR = [{"provider": "bad", "model": "m"}, {"provider": "good", "model": "m"}]
OVERLOADED = scripted.whole({"error": {"message": "overloaded", "type": "server_error"}}, 503)


def config(urls: dict[str, str], *, timeout: float = 20, **models: Any) -> dict[str, Any]:
    kept = {"wire": "openai", "timeout": timeout, "breaker": {"failures": 5, "open_for": 60}}
    return {
        "keys": [{"name": "root", "roles": ["admin"]}, *({"name": name, "grants": [{"model": "*"}]} for name in ("ann", "bob", "cid"))],
        "providers": {name: {**kept, "base_url": f"{url}/v1", "api_key": "${PROVIDER_KEY}"} for name, url in urls.items()},
        "models": {"pair": {"route": PAIR}, "lone": {"route": PAIR[:1]}, "well": {"route": PAIR[1:]}, **models},
        "server": {"drain": 1, "keep_alive": 0.3},
    }


class World:
    """Two providers, and a hub whose knowledge of the bad one begins anew with each test."""

    def __init__(self, hub: Hub, bad: Provider, good: Provider) -> None:
        self.hub = hub
        self.bad = bad
        self.good = good
        self._run = 0

    def begin(self, *, timeout: float = 20, **models: Any) -> None:
        """Deployments are others for each test: so nothing is known of them."""
        self._run += 1
        name = f"m{self._run}"
        for provider in (self.bad, self.good):
            provider.script.clear()
            provider.always = None
            provider.asked.clear()
        pair = [{**one, "model": name} for one in PAIR]
        found: dict[str, Any] = {"pair": {"route": pair}, "lone": {"route": pair[:1]}, "well": {"route": pair[1:]}}
        for alias, spec in models.items():
            found[alias] = {"route": pair, **spec}
        self.put(config({"bad": self.bad.url, "good": self.good.url}, timeout=timeout, **found), f"bad/{name}")

    def put(self, made: dict[str, Any], deployment: str) -> None:
        self.hub.configure(made)
        wait_for(lambda: deployment in self.hub.status()["deployments"])
        wait_for(lambda: any(one.id == "pair" for one in self.client().models.list()))

    def client(self, key: str = "ann") -> openai.OpenAI:
        return openai.OpenAI(base_url=self.hub.url + "/v1", api_key=self.hub.keys[key], max_retries=0, timeout=30)

    def ask(self, model: str = "pair", key: str = "ann", **more: Any) -> Any:
        """The answer with its headers; raises what the SDK does."""
        with self.client(key) as client:
            return client.chat.completions.with_raw_response.create(model=model, messages=TALK, **more)

    def said(self, model: str = "pair", **more: Any) -> str:
        with self.client() as client:
            chunks = client.chat.completions.create(model=model, messages=TALK, stream=True, **more)
            return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

    def route(self, answer: Any) -> list[tuple[str, str]]:
        last = receipt_stands(self.hub.database, answer.headers["hub-receipt"])
        return [(one["upstream"], one["result"]) for one in last["route"]]

    def state(self, name: str = "bad") -> str:
        found = [one for deployment, one in self.hub.status()["deployments"].items() if deployment.startswith(f"{name}/m{self._run}")]
        return found[0]["breaker"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    with scripted.provider() as bad, scripted.provider() as good:
        hub = Hub(tmp_path_factory.mktemp("routing"), config({"bad": bad.url, "good": good.url}))
        hub.environment["PROVIDER_KEY"] = "sk-canary-55ab1290"
        hub.start()
        try:
            yield World(hub, bad, good)
        finally:
            assert hub.stop() == 0
            log = hub.log.read_text()
            assert "Traceback" not in log, log[-8000:]
            assert "sk-canary" not in log
            verified(hub.database)


def test_a_brown_out_is_not_seen(world: World) -> None:
    world.begin()
    count = iter(range(10**9))
    world.bad.always = lambda asked: OVERLOADED if next(count) % 2 else scripted.usual(asked)
    for number in range(24):
        if number % 2:
            assert world.said() == "Hello there."
        else:
            assert world.ask().status_code == 200
    assert world.good.asked, "what failed was asked elsewhere"


def test_a_black_hole_costs_few_calls_a_timeout_and_then_none(world: World) -> None:
    world.begin(timeout=4)
    end = threading.Event()
    world.bad.always = scripted.hang(end)
    try:
        with ThreadPoolExecutor(12) as pool:
            others = [pool.submit(world.ask, "pair") for _ in range(6)]
            wait_for(lambda: len(world.bad.asked) == 6)
            assert world.ask("well").status_code == 200
            assert not any(one.done() for one in others), "one provider that hangs slows no other"
            assert all(one.result().status_code == 200 for one in others)
        assert world.state() == "open"
        asked = len(world.bad.asked)
        answer = world.ask()
        assert world.route(answer) == [("good", "ok")]
        last = receipt_stands(world.hub.database, answer.headers["hub-receipt"])
        assert [(one["upstream"], one["why"]) for one in last["route_left"]] == [("bad", "breaker_open")]
        assert len(world.bad.asked) == asked, "it is left alone"
        with pytest.raises(openai.APIStatusError) as refused:
            world.ask("lone")
        assert refused.value.status_code >= 500
        assert int(refused.value.response.headers["retry-after"]) > 10
        assert len(world.bad.asked) == asked
    finally:
        end.set()


def test_connections_that_end_without_a_word_are_not_seen(world: World) -> None:
    """A kept one that ends is no attempt; a new one that ends is."""
    world.begin()
    assert world.route(world.ask()) == [("bad", "ok")]
    for _ in range(3):
        world.bad.script.append(scripted.vanish)
        assert world.route(world.ask()) == [("bad", "ok")]
        world.bad.script += [scripted.vanish, scripted.vanish]
        assert world.route(world.ask()) == [("bad", "upstream_unavailable"), ("good", "ok")]
        assert world.route(world.ask()) == [("bad", "ok")]


def test_a_stream_cut_before_its_first_event_is_had_elsewhere_and_after_it_is_never_spliced(world: World) -> None:
    world.begin()
    first = scripted.chat_stream({"model": "m"})[:3]
    error = b'data: {"error": {"message": "overloaded", "type": "server_error"}}\n\n'
    for parts in ([error], [scripted.cut], [b": processing\n\n", scripted.cut], [b": x\n\n", b'data: {"choi', scripted.cut], []):
        world.bad.script.append(scripted.stream(parts))
        assert world.said() == "Hello there."
        assert records(world.hub.database)[-1]["route"][0]["result"] == "upstream_fault"
        assert world.said() == "Hello there.", "one that ends well puts an end to failures in a row"
    world.bad.script.append(scripted.stream([error]))
    with pytest.raises(openai.APIError, match="overloaded"):
        world.said("lone")
    assert world.said() == "Hello there."
    asked = len(world.good.asked)
    for _ in range(5):
        world.bad.script.append(scripted.stream([*first, scripted.cut]))
        with pytest.raises(openai.APIError):
            world.said()
    assert len(world.good.asked) == asked
    assert world.state() == "open", "five that broke off in a row are failures too"


def test_a_storm_of_429_is_heard_once(world: World) -> None:
    world.begin()
    world.bad.always = scripted.whole({"error": {"message": "slow down", "type": "requests"}}, 429, retry_after="30")
    with ThreadPoolExecutor(8) as pool:
        assert all(answer.status_code == 200 for answer in pool.map(lambda _: world.ask(), range(40)))
    assert len(world.bad.asked) <= 8, "after the first answers it is let rest"
    assert world.state() == "closed", "a limit is no fault"
    answer = world.ask()
    assert world.route(answer) == [("good", "ok")]
    assert world.hub.status()["deployments"][f"bad/m{world._run}"]["rests"] > 20
    world.good.always = scripted.whole({"error": {"message": "slow down", "type": "requests"}}, 429, retry_after="7")
    with pytest.raises(openai.RateLimitError) as limited:
        world.ask()
    assert limited.value.response.headers["retry-after"] == "7", "the first that is ready counts"


def test_what_says_it_is_ready_soon_is_asked_again(world: World) -> None:
    world.begin()
    world.bad.script.append(scripted.whole({"error": {"message": "wait", "type": "requests"}}, 429, retry_after_ms="20"))
    assert world.route(world.ask("lone")) == [("bad", "status:429"), ("bad", "ok")]
    world.bad.script.append(scripted.whole({"error": {"message": "wait", "type": "x"}}, 503, retry_after="1"))
    assert world.route(world.ask("lone")) == [("bad", "status:503"), ("bad", "ok")]
    world.bad.always = scripted.whole({"error": {"message": "wait", "type": "x"}}, 429, retry_after_ms="20")
    asked = len(world.bad.asked)
    with pytest.raises(openai.RateLimitError):
        world.ask("lone")
    assert len(world.bad.asked) == asked + 2, "once, not for ever"


def test_fifty_faults_of_a_client_say_nothing_of_a_deployment(world: World) -> None:
    world.begin()
    world.bad.always = scripted.whole({"error": {"message": "no such parameter", "type": "invalid_request_error"}}, 400)
    for _ in range(50):
        with pytest.raises(openai.BadRequestError):
            world.ask()
    assert world.state() == "closed"
    world.bad.always = None
    assert world.route(world.ask()) == [("bad", "ok")]
    assert not world.good.asked


def test_a_key_that_is_not_taken_opens_the_breaker_at_once_and_a_new_configuration_closes_it(world: World) -> None:
    world.begin()
    world.bad.script.append(scripted.whole({"error": {"message": "bad key", "type": "x"}}, 401))
    assert world.route(world.ask()) == [("bad", "status:401"), ("good", "ok")]
    assert world.state() == "open"
    assert world.route(world.ask()) == [("good", "ok")]
    metrics = world.hub.admin("GET", "/metrics")
    assert f'hub_deployment_breaker_open{{model="m{world._run}",provider="bad"}} 1.0' in metrics
    assert f'hub_deployment_breaker_open{{model="m{world._run}",provider="good"}} 0.0' in metrics
    assert 'hub_provider_attempts_total{provider="bad",result="key_refused"}' in metrics
    model = f"m{world._run}"
    pair = [{**one, "model": model} for one in PAIR]
    made = config({"bad": world.bad.url, "good": world.good.url}, pair={"route": pair, "title": "edited"})
    world.hub.configure(made)
    wait_for(lambda: len(world.hub.status()["deployments"]) == 4)
    assert world.state() == "open", "the deployment stayed, and what is known of it too"
    made["providers"]["bad"]["headers"] = {"x-fresh": "1"}
    world.hub.configure(made)
    wait_for(lambda: world.state() == "closed")
    wait_for(lambda: world.route(world.ask()) == [("bad", "ok")])


def test_an_edit_counts_for_the_next_call_and_a_stream_under_way_goes_on(world: World) -> None:
    world.begin()
    go = threading.Event()
    first, *rest = scripted.chat_stream({"model": "m"})
    world.bad.script.append(scripted.stream([first, scripted.wait(go), *rest]))
    with world.client() as client:
        chunks = iter(client.chat.completions.create(model="pair", messages=TALK, stream=True))
        next(chunks)
        made = config({"good": world.good.url}, pair={"route": [{"provider": "good", "model": "new"}]}, lone={"route": PAIR[1:]})
        world.put(made, "good/new")
        wait_for(lambda: world.route(world.ask()) == [("good", "ok")])
        go.set()
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello there."
    assert world.good.asked[-1].json["model"] == "new"


def test_a_slow_deployment_is_left_by_latency_and_never_asked_by_all_at_once(world: World) -> None:
    world.begin(quick={"strategy": "latency"})
    world.bad.always = lambda asked: (time.sleep(0.5), scripted.usual(asked))[1]
    for _ in range(12):
        world.ask("quick")
    assert len(world.bad.asked) == 1
    last = records(world.hub.database)[-1]
    assert last["route"][0]["upstream"] == "good"
    assert last["route"][0]["why"].startswith("latency:")
    known = world.hub.status()["deployments"]
    assert known[f"bad/m{world._run}"]["first_byte_us"]["whole"] >= 500_000


def test_weights_are_kept_by_caller_and_named_in_the_answer(world: World) -> None:
    world.begin(split={"strategy": "weighted", "sticky": "user"})
    seen = {}
    for user in range(16):
        variants = {world.ask("split", user=f"u{user}").headers["x-hub-variant"] for _ in range(2)}
        assert len(variants) == 1, "the same caller has the same variant"
        seen[user] = variants.pop()
    assert set(seen.values()) == {f"bad/m{world._run}", f"good/m{world._run}"}
    assert "x-hub-variant" not in world.ask("pair").headers
    url, key = world.hub.url + "/v1/chat/completions", world.hub.keys["ann"]
    body = {"model": "split", "messages": TALK, "stream": True, "user": "u3"}
    answer = httpx.post(url, json=body, headers={"authorization": f"Bearer {key}"})
    assert answer.headers["x-hub-variant"] == seen[3]


def test_size_and_needs_choose_the_deployment(world: World) -> None:
    name = "sized"
    route = [{"provider": "bad", "model": name, "context_window": 500, "lacks": ["tools"]}, {"provider": "good", "model": name}]
    rules = [{"prompt_over": 5000, "route": [{"provider": "good", "model": "long"}]}]
    world.begin(sized={"route": route, "rules": rules}, toolless={"route": [{**route[0], "model": "t"}]})
    with world.client() as client:

        def went(text: str, **more: Any) -> str:
            for provider in (world.bad, world.good):
                provider.asked.clear()
            client.chat.completions.create(model="sized", messages=[{"role": "user", "content": text}], **more)
            return ("bad:" if world.bad.asked else "good:") + (world.bad.asked + world.good.asked)[0].json["model"]

        tool: Any = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
        assert went("short") == f"bad:{name}"
        assert went("short", tools=[tool]) == f"good:{name}"
        assert went("x" * 4000) == f"good:{name}"
        assert went("x" * 40000) == "good:long"
        with pytest.raises(openai.BadRequestError, match="tools"):
            client.chat.completions.create(model="toolless", messages=TALK, tools=[tool])


@pytest.mark.parametrize(
    ("path", "parts", "alive"),
    [
        ("/v1/chat/completions", scripted.chat_stream({"model": "m"}), b": keep-alive\n\n"),
        ("/v1/messages", scripted.chat_stream({"model": "m"}), b"event: ping\n"),
    ],
)
def test_a_silent_stream_is_kept_alive(world: World, path: str, parts: list[bytes], alive: bytes) -> None:
    world.begin()
    go = threading.Event()
    world.bad.script.append(scripted.stream([*parts[:2], scripted.wait(go), *parts[2:]]))
    body = {"model": "pair", "messages": TALK, "stream": True, "max_tokens": 64}
    found = b""
    headers = {"authorization": f"Bearer {world.hub.keys['ann']}"}
    with httpx.stream("POST", world.hub.url + path, json=body, headers=headers, timeout=20) as answer:
        for chunk in answer.iter_raw():
            found += chunk
            if alive in found:
                go.set()
    assert found.count(alive) >= 1
    assert b" there" in found
    assert found.index(alive) < found.index(b" there")
