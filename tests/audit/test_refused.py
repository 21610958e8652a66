from hub.audit.refused import MAX_SOURCES, Refusals


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


def test_a_flood_from_many_sources_is_bounded_and_still_counted_in_full():
    refusals = Refusals()
    for source in range(5000):
        refusals.add(1, "unauthenticated", str(source))
    taken = refusals.take(2)
    assert len(taken) <= MAX_SOURCES + 1
    assert sum(count for *_, count in taken) == 5000
