"""Who a call is for, told to a provider in a hash: where the client gave none, and nothing else of the request is touched."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.call import Caller
from hub.llm.attribution import attributed, pseudonym
from hub.llm.quirks import OPENAI, Quirks

ANN = Caller("acme", "user:ann", "k1")


def test_a_pseudonym_is_of_organisation_and_user_and_shows_neither() -> None:
    one = pseudonym(b"key", ANN)
    assert one == pseudonym(b"key", Caller("acme", "user:ann", "k2")), "another key of the same user"
    others = [(b"key", Caller("other", "user:ann", "k1")), (b"key", Caller("acme", "user:bob", "k1")), (b"other", ANN)]
    assert len({one, *(pseudonym(key, caller) for key, caller in others)}) == 4
    assert pseudonym(b"key", Caller("acme", "app:x", "k1")) != pseudonym(b"key", Caller("acme", "app:x", "k2"))
    assert len(one) == 32
    assert "ann" not in one


@pytest.mark.parametrize(
    ("path", "wire", "quirks", "body", "then"),
    [
        ("/chat/completions", "openai", OPENAI, '{"model":"m", "top_p": 0.50}', '{"safety_identifier":"who","model":"m", "top_p": 0.50}'),
        ("/responses", "openai", OPENAI, ' { "model":"m"}', ' {"safety_identifier":"who", "model":"m"}'),
        ("/embeddings", "openai", OPENAI, '{"model":"m"}', '{"user":"who","model":"m"}'),
        ("/chat/completions", "openai", Quirks(), '{"model":"m"}', '{"user":"who","model":"m"}'),
        ("/chat/completions", "openai", Quirks(user=False), '{"model":"m"}', '{"model":"m"}'),
        ("/moderations", "openai", OPENAI, '{"model":"m"}', '{"model":"m"}'),
        ("/chat/completions", "openai", OPENAI, '{"model":"m","user":"mine"}', '{"model":"m","user":"mine"}'),
        ("/chat/completions", "openai", OPENAI, '{"model":"m","safety_identifier":"s"}', '{"model":"m","safety_identifier":"s"}'),
        ("/v1/messages", "anthropic", OPENAI, '{"model":"m"}', '{"metadata":{"user_id":"who"},"model":"m"}'),
        ("/v1/messages", "anthropic", OPENAI, '{"metadata": null,"model":"m"}', '{"metadata": {"user_id":"who"},"model":"m"}'),
        ("/v1/messages", "anthropic", OPENAI, '{"metadata":{"x":1} ,"model":"m"}', '{"metadata":{"x":1,"user_id":"who"} ,"model":"m"}'),
        ("/v1/messages", "anthropic", OPENAI, '{"metadata":{"user_id":"u"},"model":"m"}', '{"metadata":{"user_id":"u"},"model":"m"}'),
        ("/v1/messages/count_tokens", "anthropic", OPENAI, '{"model":"m"}', '{"model":"m"}'),
    ],
)
def test_it_goes_where_a_provider_looks_for_it(path: str, wire: str, quirks: Quirks, body: str, then: str) -> None:
    assert attributed(body.encode(), path, wire, quirks, "who").decode() == then


MEMBERS = st.dictionaries(
    st.text(max_size=8),
    st.recursive(st.none() | st.integers() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3)),
    max_size=5,
)


@given(MEMBERS, st.sampled_from(["openai", "anthropic"]))
def test_nothing_else_changes(members: dict[str, Any], wire: str) -> None:
    members = {name: value for name, value in members.items() if name not in ("n", "stream", "metadata", "tools", "user")}
    body = {**members, "model": "m"}
    path = "/v1/messages" if wire == "anthropic" else "/chat/completions"
    raw = json.dumps(body, indent=1).encode()
    found = attributed(raw, path, wire, OPENAI, "who")
    assert found.endswith(raw.lstrip(b"{")), "byte for byte"
    added = {"metadata": {"user_id": "who"}} if wire == "anthropic" else {"safety_identifier": "who"}
    assert json.loads(found) == {**body, **added}
