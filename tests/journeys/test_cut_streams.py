"""Streams cut short are paid by what came of them: the client left, the provider died, the key was revoked, the hub was killed."""

import contextlib
import json
import os
import signal
import sqlite3
import threading
from collections.abc import Generator
from typing import Any

import anthropic
import openai
import pytest

from tests.support import provider as scripted
from tests.support.hub import Hub, wait_for
from tests.support.journal import records, verified
from tests.support.responses import Shelf

TALK: list[Any] = [{"role": "user", "content": "Tell me a story of forty bytes at least."}]
INPUT, OUTPUT = 250, 2000
"""Nano-dollars a token of gpt-5-mini."""
WORD = "twelve bytes"
CLAUDE_INPUT, CLAUDE_OUTPUT = 5000, 25_000


def config(url: str) -> dict[str, Any]:
    return {
        "keys": [
            {"name": "root", "roles": ["admin"]},
            {"name": "ann", "subject": "user:ann", "grants": [{"model": "*"}]},
        ],
        "providers": {
            "openai": {"wire": "openai", "base_url": f"{url}/v1", "like": "openai", "breaker": {"open_for": 0.01}},
            "claude": {"wire": "anthropic", "base_url": url, "like": "anthropic", "breaker": {"open_for": 0.01}},
        },
        "models": {
            "fast": {"route": [{"provider": "openai", "model": "gpt-5-mini"}]},
            "wise": {"route": [{"provider": "claude", "model": "claude-opus-4-5"}]},
        },
        "budgets": [{"name": "month", "scope": "key", "window": "month", "usd": "10"}],
        "server": {"drain": 1},
    }


@pytest.fixture
def behind() -> Generator[scripted.Provider]:
    with scripted.provider() as found:
        yield found


@pytest.fixture
def hub(tmp_path_factory: pytest.TempPathFactory, behind: scripted.Provider) -> Generator[Hub]:
    made = Hub(tmp_path_factory.mktemp("cut"), config(behind.url)).start()
    try:
        yield made
    finally:
        code = made.stop()
    assert code == 0
    assert "Traceback" not in made.log.read_text()
    verified(made.database)


def client(hub: Hub, key: str = "ann") -> openai.OpenAI:
    return openai.OpenAI(base_url=hub.url + "/v1", api_key=hub.keys.get(key, key), max_retries=0)


def chat_events(words: int) -> list[bytes]:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    deltas: list[Any] = [{"role": "assistant", "content": ""}, *({"content": WORD} for _ in range(words))]
    chunks = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    return [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]


def streamed(hub: Hub, dialect: str, model: str) -> None:
    if dialect == "chat":
        with client(hub) as asking:
            list(asking.chat.completions.create(model=model, messages=TALK, max_tokens=64, stream=True))
    else:
        with anthropic.Anthropic(base_url=hub.url, api_key=hub.keys["ann"], max_retries=0) as asking:
            list(asking.messages.create(model=model, messages=TALK, max_tokens=64, stream=True))


def rows(hub: Hub) -> list[dict[str, Any]]:
    with sqlite3.connect(f"file:{hub.database}?mode=ro", uri=True) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM usage ORDER BY number")]


def row(hub: Hub) -> dict[str, Any]:
    [found] = wait_for(lambda: rows(hub))
    return found


def outcome(hub: Hub) -> dict[str, Any]:
    last = records(hub.database)[-1]
    assert last["kind"].endswith(".outcome")
    return last


@pytest.mark.parametrize("words", [1, 7])
def test_a_client_that_leaves_pays_for_what_had_come(hub: Hub, behind: scripted.Provider, words: int) -> None:
    behind.script.append(scripted.stream([*chat_events(words), *scripted.until_gone()]))
    with client(hub) as asking, asking.chat.completions.create(model="fast", messages=TALK, max_tokens=64, stream=True) as stream:
        chunks = iter(stream)
        for _ in range(words + 1):
            next(chunks)
    assert behind.left.wait(20), "the provider's stream is closed"
    spent = row(hub)
    assert (spent["status"], spent["output"], spent["kind"]) == ("estimated", 3 * words, "llm.chat")
    assert spent["input"] > 0
    assert spent["cost"] == spent["input"] * INPUT + spent["output"] * OUTPUT
    wait_for(lambda: records(hub.database)[-1].get("outcome", {}).get("code") == "client_gone")
    last = outcome(hub)
    assert last["estimated"] is True
    assert last["usage"] == {"input": spent["input"], "output": spent["output"]}
    assert last["cost"] == spent["cost"]


