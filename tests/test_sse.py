"""Server-sent events: the standard's grammar, any cut of the bytes, and the bounds."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.sse import Event, Overflow, Parser

STREAM = (
    b"\xef\xbb\xbf: a comment\r\n\r\nevent: message\r\ndata: one\r\n\r\ndata:two\ndata:  three\nid: 7\n\n"
    b'data\n\nretry: 250\rdata: {"a":1}\r\revent: other\ndata: x\n\nid: 8\0\ndata: y\n\nignored: z\n\ndata: unfinished'
)
EVENTS = [
    Event(b"one"),
    Event(b"two\n three", id="7"),
    Event(b"", id="7"),
    Event(b'{"a":1}', id="7", retry=250),
    Event(b"x", event="other", id="7"),
    Event(b"y", id="7"),
]


def parse(chunks, limit=10_000):
    parser = Parser(limit)
    return [event for chunk in chunks for event in parser.feed(chunk)]


def test_a_stream_yields_the_events_the_standard_says():
    assert parse([STREAM]) == EVENTS


@given(st.lists(st.integers(0, len(STREAM)), max_size=30))
@settings(max_examples=60)
def test_where_the_bytes_are_cut_makes_no_difference(cuts):
    edges = [0, *sorted(cuts), len(STREAM)]
    assert parse([STREAM[a:b] for a, b in pairwise(edges)]) == EVENTS


@given(st.lists(st.text().map(lambda text: text.encode("utf-8", "ignore")).filter(lambda data: b"\r" not in data), max_size=8))
@settings(max_examples=40)
def test_any_data_written_as_lines_comes_back(payloads):
    wire = b"".join(b"".join(b"data: " + line + b"\n" for line in data.split(b"\n")) + b"\n" for data in payloads)
    assert [event.data for event in parse([b"\n" + wire])] == payloads


@given(st.binary(max_size=300), st.integers(1, 50))
@settings(max_examples=40)
def test_arbitrary_bytes_never_hold_more_than_the_bound(data, size):
    parser = Parser(64)
    try:
        for start in range(0, len(data), size):
            for event in parser.feed(data[start : start + size]):
                assert len(event.data) <= 64
    except Overflow:
        pass


def test_a_line_without_end_is_refused_at_the_bound():
    parser = Parser(100)
    parser.feed(b"data: " + b"x" * 90)
    with pytest.raises(Overflow):
        parser.feed(b"x" * 10)


def test_an_event_without_end_is_refused_at_the_bound():
    parser = Parser(100)
    for _ in range(9):
        parser.feed(b"data: 0123456789\n")
    with pytest.raises(Overflow):
        parser.feed(b"data: 0123456789\n")


def test_a_stream_of_comments_costs_nothing():
    parser = Parser(100)
    for _ in range(1000):
        assert parser.feed(b": keep-alive\n\n") == []
