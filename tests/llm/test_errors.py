"""Errors as both families say them. That the SDKs raise the right exception for each stands in `test_sdk.py`."""

import inspect
import json

import pytest

from hub.llm import errors
from hub.llm.canonical import Fault
from hub.refusal import InvalidRequest, Limited, NotFound, Refusal, Unauthenticated
from tests.docs.test_docs import refusals


class Spent(Refusal):
    """As a refusal of a budget's is: no subclass of Limited."""

    code, status = "budget_exceeded", 429


class Unpriced(Refusal):
    code, status = "model_not_priced", 402


def test_the_envelopes_are_those_of_the_apis() -> None:
    answer = errors.refused(NotFound("no such model", data={"param": "model"}), "responses", "req-1")
    assert answer.status == 404
    assert json.loads(answer.body) == {
        "error": {
            "message": "no such model",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
            "hub": {"code": "not_found"},
        }
    }
    answer = errors.refused(Limited("slow down", retry_after=1.2, data={"limit": "rpm"}), "messages", "req-1")
    assert json.loads(answer.body) == {
        "type": "error",
        "error": {"type": "rate_limit_error", "message": "slow down", "hub": {"code": "limited", "limit": "rpm"}},
        "request_id": "req-1",
    }
    assert answer.headers == (("content-type", "application/json"), ("retry-after", "2"), ("retry-after-ms", "1200"))


def test_money_is_told_from_speed() -> None:
    for refusal in (Spent("spent", retry_after=30), Limited("spent", retry_after=30, data={"budget": "team"})):
        answer = errors.refused(refusal, "chat")
        assert (answer.status, json.loads(answer.body)["error"]["code"]) == (429, "insufficient_quota")
        assert dict(answer.headers)["x-should-retry"] == "false"
        assert dict(answer.headers)["retry-after"] == "30"
        assert json.loads(errors.refused(refusal, "messages").body)["error"]["type"] == "rate_limit_error"
    answer = errors.refused(Unpriced("no price"), "chat")
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (402, "model_not_priced")
    assert json.loads(errors.refused(Unpriced("no price"), "messages").body)["error"]["type"] == "billing_error"


@pytest.mark.parametrize("kind", refusals(), ids=lambda kind: kind.code)
@pytest.mark.parametrize("dialect", ["chat", "responses", "messages"])
def test_every_refusal_has_its_words_in_each_dialect(kind: type[Refusal], dialect: errors.Dialect) -> None:
    refusal = kind("why") if "message" in inspect.signature(kind).parameters else kind()  # type: ignore[call-arg]
    answer = errors.refused(refusal, dialect)
    assert 400 <= answer.status < 600
    assert json.loads(answer.body)["error"]["hub"]["code"] == kind.code
    event = errors.in_band(refusal, dialect, 4)
    assert event.endswith(b"\n\n")
    assert event.startswith(b"data: " if dialect == "chat" else b"event: error\ndata: ")
    body = json.loads(event.split(b"data: ", 1)[1])
    assert body["error"]["message"] == refusal.message
    if dialect == "responses":
        assert (body["type"], body["sequence_number"], body["message"]) == ("error", 4, refusal.message)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (502, b"<html>bad gateway</html>", Fault("broken", "the provider answered with status 502", 502)),
        (400, b'{"error":"model is required"}', Fault("invalid", "model is required", 400)),
        (404, b'[{"error":{"code":404,"message":"gone","status":"NOT_FOUND"}}]', Fault("missing", "gone", 404)),
        (422, b'{"object":"error","message":"bad role","type":"invalid_request_error","code":null}', Fault("invalid", "bad role", 422)),
        (
            422,
            b'{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","n"]}]},"type":"invalid_request_error"}',
            Fault("invalid", '{"detail":[{"type":"extra_forbidden","loc":["body","n"]}]}', 422),
        ),
        (0, b'{"error":{"type":"overloaded_error","message":"busy"}}', Fault("overloaded", "busy")),
        (418, b"null", Fault("invalid", "the provider answered with status 418", 418)),
        (429, b"", Fault("limited", "the provider answered with status 429", 429)),
    ],
)
def test_a_providers_error_is_read_however_it_is_said(status: int, body: bytes, expected: Fault) -> None:
    assert errors.read_fault(status, body, "openai") == expected


def test_what_a_client_cannot_mend_is_not_worth_trying_again() -> None:
    for refusal in (Limited("no"), Limited("late", retry_after=3600)):
        assert ("x-should-retry", "false") in errors.refused(refusal, "chat").headers
    for refusal in (Limited("soon", retry_after=1), Unauthenticated(), InvalidRequest("bad")):
        assert "x-should-retry" not in dict(errors.refused(refusal, "chat").headers)


def test_a_conversation_that_is_too_long_is_told_in_the_words_clients_look_for() -> None:
    fault = Fault("invalid", "This model's maximum context length is 8 tokens.", 400, "context_length_exceeded", "messages")
    body = json.loads(errors.translated(fault, "messages", {}).body)
    assert body["error"]["message"] == "prompt is too long: This model's maximum context length is 8 tokens."
    found = errors.read_fault(400, json.dumps(body).encode(), "anthropic")
    assert json.loads(errors.translated(found, "chat", {}).body)["error"]["code"] == "context_length_exceeded"
