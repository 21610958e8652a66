"""What a stream has said by the time it is cut is the same however it came, in each dialect."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.llm import amount as room
from hub.llm.amount import MOST_KEPT, Amount, Words

TEXTS = st.lists(st.text(max_size=40), max_size=8)


def chat(text: str) -> list[Any]:
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": text}}
    return [{"choices": [{"index": 0, "delta": delta}]} for delta in ({"content": text}, {"tool_calls": [call]})]


def completions(text: str) -> list[Any]:
    return [{"choices": [{"index": 0, "text": text, "logprobs": None}]}] * 2


def messages(text: str) -> list[Any]:
    deltas = ({"type": "text_delta", "text": text}, {"type": "input_json_delta", "partial_json": text})
    return [{"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas]


def responses(text: str) -> list[Any]:
    kinds = ("response.output_text.delta", "response.function_call_arguments.delta")
    return [*({"type": kind, "item_id": "x", "delta": text} for kind in kinds), {"type": "response.output_text.done", "text": text}]


FORMS: dict[Words, Any] = {"chat": chat, "completions": completions, "messages": messages, "responses": responses}


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(FORMS)), TEXTS, st.lists(st.integers(1, 60), max_size=30), st.booleans(), st.booleans())
def test_it_is_the_bytes_of_text_and_arguments_in_any_cut(
    words: Words, texts: list[str], cuts: list[int], ascii_only: bool, large: bool
) -> None:
    texts = [text.encode("utf-8", "replace").decode() for text in texts] * (1 if not large else 1 + MOST_KEPT // 200)
    events = [event for text in texts for event in FORMS[words](text)]
    raw = b"".join(b"data: " + json.dumps(event, ensure_ascii=ascii_only).encode() + b"\n\n" for event in events)
    amount, at = Amount(words), 0
    for cut in cuts:
        amount.feed(raw[at : at + cut])
        at += cut
    amount.feed(raw[at:])
    said = 2 * sum(len(text.encode()) for text in texts)
    assert amount.length == said
    assert amount.tokens == -(-said // 4)


def test_an_event_that_is_not_whole_counts_for_nothing_yet() -> None:
    amount = Amount("chat")
    amount.feed(b'data: {"choices": [{"delta": {"content": "four"}}]}\n\ndata: {"choices": [{"delta": {"content": "fo')
    assert (amount.length, amount.tokens) == (4, 1)
    amount.feed(b'ur"}}]}\n\n')
    assert (amount.length, amount.tokens) == (8, 2)


def test_each_byte_is_looked_at_a_few_times_however_long_an_event_is(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def joined(chunks: list[bytes]) -> bytes:
        whole = b"".join(chunks)
        seen.append(len(whole))
        return whole

    monkeypatch.setattr(room, "_joined", joined)
    text = "x" * (8 * MOST_KEPT)
    event = b"data: " + json.dumps(chat(text)[0]).encode() + b"\n\n"
    raw, amount = event * 3, Amount("chat")
    for at in range(0, len(raw), 16):
        amount.feed(raw[at : at + 16])
    assert amount.length == 3 * len(text)
    assert sum(seen) < 2 * len(raw)