def test_never_more_than_was_set_aside(hub: Hub, behind: scripted.Provider) -> None:
    behind.script.append(scripted.stream([*chat_events(50), scripted.cut]))
    with client(hub) as asking, pytest.raises(openai.APIError):
        list(asking.chat.completions.create(model="fast", messages=TALK, max_tokens=5, stream=True))
    assert row(hub)["output"] == 5


def test_a_provider_that_dies_is_paid_for_what_it_said_in_each_dialect(hub: Hub, behind: scripted.Provider) -> None:
    behind.script.append(scripted.stream([*scripted.messages_stream("m")[:6], scripted.cut]))
    with (
        anthropic.Anthropic(base_url=hub.url, api_key=hub.keys["ann"], max_retries=0) as asking,
        pytest.raises(anthropic.APIError),
        asking.messages.stream(model="wise", messages=TALK, max_tokens=64) as stream,
    ):
        stream.get_final_message()
    said = row(hub)
    assert (said["status"], said["input"], said["output"]) == ("estimated", 9, 3), "its input it had reported; Hello there. is three"
    assert said["cost"] == 9 * CLAUDE_INPUT + 3 * CLAUDE_OUTPUT
    assert outcome(hub)["estimated"] is True

    behind.script.append(scripted.stream([*scripted.messages_stream("m")[:5], scripted.cut]))
    with client(hub) as asking, pytest.raises(openai.APIError):
        list(asking.chat.completions.create(model="wise", messages=TALK, stream=True))
    assert (rows(hub)[1]["status"], rows(hub)[1]["output"]) == ("estimated", 3), "in translation by the provider's words"

    events = Shelf().answer(scripted.Asked("/v1/responses", {}, json.dumps({"model": "m", "input": "x", "stream": True}).encode())).parts
    failed = {"type": "response.failed", "response": {"id": "r", "status": "failed", "error": {"code": "server_error", "message": "no"}}}
    behind.script.append(scripted.stream([*events[:6], scripted.named(failed)]))
    with client(hub) as asking:
        assert list(asking.responses.create(model="fast", input="x", stream=True, store=False))[-1].type == "response.failed"
    last = rows(hub)[2]
    assert (last["status"], last["output"]) == ("estimated", 1), "three letters"
    assert outcome(hub)["outcome"]["status"] == "error"


