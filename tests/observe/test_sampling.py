"""What is sampled: as a caller's trace says, else a share of the traces that begin here, told by their ids. And what answers say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.telemetry.ended import Timings
from hub.telemetry.told import Listener, whole
from hub.telemetry.trace import continued, threshold


@pytest.mark.parametrize("below", [0, threshold(0.5), threshold(1)])
def test_a_caller_decides_for_its_own_trace(below: int) -> None:
    for flags, sampled in (("01", True), ("00", False), ("03", True)):
        assert continued(f"00-{'1' * 32}-{'2' * 16}-{flags}", "", below).sampled is sampled


def test_of_traces_that_begin_here_the_share_is_sampled() -> None:
    assert not any(continued("", "", threshold(0)).sampled for _ in range(1000))
    assert all(continued("", "", threshold(1)).sampled for _ in range(1000))
    some = [continued("", "", threshold(0.25)) for _ in range(4000)]
    assert 800 < sum(trace.sampled for trace in some) < 1200
    assert all(trace.sampled == (int(trace.trace_id[-14:], 16) < threshold(0.25)) for trace in some), "whoever sees the id decides alike"


@given(st.lists(st.sampled_from(["stop", "length", "tool_calls"]), max_size=3), st.lists(st.integers(1, 40), max_size=30))
def test_why_a_stream_ended_is_heard_however_it_is_cut(reasons: list[str], cuts: list[int]) -> None:
    body = b'data: {"id":"chatcmpl-1","model":"gpt-5-mini","choices":[{"delta":{"content":"a \\"finish_reason\\": \\"stop\\" b"}}]}\n\n'
    head = len(body)
    body += b"".join(b'data: {"choices":[{"delta":{},"finish_reason":"%b"}]}\n\n' % reason.encode() for reason in reasons)
    listener = Listener()
    listener.hear(body[:head])
    at = head
    for cut in cuts:
        listener.hear(body[at : at + cut])
        at += cut
    listener.hear(body[at:])
    assert (listener.said.id, listener.said.model, listener.said.reasons) == ("chatcmpl-1", "gpt-5-mini", reasons)


def test_no_text_of_an_answer_is_taken_for_a_name_or_a_reason() -> None:
    said = whole(b'{"id":"msg_1","model":"a model with spaces","stop_reason":"my secret","content":[{"input":{"stop_reason":"end_turn"}}]}')
    assert (said.id, said.model, said.reasons) == ("msg_1", "", [])
    assert whole(b'{"id":"r","model":"m","status":"completed"}').reasons == ["completed"]
    assert whole(b"[1]").model == ""


def test_the_steps_are_parts_of_the_total() -> None:
    timings = Timings(begin=10, resolve=2, decide=3, inspect=20, opened=30, sent=31, first=40, answered=60, end=70)
    assert list(timings.steps().values()) == [2, 3, 5, 10, 9, 29, 10, 60]
    assert list(timings.steps()) == ["resolve", "policy", "limits", "intent", "first_byte", "upstream", "outcome", "total"]
    timings.auth, timings.receive, timings.reserve, timings.queue, timings.settle = 4, 6, 7, 8, 1
    steps = timings.steps()
    assert (steps["intent"], steps["outcome"], steps["total"]) == (3, 9, 70)
    assert steps.pop("queue") + steps.pop("first_byte") <= steps["upstream"]
    assert sum(steps.values()) - steps["total"] <= steps["total"]
    timings.end = 0
    assert "total" not in timings.steps()
    assert Timings(begin=1, resolve=2, end=9).steps() == {"resolve": 2, "total": 8}
