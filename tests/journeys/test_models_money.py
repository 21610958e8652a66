"""What model calls cost, on a running hub: set aside, settled, refused where it does not fit, and on record."""

import json
import sqlite3
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import anthropic
import httpx2 as httpx
import openai
import pytest

from hub.audit.export import tail
from hub.budget.price_table import embedded_hash
from tests.support import provider as scripted
from tests.support.hub import Hub, wait_for
from tests.support.journal import receipt_stands, records, verified

TALK: list[Any] = [{"role": "user", "content": "Say hello."}]
EACH = 9 * 250 + 3 * 2000
"""Nano-dollars of one usual answer of gpt-5-mini: 9 tokens read at 0.25 US dollars a million, 3 written at 2."""


def config(url: str, alerts: str) -> dict[str, Any]:
    grants = [{"model": "*"}]
    return {
        "keys": [{"name": name, "grants": grants} for name in ("free", "two", "poor", "spender", "crowd", "saver")]
        + [{"name": "root", "roles": ["admin"]}, {"name": "narrow", "grants": [{"model": "*", "endpoints": ["embeddings"]}]}],
        "providers": {
            "openai": {"wire": "openai", "base_url": f"{url}/v1"},
            "local": {"wire": "openai", "base_url": f"{url}/v1"},
            "gone": {"wire": "openai", "base_url": "http://127.0.0.1:9/v1", "like": "openai"},
            "claude": {"wire": "anthropic", "base_url": url, "like": "anthropic"},
        },
        "models": {
            "fast": {"route": [{"provider": "openai", "model": "gpt-5-mini"}]},
            "lost": {"route": [{"provider": "gone", "model": "gpt-5-mini"}]},
            "thrifty": {
                "route": [{"provider": "openai", "model": "gpt-5-mini"}],
                "rules": [{"budget_under": 100, "route": [{"provider": "openai", "model": "gpt-5-nano"}]}],
            },
            "pair": {"route": [{"provider": "openai", "model": "gpt-5-mini"}, {"provider": "openai", "model": "gpt-5-nano"}]},
            "own": {"route": [{"provider": "local", "model": "dated"}]},
            "owned": {"route": [{"provider": "local", "model": "undated"}]},
            "strange": {"route": [{"provider": "local", "model": "strange"}]},
            "odd": {"route": [{"provider": "local", "model": "nobody-knows"}]},
            "wise": {"route": [{"provider": "claude", "model": "claude-opus-4-5"}]},
        },
        "prices": [
            {"provider": "local", "model": "dated", "input": 1, "output": 2, "effective_from": "2026-01-01T00:00:00Z"},
            {"provider": "local", "model": "undated", "input": 1, "output": 2},
        ],
        "budgets": [
            {"name": "told", "scope": "key", "match": "nobody", "window": "day", "usd": 1, "alerts": {"url": alerts}},
            {"name": "two-calls", "scope": "key", "match": "two", "window": "day", "requests": 2},
            {"name": "pennies", "scope": "key", "match": "poor", "window": "lifetime", "usd": "0.0001"},
            {"name": "month", "scope": "key", "match": "spender", "window": "month", "usd": "1"},
            {"name": "savings", "scope": "key", "match": "saver", "window": "month", "usd": "1"},
            {"name": "ten-calls", "scope": "key", "match": "crowd", "window": "lifetime", "requests": 10},
        ],
        "server": {"drain": 1},
    }


@pytest.fixture(scope="module")
def behind() -> Generator[scripted.Provider]:
    with scripted.provider() as found:
        yield found


@pytest.fixture(scope="module")
def receiver() -> Generator[scripted.Provider]:
    """Who is told of budgets."""
    with scripted.provider() as found:
        found.always = scripted.whole({})
        yield found


@pytest.fixture
def told(receiver: scripted.Provider) -> list[dict[str, Any]]:
    """What it was told, as it comes."""

    class Told(list[dict[str, Any]]):
        def __iter__(self) -> Any:
            return iter([asked.json for asked in receiver.asked])

    return Told()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, behind: scripted.Provider, receiver: scripted.Provider) -> Generator[Hub]:
    made = Hub(tmp_path_factory.mktemp("money"), config(behind.url, receiver.url)).start()
    try:
        yield made
    finally:
        code = made.stop()
    assert code == 0
    assert "Traceback" not in made.log.read_text()
    verified(made.database)