def test_a_provider_that_never_says_what_it_consumed_is_paid_for_what_went_both_ways(hub: Hub, behind: scripted.Provider) -> None:
    behind.script.append(scripted.stream([*chat_events(7), b"data: [DONE]\n\n"]))
    whole = scripted.chat_whole("m")
    del whole["usage"]
    behind.script.append(scripted.whole(whole))
    behind.script.append(
        scripted.whole({"object": "list", "model": "m", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}]})
    )
    with client(hub) as asking:
        list(asking.chat.completions.create(model="fast", messages=TALK, max_tokens=64, stream=True))
        asking.chat.completions.create(model="fast", messages=TALK, max_tokens=4096)
        asking.embeddings.create(model="fast", input="forty bytes of text that are to be found", encoding_format="float")
    streamed, answered, embedded = wait_for(lambda: found if len(found := rows(hub)) == 3 else None)
    assert [row["status"] for row in (streamed, answered, embedded)] == ["estimated"] * 3
    assert streamed["output"] == 3 * 7
    assert answered["output"] == -(-len(json.dumps(whole)) // 4)
    assert embedded["output"] == 0
    for row in (streamed, answered, embedded):
        assert 9 < row["input"] < 60, "a quarter of the request's bytes"
        assert row["cost"] == row["input"] * INPUT + row["output"] * OUTPUT
    ends = [one for one in records(hub.database) if one["kind"].startswith("llm.") and one["kind"].endswith(".outcome")]
    assert [one["estimated"] for one in ends] == [True] * 3


@pytest.mark.parametrize("ends", ["in order", "in an error"])
def test_a_report_at_the_start_of_messages_is_not_taken_for_the_whole(hub: Hub, behind: scripted.Provider, ends: str) -> None:
    """Where nothing is reported at the end, what had come is paid, whoever the client is and however it ends."""
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    silent = [event for event in scripted.messages_stream("m") if b"message_delta" not in event]
    events = silent if ends == "in order" else [*silent[:-1], scripted.named(error)]
    for _ in range(2):
        behind.script.append(scripted.stream(events))
    failing = contextlib.nullcontext() if ends == "in order" else pytest.raises((anthropic.APIError, openai.APIError))
    with anthropic.Anthropic(base_url=hub.url, api_key=hub.keys["ann"], max_retries=0) as asking, failing:
        list(asking.messages.create(model="wise", messages=TALK, max_tokens=64, stream=True))
    with client(hub) as asking, failing:
        list(asking.chat.completions.create(model="wise", messages=TALK, stream=True))
    same, translated = wait_for(lambda: found if len(found := rows(hub)) == 2 else None)
    for row in (same, translated):
        assert (row["status"], row["output"], row["cost"]) == ("estimated", 3, row["input"] * CLAUDE_INPUT + 3 * CLAUDE_OUTPUT)
        assert row["input"] == 9, "as it was reported"
    assert outcome(hub)["estimated"] is True
    assert outcome(hub)["outcome"]["status"] == ("ok" if ends == "in order" else "error")


def test_words_of_which_none_are_counted_are_not_for_nothing(hub: Hub, behind: scripted.Provider) -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 0, "total_tokens": 9}}
    first, *rest = chat_events(7)
    for words in (rest, []):
        behind.script.append(scripted.stream([first, b"data: " + json.dumps(usage).encode() + b"\n\n", *words, b"data: [DONE]\n\n"]))
    with client(hub) as asking:
        for _ in range(2):
            list(asking.chat.completions.create(model="fast", messages=TALK, max_tokens=64, stream=True))
    said, silent = wait_for(lambda: found if len(found := rows(hub)) == 2 else None)
    assert (said["status"], said["input"], said["output"], said["cost"]) == ("estimated", 9, 21, 9 * INPUT + 21 * OUTPUT)
    assert (silent["status"], silent["input"], silent["output"]) == ("ok", 9, 0)


def test_what_the_provider_reported_counts_where_it_did(hub: Hub, behind: scripted.Provider) -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 40, "total_tokens": 49}}
    behind.script.append(scripted.stream([*chat_events(2), b"data: " + json.dumps(usage).encode() + b"\n\n", scripted.cut]))
    with client(hub) as asking, pytest.raises(openai.APIError):
        list(asking.chat.completions.create(model="fast", messages=TALK, max_tokens=64, stream=True))
    assert (row(hub)["status"], row(hub)["input"], row(hub)["output"]) == ("error", 9, 40)
    assert outcome(hub)["estimated"] is False


@pytest.mark.parametrize("dialect", ["messages", "chat"])
def test_a_report_at_the_start_is_an_estimate_also_of_an_answer_that_is_as_short(hub: Hub, behind: scripted.Provider, dialect: str) -> None:
    events = [event for event in scripted.messages_stream("m") if b"message_delta" not in event]
    behind.script.append(scripted.stream([event for event in events if not (b"there" in event or b'"."' in event or b"Hello" in event)]))
    streamed(hub, dialect, "wise")
    assert (row(hub)["status"], row(hub)["input"], row(hub)["output"]) == ("estimated", 9, 1)
    assert outcome(hub)["estimated"] is True


