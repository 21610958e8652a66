"""The rate algorithm."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hub.budget.gcra import admit

intervals = st.integers(1, 10**10)
bursts = st.integers(1, 1000)
gaps = st.lists(st.integers(0, 10**10), min_size=1, max_size=120)


def test_a_silent_key_may_burst_and_then_comes_evenly():
    tat, now = 0, 1000
    for _ in range(5):
        tat, wait = admit(tat, now, 100, 5)
        assert wait == 0
    assert admit(tat, now, 100, 5) == (tat, 100)
    tat, wait = admit(tat, now + 100, 100, 5)
    assert wait == 0
    assert admit(tat, now + 100, 100, 5)[1] == 100


@settings(max_examples=300, deadline=None)
@given(interval=intervals, burst=bursts, gaps=gaps, start=st.integers(0, 10**18))
def test_no_window_admits_more_than_burst_and_rate(interval, burst, gaps, start):
    tat, now, admitted = 0, start, []
    for gap in gaps:
        now += gap % (3 * interval)
        tat, wait = admit(tat, now, interval, burst)
        if not wait:
            admitted.append(now)
    for first in range(len(admitted)):
        for last in range(first, len(admitted)):
            assert last - first + 1 <= burst + (admitted[last] - admitted[first]) // interval


@settings(max_examples=300, deadline=None)
@given(tat=st.integers(0, 10**18), now=st.integers(0, 10**18), interval=intervals, burst=bursts)
def test_the_wait_is_exact(tat, now, interval, burst):
    kept, wait = admit(tat, now, interval, burst)
    if wait:
        assert kept == min(tat, now + burst * interval)
        assert wait <= interval
        assert admit(kept, now + wait, interval, burst)[1] == 0
        assert admit(kept, now + wait - 1, interval, burst)[1] == 1


@settings(max_examples=200, deadline=None)
@given(interval=intervals, burst=st.integers(1, 100), idle=st.integers(0, 10**12))
def test_silence_earns_a_whole_burst_and_no_more(interval, burst, idle):
    tat, now = 0, 10**15 + idle
    for _ in range(burst):
        tat, wait = admit(tat, now, interval, burst)
        assert wait == 0
    assert admit(tat, now, interval, burst)[1] == interval


@settings(max_examples=200, deadline=None)
@given(interval=intervals, burst=st.integers(1, 20), count=st.integers(1, 50))
def test_evenly_spaced_requests_are_always_admitted(interval, burst, count):
    tat, now = 0, 10**15
    for _ in range(count):
        tat, wait = admit(tat, now, interval, burst)
        assert wait == 0
        now += interval