def client(hub: Hub, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=hub.url + "/v1", api_key=hub.keys[key], max_retries=0)


def ask(hub: Hub, key: str, model: str = "fast", **more: Any) -> Any:
    with client(hub, key) as asking:
        return asking.chat.completions.with_raw_response.create(model=model, messages=TALK, max_tokens=10, **more)


def test_a_cost_is_estimated_before_and_settled_after_to_the_nano_dollar(hub: Hub) -> None:
    assert float(ask(hub, "spender").headers["hub-cost-estimate"]) * 1e9 > EACH
    with client(hub, "spender") as asking:
        assert len(list(asking.chat.completions.create(model="fast", messages=TALK, max_tokens=10, stream=True)))
    whole = receipt_stands(hub.database, ask(hub, "spender").headers["hub-receipt"])
    assert whole["cost"] == EACH
    assert whole["usage"] == {"input": 9, "output": 3}
    assert whole["price"] == {"source": "table", "hash": embedded_hash()}
    [left] = whole["budgets"]
    assert (left["budget"], left["scope"]) == ("month", "key")
    assert round((1 - float(left["left"])) * 1e9) == 3 * EACH


def test_what_does_not_fit_is_refused_in_each_dialect_and_nothing_is_sent(hub: Hub, behind: scripted.Provider) -> None:
    before = len(behind.asked)
    for _ in range(2):
        ask(hub, "two")
    with pytest.raises(openai.RateLimitError) as refused:
        ask(hub, "two")
    assert int(refused.value.response.headers["retry-after"]) > 0
    assert refused.value.code == "insufficient_quota"
    assert refused.value.body["hub"]["budget"] == "two-calls"  # type: ignore[index]
    with pytest.raises(openai.RateLimitError) as pointless:
        ask(hub, "poor")
    assert pointless.value.response.headers["x-should-retry"] == "false"
    assert "retry-after" not in pointless.value.response.headers
    with anthropic.Anthropic(base_url=hub.url, api_key=hub.keys["poor"], max_retries=0) as asking, pytest.raises(anthropic.RateLimitError):
        asking.messages.create(model="wise", messages=TALK, max_tokens=1000)
    assert len(behind.asked) == before + 2
    with pytest.raises(openai.APIStatusError) as unpriced:
        ask(hub, "spender", "odd")
    assert unpriced.value.status_code == 402
    assert ask(hub, "free", "odd").status_code == 200  # no budget counts its money


def test_of_many_at_once_as_many_get_in_as_fit(hub: Hub, behind: scripted.Provider) -> None:
    def one(_: int) -> int:
        try:
            return int(ask(hub, "crowd").status_code)
        except openai.RateLimitError:
            return 429

    with ThreadPoolExecutor(16) as pool:
        codes = list(pool.map(one, range(40)))
    assert codes.count(200) == 10
    assert codes.count(429) == 30


def test_what_a_provider_refused_costs_nothing_and_a_client_that_left_pays_for_what_was_sent(hub: Hub, behind: scripted.Provider) -> None:
    before = receipt_stands(hub.database, ask(hub, "spender").headers["hub-receipt"])["budgets"][0]["left"]
    behind.script.append(scripted.whole({"error": {"message": "bad", "type": "invalid_request_error"}}, 400))
    with pytest.raises(openai.BadRequestError) as raised:
        ask(hub, "spender")
    assert receipt_stands(hub.database, raised.value.response.headers["hub-receipt"])["budgets"][0]["left"] == before
    behind.left.clear()
    behind.script.append(scripted.stream([scripted.chat_stream({"model": "m"})[0], *scripted.until_gone()]))
    with (
        client(hub, "spender") as asking,
        asking.chat.completions.create(model="fast", messages=TALK, max_tokens=10, stream=True) as stream,
    ):
        next(iter(stream))
    assert behind.left.wait(20)
    after = receipt_stands(hub.database, ask(hub, "spender").headers["hub-receipt"])["budgets"][0]["left"]
    assert float(after) < float(before) - EACH / 1e9


