"""Official SDKs against the hub, scripted providers behind it: each API in its own words, and in translation."""

import threading
from collections.abc import Generator
from typing import Any

import anthropic
import httpx2 as httpx
import openai
import pytest

from tests.support import provider as scripted
from tests.support.hub import Hub, wait_for
from tests.support.journal import receipt_stands, records, verified

PROVIDER_KEY = "sk-canary-2f6d0c1b9a"
TALK: list[Any] = [{"role": "user", "content": "Say hello."}]


def config(url: str) -> dict[str, Any]:
    key = "${PROVIDER_KEY}"
    return {
        "keys": [
            {"name": "root", "roles": ["admin"]},
            {"name": "ann", "subject": "user:ann", "grants": [{"model": "*"}]},
            {"name": "small", "subject": "app:shop", "grants": [{"model": "fast", "endpoints": ["chat"]}]},
            {"name": "tools", "grants": [{"virtual_server": "*"}]},
        ],
        "providers": {
            "openai": {"wire": "openai", "base_url": f"{url}/v1", "api_key": key, "breaker": {"open_for": 0.01}},
            "claude": {"wire": "anthropic", "base_url": url, "api_key": key},
            "told": {"wire": "anthropic", "base_url": url, "api_key": key, "attribution": True},
            "gone": {"wire": "openai", "base_url": "http://127.0.0.1:9/v1", "api_key": key},
        },
        "models": {
            "fast": {"route": [{"provider": "openai", "model": "gpt-5-mini"}]},
            "wise": {"route": [{"provider": "claude", "model": "claude-opus-4-5"}]},
            "sure": {"route": [{"provider": "gone", "model": "x"}, {"provider": "openai", "model": "gpt-5-mini"}]},
            "lost": {"route": [{"provider": "gone", "model": "x"}]},
        },
        "server": {"drain": 1},
    }


@pytest.fixture(scope="module")
def behind() -> Generator[scripted.Provider]:
    with scripted.provider() as found:
        yield found


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, behind: scripted.Provider) -> Generator[Hub]:
    folder = tmp_path_factory.mktemp("models")
    made = Hub(folder, config(behind.url))
    made.environment["PROVIDER_KEY"] = PROVIDER_KEY
    made.start()
    try:
        yield made
    finally:
        assert made.stop() == 0
        log = made.log.read_text()
        assert "Traceback" not in log, log[-8000:]
        assert PROVIDER_KEY not in log
        verified(made.database)


@pytest.fixture(autouse=True)
def fresh(behind: scripted.Provider) -> None:
    behind.asked.clear()
    behind.script.clear()
    behind.left.clear()


def ask_openai(hub: Hub, key: str = "ann", **more: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=hub.url + "/v1", api_key=hub.keys[key], max_retries=0, **more)


def ask_anthropic(hub: Hub, key: str = "ann", **more: Any) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=hub.url, api_key=hub.keys[key], max_retries=0, **more)


