from hub.audit.refused import MAX_FIRSTS, MAX_SECONDS, MAX_SOURCES, Firsts, Refusals


def test_refusals_are_counted_by_second_code_and_source():
    refusals = Refusals()
    for second, code, source in [
        (1, "unauthenticated", "a"),
        (1, "unauthenticated", "a"),
        (1, "host_refused", "a"),
        (2, "unauthenticated", "a"),
    ]:
        refusals.add(second, code, source)
    assert refusals.take(2) == [(1, "unauthenticated", "a", 2), (1, "host_refused", "a", 1)]
    assert refusals.take(2) == []
    assert refusals.take(3) == [(2, "unauthenticated", "a", 1)]


def test_what_was_counted_before_the_clock_was_set_back_does_not_wait_until_it_has_caught_up():
    refusals = Refusals()
    refusals.add(4000, "limited", "k1")
    refusals.add(400, "limited", "k1")
    assert refusals.take(400) == [(4000, "limited", "k1", 1)]
    assert refusals.take(401) == [(400, "limited", "k1", 1)]


def test_a_flood_from_many_sources_is_bounded_and_still_counted_in_full():
    refusals = Refusals()
    for source in range(5000):
        refusals.add(1, "unauthenticated", str(source))
    taken = refusals.take(2)
    assert len(taken) <= MAX_SOURCES + 1
    assert sum(count for *_, count in taken) == 5000


def test_of_a_kind_only_the_first_in_each_second_is_a_first():
    firsts = Firsts()
    assert [firsts.first(1, "k1/calls") for _ in range(3)] == [True, False, False]
    assert [firsts.first(2, "k1/calls") for _ in range(2)] == [True, False]


def test_kinds_do_not_repeat_one_another():
    firsts = Firsts()
    assert [firsts.first(1, kind) for kind in ("k1/calls", "k2/calls", "k1/day", "k2/calls")] == [True, True, True, False]


def test_a_flood_of_kinds_is_bounded_in_what_is_recorded_and_in_memory():
    firsts = Firsts()
    assert sum(firsts.first(1, str(kind)) for kind in range(MAX_FIRSTS + 500)) == MAX_FIRSTS
    assert not firsts.first(1, "another")
    assert firsts.first(2, "another")


def test_counts_that_the_journal_does_not_take_are_kept_in_a_bounded_number_of_seconds_and_lose_nothing():
    refusals = Refusals()
    for second in range(MAX_SECONDS + 30):
        refusals.add(second, "limited", "k1", 2)
    taken = refusals.take(MAX_SECONDS + 30)
    assert len(taken) == MAX_SECONDS
    assert sum(count for *_, count in taken) == 2 * (MAX_SECONDS + 30)