def test_a_rule_on_what_is_left_counts_from_a_callers_second_call_on(hub: Hub, behind: scripted.Provider) -> None:
    before = len(behind.asked)
    for _ in range(2):
        ask(hub, "saver", "thrifty")
    assert [asked.json["model"] for asked in behind.asked[before:]] == ["gpt-5-mini", "gpt-5-nano"]


def test_a_call_that_no_provider_took_costs_nothing(hub: Hub) -> None:
    def left() -> str:
        return receipt_stands(hub.database, ask(hub, "spender").headers["hub-receipt"])["budgets"][0]["left"]

    before = left()
    with pytest.raises(openai.APIStatusError) as raised:
        ask(hub, "spender", "lost")
    assert raised.value.status_code == 502
    assert round((float(before) - float(left())) * 1e9) == EACH
    outcome = receipt_stands(hub.database, raised.value.response.headers["hub-receipt"])
    assert {one["result"] for one in outcome["route"]} == {"upstream_unavailable"}, "who was asked is on record though nobody answered"
    assert "cost" not in outcome


def test_a_call_whose_intent_cannot_be_written_is_not_sent_and_costs_nothing(hub: Hub, behind: scripted.Provider) -> None:
    def left() -> str:
        return receipt_stands(hub.database, ask(hub, "spender").headers["hub-receipt"])["budgets"][0]["left"]

    before, asked = left(), len(behind.asked)
    with closing(sqlite3.connect(hub.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(openai.InternalServerError) as raised:
            ask(hub, "spender")
        other.execute("ROLLBACK")
    assert raised.value.status_code == 503
    assert len(behind.asked) == asked
    assert round((float(before) - float(left())) * 1e9) == EACH


def test_an_own_price_is_named_on_record_and_another_one_has_another_name(hub: Hub) -> None:
    first, second = (receipt_stands(hub.database, ask(hub, "free", model).headers["hub-receipt"]) for model in ("own", "owned"))
    assert first["price"]["source"] == second["price"]["source"] == "own"
    assert first["price"]["effective_from"] == "2026-01-01T00:00:00Z"
    assert "effective_from" not in second["price"]
    assert first["price"]["hash"].startswith("sha256:")
    assert first["price"]["hash"] != second["price"]["hash"]
    assert first["cost"] == 9 * 1000 + 3 * 2000


def test_a_model_without_a_price_is_counted_warned_of_once_and_told_once(hub: Hub, told: list[dict[str, Any]]) -> None:
    before = hub.total("hub_model_unpriced_total")
    for _ in range(3):
        found = receipt_stands(hub.database, ask(hub, "free", "strange").headers["hub-receipt"])
        assert found["unpriced"] is True
        assert "cost" not in found
    assert hub.total("hub_model_unpriced_total") == before + 3
    warned = [line for line in hub.log.read_text().splitlines() if "a model without a price is in use" in line]
    assert sum('"strange"' in line for line in warned) == 1
    assert len(warned) <= len({"nobody-knows", "strange"}), "each model once, whichever of these tests have run"
    wait_for(lambda: any(one.get("model") == "strange" for one in told))
    [notice] = [one for one in told if one.get("model") == "strange"]
    assert (notice["event"], notice["provider"]) == ("model_not_priced", "local")
    assert any(one["record"].get("unpriced") for one in tail(hub.database, "default", 50))


def plan(hub: Hub, key: str, model: str, **more: Any) -> dict[str, Any]:
    """What a dry run answers."""
    return json.loads(ask(hub, key, model, extra_headers={"hub-dry-run": "1"}, **more).content)


def test_a_dry_run_says_what_would_happen_sets_nothing_aside_and_sends_nothing(hub: Hub, behind: scripted.Provider) -> None:
    before, [room] = len(behind.asked), plan(hub, "spender", "fast")["budgets"]
    found = plan(hub, "spender", "fast")
    assert found["budgets"] == [room]
    assert (room["budget"], room["scope"], room["unit"], room["amount"], room["fits"]) == ("month", "key", "usd", "1", True)
    assert (found["would_be_refused"], found["refusal"], found["model"], found["kind"]) == (False, None, "fast", "llm.chat")
    [deployment] = found["deployments"]
    assert (deployment["provider"], deployment["model"], deployment["price"]["source"]) == ("openai", "gpt-5-mini", "table")
    answer = ask(hub, "spender")
    assert answer.headers["hub-cost-estimate"] == found["estimate_usd"] == room["needed"]
    assert len(behind.asked) == before + 1
    poor = plan(hub, "poor", "fast")
    assert (poor["would_be_refused"], poor["refusal"]["code"], poor["refusal"]["budget"]) == (True, "budget_exceeded", "pennies")
    odd = plan(hub, "spender", "odd")
    assert (odd["refusal"]["code"], odd["estimate_usd"], odd["deployments"][0]["unpriced"]) == ("model_not_priced", None, True)
    assert plan(hub, "free", "odd")["would_be_refused"] is False
    two = plan(hub, "free", "pair")
    assert [one["model"] for one in two["deployments"]] == ["gpt-5-mini", "gpt-5-nano"]
    assert [one["why"] for one in two["left_out"]] == []
    with anthropic.Anthropic(base_url=hub.url, api_key=hub.keys["free"], max_retries=0) as asking:
        given: Any = {"hub-dry-run": "1"}
        raw = asking.messages.with_raw_response.create(model="wise", messages=TALK, max_tokens=10, stream=True, extra_headers=given)
        assert json.loads(raw.http_response.read())["kind"] == "llm.messages"
    with pytest.raises(openai.NotFoundError):
        plan(hub, "free", "nothing-of-that-name")
    with pytest.raises(openai.BadRequestError):
        ask(hub, "free", extra_headers={"hub-dry-run": "yes"})
    with pytest.raises(openai.AuthenticationError), openai.OpenAI(base_url=hub.url + "/v1", api_key="no", max_retries=0) as nobody:
        nobody.chat.completions.create(model="fast", messages=TALK, extra_headers={"hub-dry-run": "1"})
    assert len(behind.asked) == before + 1
    dry = [one for one in records(hub.database) if one.get("flags") == ["dry_run"]]
    assert len(dry) == 7
    assert {(one["kind"], one["outcome"]["status"]) for one in dry} == {("llm.chat", "ok"), ("llm.messages", "ok")}
    assert plan(hub, "narrow", "pair")["refusal"]["code"] == "denied"


def test_what_a_provider_has_and_each_prompt_counts_in_what_is_set_aside(hub: Hub, behind: scripted.Provider) -> None:
    def estimate(path: str, **body: Any) -> int:
        with client(hub, "free") as asking:
            raw = asking.post(path, body={"model": "fast"} | body, cast_to=object, options={"headers": {"hub-dry-run": "1"}})
        return raw["estimate_nano_usd"]  # type: ignore[index]

    alone = estimate("/responses", input="x", max_output_tokens=10)
    kept = estimate("/responses", input="x", max_output_tokens=10, prompt={"id": "pmpt_1"})
    assert kept - alone > 250 * 200_000, "the window of gpt-5-mini, at 250 nano-dollars a token"
    assert estimate("/responses", input="x", max_output_tokens=10, prompt=None) == alone + len("null") * 250
    one = estimate("/completions", prompt="ab", max_tokens=1000)
    two = estimate("/completions", prompt=["a", "b"], best_of=3, max_tokens=1000)
    assert 5 * 1000 * 2000 <= two - one < 5 * 1000 * 2000 + 100 * 250
    assert estimate("/completions", prompt=["a"] * 1024, n=1024, max_tokens=(1 << 31) - 1) == 1 << 50
    plain, dear = (estimate("/completions", prompt="ab", max_tokens=1000, service_tier=tier) for tier in ("default", "priority"))
    assert dear > plain
    body = b'{"model":"fast","prompt":"ab","max_tokens":1000,"service_tier":"priorit\\u0079"}'
    headers = {"hub-dry-run": "1", "content-type": "application/json", "authorization": f"Bearer {hub.keys['free']}"}
    assert httpx.post(hub.url + "/v1/completions", content=body, headers=headers).json()["estimate_nano_usd"] == dear
