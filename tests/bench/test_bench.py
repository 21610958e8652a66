"""The benchmark's own promises: no two calls alike, every answer checked, and a caption that says what the figures hold for."""

import orjson
import pytest

from tests.bench import load, measure, revocation, scaling
from tests.bench.table import caption


def text_of(request: bytes) -> str:
    head, _, body = request.partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}\r\n".encode() in head + b"\r\n"
    return orjson.loads(body)["params"]["arguments"]["text"]


def answer(number: int, text: str) -> bytes:
    return orjson.dumps({"jsonrpc": "2.0", "id": number, "result": {"content": [{"type": "text", "text": text}]}})


@pytest.mark.parametrize("era", ["2025-06-18", "2026-07-28"])
def test_no_two_calls_carry_the_same_text_and_all_are_of_one_length(era: str) -> None:
    shape = load.Shape("http://127.0.0.1:1/mcp", era, "echo", {"authorization": "Bearer 100%s"})
    numbers: list[int] = []
    for _ in range(3):  # rounds of a hundred calls, at the million a second that is promised for
        first = load.first_number()
        numbers += range(first, first + 100)
        while load.first_number() < first + 100:
            pass
    texts = [text_of(shape.request(number)) for number in numbers]
    assert len(set(texts)) == len(texts)
    assert {len(text) for text in texts} == {197}


def test_an_answer_that_is_not_the_echo_of_its_call_ends_the_run() -> None:
    number = load.first_number()
    load.check(number, 200, answer(number, f"{number} {load.PADDING}"))
    load.check(number, 200, b"event: message\ndata: " + answer(number, f"{number} {load.PADDING}") + b"\n\n")
    for status, body in (
        (200, answer(number, f"{number - 1} {load.PADDING}")),
        (200, answer(number - 1, f"{number} {load.PADDING}")),
        (500, answer(number, f"{number} {load.PADDING}")),
        (200, b"{}"),
    ):
        with pytest.raises(load.Wrong):
            load.check(number, status, body)


def test_the_caption_names_the_processor_and_the_python() -> None:
    text = caption({**measure.machine(), "python": "3.11.2", "python_optimised": False, "cpu": "Z80", "yardstick_ms": [18.2, 32.1]}, 5)
    assert "Z80" in text
    assert "Python 3.11.2, built without profile-guided optimisation" in text
    assert "18 to 32 ms" in text


def test_a_revocation_is_told_by_process_by_the_last_of_them_and_since_it_was_sent() -> None:
    rounds = [{"after_answer_ms": [0.0, 0.0, 2.0, 10.0 * n], "after_sent_ms": [5.0, 5.0, 7.0, 5 + 10.0 * n]} for n in range(1, 4)]
    line = revocation.row({"how": "polled", "replicas": 2, "processes": 4, "rounds": rounds})
    assert line == ["polled, 2 replicas, 4 processes", "3 × 4", "1 / 30 / 30", "20 / 30", "6 / 35"]
    assert len(line) == len(revocation.HEAD)


def test_two_workers_are_charged_for_every_second_in_which_a_core_had_nothing_to_do() -> None:
    one = scaling.Loaded(calls=1000, wall=1.0, p50_us=0, hub=1.0, workers=(1.0,), beside=0.4, generator=0.1, idle=0.0)
    two = scaling.Loaded(calls=1000, wall=1.0, p50_us=0, hub=1.0, workers=(0.5, 0.5), beside=0.4, generator=0.1, idle=0.0)
    assert scaling.of_one(one) == 1000
    assert scaling.of_two(two) == 2000, "the same CPU for each call on twice the cores"
    assert scaling.of_two(two._replace(idle=1.0)) == 1000, "half of the time nobody had anything to do"
    assert scaling.of_two(two._replace(hub=2.0)) == 1000, "twice the CPU for each call"