@pytest.mark.parametrize("model", ["fast", "wise", "openai:gpt-5-mini", "openai/gpt-5-mini", "claude:claude-opus-4-5"])
def test_chat_whole_and_streamed(hub: Hub, behind: scripted.Provider, model: str) -> None:
    with ask_openai(hub) as client:
        reply = client.chat.completions.create(model=model, messages=TALK)
        assert reply.choices[0].message.content == "Hello there."
        assert reply.usage is not None
        assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (9, 3)
        chunks = list(client.chat.completions.create(model=model, messages=TALK, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello there."
    assert all(chunk.choices for chunk in chunks), "the client did not ask for a chunk of usage"
    assert [asked.json["model"] for asked in behind.asked] == [behind.asked[0].json["model"]] * 2
    assert behind.asked[0].json["model"] in ("gpt-5-mini", "claude-opus-4-5")


@pytest.mark.parametrize("model", ["wise", "fast"])
def test_messages_whole_and_streamed(hub: Hub, model: str) -> None:
    with ask_anthropic(hub) as client:
        reply = client.messages.create(model=model, messages=TALK, max_tokens=64)
        assert [block.text for block in reply.content if block.type == "text"] == ["Hello there."]
        assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.stop_reason) == (9, 3, "end_turn")
        with client.messages.stream(model=model, messages=TALK, max_tokens=64) as stream:
            assert "".join(stream.text_stream) == "Hello there."
            assert stream.get_final_message().usage.output_tokens == 3


def test_of_the_address_goes_on_what_the_dialect_knows(hub: Hub, behind: scripted.Provider) -> None:
    """By `?beta=true` the SDKs of the generation before ask for betas, beside the header; the newest leaves it to who wants it."""
    by_beta: Any = {"extra_query": {"beta": "true"}}
    given: Any = {"messages": TALK, "max_tokens": 64, "betas": ["tools-2030-01-01"], **by_beta}
    with ask_anthropic(hub) as client:
        reply = client.beta.messages.create(model="wise", **given)
        assert [block.text for block in reply.content if block.type == "text"] == ["Hello there."]
        with client.beta.messages.stream(model="wise", **given) as stream:
            assert "".join(stream.text_stream) == "Hello there."
        assert client.beta.messages.count_tokens(model="wise", messages=TALK, **by_beta).input_tokens == 9
        client.beta.messages.create(model="told:claude-opus-4-5", **given)
        client.beta.messages.create(model="fast", **given)
        client.beta.messages.create(model="wise", **given | {"extra_query": {"key": "mine", "beta": "false"}})
    native = ["/v1/messages?beta=true", "/v1/messages?beta=true", "/v1/messages/count_tokens?beta=true", "/v1/messages?beta=true"]
    assert [asked.path for asked in behind.asked] == [*native, "/v1/chat/completions", "/v1/messages"]
    assert [behind.asked[at].headers.get("anthropic-beta") for at in (0, 1, 3, 5)] == ["tools-2030-01-01"] * 4
    assert len(behind.asked[3].json["metadata"]["user_id"]) == 32


@pytest.mark.parametrize("model", ["fast", "wise"])
def test_responses_whole_and_streamed(hub: Hub, model: str) -> None:
    with ask_openai(hub) as client:
        reply = client.responses.create(model=model, input="Say hello.")
        assert reply.output_text == "Hello there."
        assert reply.usage is not None
        assert reply.usage.total_tokens == 12
        with client.responses.stream(model=model, input="Say hello.") as stream:
            assert stream.get_final_response().output_text == "Hello there."


def test_the_other_endpoints_of_both_families(hub: Hub) -> None:
    with ask_openai(hub) as client:
        assert client.embeddings.create(model="fast", input="x", encoding_format="float").data[0].embedding == [0.5, -0.25]
        assert client.moderations.create(model="fast", input="x").results[0].flagged is False
        assert client.completions.create(model="fast", prompt="x").choices[0].text == "Hello there."
        with pytest.raises(openai.BadRequestError, match="no provider of this model offers embeddings"):
            client.embeddings.create(model="wise", input="x")
    with ask_anthropic(hub) as client:
        assert client.messages.count_tokens(model="wise", messages=TALK).input_tokens == 9


def test_each_lists_only_what_the_key_may_use(hub: Hub) -> None:
    with ask_openai(hub) as client:
        assert {model.id for model in client.models.list()} == {"fast", "wise", "sure", "lost"}
        assert client.models.retrieve("fast").id == "fast"
    with ask_openai(hub, "small") as client:
        assert [model.id for model in client.models.list()] == ["fast"]
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("wise")
    with ask_openai(hub, "tools") as client:
        assert list(client.models.list()) == []
    with ask_anthropic(hub) as client:
        assert {model.id for model in client.models.list()} == {"fast", "wise", "sure", "lost"}


def test_refusals_raise_the_right_exception_of_each_sdk_and_send_nothing(hub: Hub, behind: scripted.Provider) -> None:
    with ask_openai(hub) as client, ask_openai(hub, "small") as small, openai.OpenAI(base_url=hub.url + "/v1", api_key="no") as stranger:
        with pytest.raises(openai.NotFoundError) as missing:
            client.chat.completions.create(model="nothing", messages=TALK)
        assert missing.value.code == "model_not_found"
        with pytest.raises(openai.PermissionDeniedError):
            small.chat.completions.create(model="wise", messages=TALK)
        with pytest.raises(openai.PermissionDeniedError):
            small.embeddings.create(model="fast", input="x")
        with pytest.raises(openai.AuthenticationError):
            stranger.chat.completions.create(model="fast", messages=TALK)
    with ask_anthropic(hub) as client, anthropic.Anthropic(base_url=hub.url, api_key="no") as stranger:
        with pytest.raises(anthropic.NotFoundError):
            client.messages.create(model="nothing", messages=TALK, max_tokens=1)
        with pytest.raises(anthropic.AuthenticationError):
            stranger.messages.create(model="wise", messages=TALK, max_tokens=1)
    assert behind.asked == []


def test_the_providers_key_is_sent_and_the_clients_is_not_and_neither_is_shown(hub: Hub, behind: scripted.Provider) -> None:
    behind.script.append(lambda asked: scripted.whole({"error": {"message": f"bad: {asked.headers['authorization']}", "type": "x"}}, 400))
    with ask_openai(hub) as client, pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(model="fast", messages=TALK)
    assert behind.asked[0].headers["authorization"] == f"Bearer {PROVIDER_KEY}"
    assert hub.keys["ann"] not in str(behind.asked[0].headers)
    assert PROVIDER_KEY not in str(raised.value)
    behind.script.append(lambda asked: scripted.whole({"error": {"message": "bad key", "type": "x"}}, 401))
    with ask_openai(hub) as client, pytest.raises(openai.APIStatusError) as refused:
        client.chat.completions.create(model="fast", messages=TALK)
    assert refused.value.status_code == 502


def test_what_fails_before_its_first_byte_is_asked_elsewhere_and_the_record_says_so(hub: Hub, behind: scripted.Provider) -> None:
    with ask_openai(hub) as client:
        answer = client.chat.completions.with_raw_response.create(model="sure", messages=TALK)
    assert len(behind.asked) == 1
    last = receipt_stands(hub.database, answer.headers["hub-receipt"])
    assert [(one["upstream"], one["result"]) for one in last["route"]] == [("gone", "upstream_unavailable")] * 2 + [("openai", "ok")]
    assert last["usage"] == {"input": 9, "output": 3}
    with ask_openai(hub) as client, pytest.raises(openai.APIStatusError) as raised:
        client.chat.completions.create(model="lost", messages=TALK)
    assert raised.value.status_code == 502


def test_what_a_provider_answers_passes_byte_for_byte(hub: Hub, behind: scripted.Provider) -> None:
    odd = b'{"id": "x",  "object":"chat.completion", "n": 1.0, "tiny": 1e-7, "big": 12345678901234567890, "choices": [], "unknown": {"\\u00e9": null}}'
    behind.script.append(scripted.Reply((odd,)))
    sent = b'{"temperature": 1.0, "model" : "fast", "messages": [{"role": "user", "content": "\\u00e9"}], "x-unknown": [1e-7]}'
    headers = {"authorization": f"Bearer {hub.keys['ann']}", "content-type": "application/json"}
    answer = httpx.post(hub.url + "/v1/chat/completions", content=sent, headers=headers)
    assert answer.content == odd
    assert behind.asked[0].raw == sent.replace(b'"fast"', b'"gpt-5-mini"')
    parts = scripted.chat_stream({"model": "m", "stream_options": {"include_usage": True}})
    behind.script.append(scripted.stream(parts))
    asked = {"model": "fast", "messages": TALK, "stream": True, "stream_options": {"include_usage": True}}
    with httpx.stream("POST", hub.url + "/v1/chat/completions", json=asked, headers=headers) as streamed:
        body = streamed.read()
    lines = [line for line in body.split(b"\n\n") if not line.startswith(b":")]
    assert b"\n\n".join(lines) == b"".join(parts)


def test_a_chunk_goes_on_before_the_next_one_comes(hub: Hub, behind: scripted.Provider) -> None:
    go = threading.Event()
    first, *rest = scripted.chat_stream({"model": "m"})
    behind.script.append(scripted.stream([first, scripted.wait(go), *rest]))
    with ask_openai(hub, timeout=30) as client:
        chunks = iter(client.chat.completions.create(model="fast", messages=TALK, stream=True))
        assert next(chunks).choices[0].delta.role == "assistant"
        go.set()
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello there."


def test_a_stream_that_breaks_off_says_so_in_band_and_is_an_error_on_record(hub: Hub, behind: scripted.Provider) -> None:
    parts = scripted.chat_stream({"model": "m"})
    behind.script.append(scripted.stream([*parts[:3], scripted.cut]))
    with ask_openai(hub) as client, pytest.raises(openai.APIError):
        list(client.chat.completions.create(model="fast", messages=TALK, stream=True))
    assert records(hub.database)[-1]["outcome"]["status"] == "error"
    events = scripted.messages_stream("m")
    behind.script.append(scripted.stream([*events[:4], scripted.cut]))
    with (
        ask_anthropic(hub) as client,
        pytest.raises(anthropic.APIError),
        client.messages.stream(model="wise", messages=TALK, max_tokens=9) as stream,
    ):
        stream.get_final_message()
    assert records(hub.database)[-1]["outcome"]["status"] == "error"


def test_a_client_that_leaves_closes_the_stream_at_the_provider(hub: Hub, behind: scripted.Provider) -> None:
    first = scripted.chat_stream({"model": "m"})[0]
    behind.script.append(scripted.stream([first, *scripted.until_gone()]))
    with ask_openai(hub) as client, client.chat.completions.create(model="fast", messages=TALK, stream=True) as stream:
        next(iter(stream))
    assert behind.left.wait(20)
    wait_for(lambda: records(hub.database)[-1].get("outcome", {}).get("code") == "client_gone")


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/chat/completions", b"{", 400),
        ("/v1/chat/completions", b"[]", 400),
        ("/v1/chat/completions", b'{"model": 1}', 400),
        ("/v1/chat/completions", b'{"model": "fast", "model": "wise"}', 400),
        ("/v1/chat/completions", b"\xff", 400),
        ("/v1/messages", b'{"messages": []}', 400),
        ("/v1/nothing", b"{}", 404),
    ],
)
def test_bad_input_is_refused_in_the_dialect_and_on_record(hub: Hub, path: str, body: bytes, status: int) -> None:
    headers = {"authorization": f"Bearer {hub.keys['ann']}", "content-type": "application/json"}
    answer = httpx.post(hub.url + path, content=body, headers=headers)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["message"]
    assert ("type" in answer.json()) == (path == "/v1/messages")
    assert receipt_stands(hub.database, answer.headers["hub-receipt"])["outcome"]["status"] == "refused"