@pytest.mark.parametrize("ends", ["in an error", "in nothing"])
@pytest.mark.parametrize("front", ["same", "other"])
def test_what_was_reported_before_the_end_counts_in_translation_too(hub: Hub, behind: scripted.Provider, front: str, ends: str) -> None:
    """Some providers report in each chunk, some only in their first; a broken-off stream is paid by the last report, or by what came after."""
    chunks = [json.loads(event[6:]) for event in chat_events(4)]
    usages = [{"prompt_tokens": 90, "completion_tokens": 5 * number, "total_tokens": 90 + 5 * number} for number in range(5)]
    each = [{**chunk, "usage": usage} for chunk, usage in zip(chunks, usages, strict=True)]
    for said in (each, [each[0], *chunks[1:]]):
        last: Any = b'data: {"error": {"message": "no", "type": "server_error"}}\n\n' if ends == "in an error" else scripted.cut
        behind.script.append(scripted.stream([*(b"data: " + json.dumps(one).encode() + b"\n\n" for one in said), last]))
    begun = [event for event in scripted.messages_stream("m") if not (b"message_delta" in event or b"message_stop" in event)]
    delta = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 40}}
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    last = scripted.named(error) if ends == "in an error" else scripted.cut
    behind.script.append(scripted.stream([*begun, scripted.named(delta), last]))
    for number, model in enumerate(("fast", "fast", "wise"), 1):
        with pytest.raises((anthropic.APIError, openai.APIError)):
            streamed(hub, "chat" if (model == "fast") == (front == "same") else "messages", model)
        wait_for(lambda number=number: len(rows(hub)) == number)
    assert [(row["status"], row["input"], row["output"]) for row in rows(hub)] == [
        ("error", 90, 20),
        ("estimated", 90, 12),
        ("error", 9, 40),
    ]
    assert [row["cost"] for row in rows(hub)] == [
        90 * INPUT + 20 * OUTPUT,
        90 * INPUT + 12 * OUTPUT,
        9 * CLAUDE_INPUT + 40 * CLAUDE_OUTPUT,
    ]
    wait_for(lambda: outcome(hub)["usage"] == {"input": 9, "output": 40})
    assert outcome(hub)["estimated"] is False
    if ends == "in an error":
        assert hub.total("hub_model_tokens_total") == 90 + 20 + 9 + 40, "as reported, and no estimate"


def test_a_key_revoked_in_the_midst_pays_for_what_had_come(hub: Hub, behind: scripted.Provider) -> None:
    made = hub.admin("POST", "/admin/v1/keys", {"name": "short", "grants": [{"model": "*"}]})
    behind.script.append(scripted.stream([*chat_events(4), *scripted.until_gone()]))
    with client(hub, made["key"]) as asking, asking.chat.completions.create(model="fast", messages=TALK, stream=True) as stream:
        chunks = iter(stream)
        for _ in range(5):
            next(chunks)
        hub.admin("DELETE", "/admin/v1/keys/short")
        assert behind.left.wait(20)
    spent = row(hub)
    assert (spent["status"], spent["output"]) == ("estimated", 12)
    wait_for(lambda: any(one.get("outcome", {}).get("code") == "key_revoked" for one in records(hub.database)))


def test_a_hub_that_is_killed_leaves_what_was_sent_at_its_least(hub: Hub, behind: scripted.Provider) -> None:
    gone = threading.Event()
    behind.script.append(scripted.stream([*chat_events(4), scripted.wait(gone)]))
    try:
        with client(hub) as asking, asking.chat.completions.create(model="fast", messages=TALK, stream=True) as stream:
            next(iter(stream))
            os.kill(hub.pid, signal.SIGKILL)
            hub.await_end()
    finally:
        gone.set()
    hub.start()
    spent = row(hub)
    assert (spent["status"], spent["output"]) == ("unknown", 0)
    assert spent["cost"] == spent["input"] * INPUT > 0
    with client(hub) as asking:
        asking.chat.completions.create(model="fast", messages=TALK, max_tokens=10)
    assert [one["status"] for one in rows(hub)] == ["unknown", "ok"]
