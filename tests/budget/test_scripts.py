"""The scripts that count in Redis, held equal to what they say they do: the rate to its Python twin, all of them to a plain model."""

import redis as client
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.budget.gcra import admit
from hub.budget.scripts import CLOCK, RENEW, TAKE
from tests.budget.purse import CLOCK as TEST_CLOCK
from tests.services.redis import RedisServer

NOW = 1_800_000_000_000_000
DAY = 86_400_000_000
LENGTH = 6_000_000


class Server:
    """The scripts on a real server, on a clock that is set. Through another client than the hub's."""

    def __init__(self, server: RedisServer) -> None:
        self.client = client.Redis(port=server.port, protocol=2)
        self._take = self.client.register_script(TAKE.replace(CLOCK, TEST_CLOCK))
        self.renew = self.client.register_script(RENEW.replace(CLOCK, TEST_CLOCK))

    def begin(self, now: int) -> None:
        self.client.flushall()
        self.set(now)

    def take(self, keys: list[str], arguments: list[str | int], split: int | None = None):
        """The first `split` keys are the caller's, by default all."""
        return self._take(keys, [len(keys) if split is None else split, *arguments])

    def set(self, now: int) -> None:
        self.client.hset("clock", mapping={"seconds": now // 1_000_000, "micros": now % 1_000_000})


def served(server: RedisServer):
    """Hypothesis runs one test function many times within one fixture."""
    server.ask("FLUSHALL")
    return Server(server)


intervals, bursts = st.integers(1, 60_000_000), st.integers(1, 50)


@settings(max_examples=120, deadline=None)
@given(
    interval=intervals,
    burst=bursts,
    gaps=st.lists(st.integers(0, 3 * 10**8), min_size=1, max_size=25),
    start=st.integers(NOW, NOW + 10**15),
)
def test_the_rate_is_the_one_of_gcra_to_the_microsecond(redis_server: RedisServer, interval, burst, gaps, start):
    server = served(redis_server)
    now, tat = start, 0
    for gap in gaps:
        now += gap % (3 * interval)
        server.set(now)
        tat, wait = admit(tat, now, interval, burst)
        assert server.take(["{a}rate"], ["rate", burst, interval]) == ([1, wait] if wait else 0)
        if not wait:
            assert int(server.client.get("{a}rate")) == tat


@settings(max_examples=120, deadline=None)
@given(tat=st.integers(0, NOW + 10**13), now=st.integers(NOW, NOW + 10**12), interval=intervals, burst=bursts)
def test_whatever_rule_or_clock_left_a_rate_behind_it_goes_on_alike(redis_server: RedisServer, tat, now, interval, burst):
    server = served(redis_server)
    server.set(now)
    server.client.set("{a}rate", tat)
    kept, wait = admit(tat, now, interval, burst)
    assert server.take(["{a}rate"], ["rate", burst, interval]) == ([1, wait] if wait else 0)
    assert int(server.client.get("{a}rate")) == kept


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.tuples(st.sampled_from(["take", "end", "pass", "back", "die"]), st.integers(0, 10**6)), max_size=40),
    flying=st.integers(1, 3),
    day=st.integers(1, 8),
    burst=st.integers(1, 4),
)
def test_all_counts_together_follow_a_plain_model(redis_server: RedisServer, steps, flying, day, burst):
    server = served(redis_server)
    interval = 2_000_000
    now, today, used, tat = NOW - NOW % DAY + DAY - 20_000_000, 0, 0, 0
    leases: dict[str, int] = {}
    server.set(now)
    for number, (step, amount) in enumerate(steps):
        if step == "pass":
            now += amount * 20
            server.set(now)
        elif step == "back":
            now -= amount * 5
            server.set(now)
        elif step == "end" and leases:
            name = sorted(leases)[amount % len(leases)]
            del leases[name]
            server.client.zrem("{a}flying", name)
        elif step == "take":
            today, used = (now // DAY, 0) if now // DAY > today else (today, used)
            kept, rate_wait = admit(tat, now, interval, burst)
            if len(leases) >= flying:
                leases = {name: min(end, now + LENGTH) for name, end in leases.items() if end > now}
            waits = [rate_wait, 1_000_000 if len(leases) >= flying else 0, (today + 1) * DAY - now if used >= day else 0]
            got = server.take(
                ["{a}rate", "{a}flying", "{a}day"], ["rate", burst, interval, "flying", flying, 0, "day", day, 0, LENGTH, f"call{number}"]
            )
            if any(waits):
                assert got == [waits.index(max(waits)) + 1, max(waits)]
                tat = kept if rate_wait else tat
            else:
                assert got == 0
                tat, used = kept, used + 1
                leases[f"call{number}"] = now + LENGTH
            assert int(server.client.zcard("{a}flying")) == len(leases)


@settings(max_examples=80, deadline=None)
@given(
    calls=st.lists(st.tuples(st.integers(0, 3_000_000), st.booleans(), st.integers(0, 3)), min_size=1, max_size=25),
    caller=st.tuples(st.integers(1, 4), st.integers(1, 8), st.integers(1, 3)),
    target=st.tuples(st.integers(1, 4), st.integers(1, 8), st.integers(1, 3)),
)
def test_two_groups_at_once_count_as_one_after_the_other(redis_server: RedisServer, calls, caller, target):
    """One run with both, against what two runs say and leave behind; the place of a call its target refuses is given back at once."""
    server = served(redis_server)
    now = NOW
    kinds = ("rate", "day", "flying")

    def asked(limits: tuple[int, int, int]) -> list[str | int]:
        return [item for kind, limit in zip(kinds, limits, strict=True) for item in (kind, limit, 2_000_000 if kind == "rate" else 0)]

    for number, (gap, targeted, ended) in enumerate(calls):
        now += gap
        server.set(now)
        name = f"call{number}"
        lease = [LENGTH, name]
        mine, theirs, *apart = [[f"{{a}}{group}{kind}" for kind in kinds] for group in ("caller", "target", "one", "other")]
        said = server.take(apart[0], [*asked(caller), *lease])
        if targeted and said == 0:
            second = server.take(apart[1], [*asked(target), *lease])
            if second != 0:
                server.client.zrem(apart[0][2], name)
                said = [second[0] + 3, second[1]]
        keys = mine + theirs if targeted else mine
        arguments = asked(caller) + asked(target) if targeted else asked(caller)
        assert server.take(keys, [*arguments, *lease], split=3) == said
        for one, other in zip(mine + theirs, apart[0] + apart[1], strict=True):
            if one.endswith("flying"):
                assert server.client.zrange(one, 0, -1, withscores=True) == server.client.zrange(other, 0, -1, withscores=True)
            else:
                assert server.client.get(one) == server.client.get(other)
        for key in (mine + theirs + apart[0] + apart[1])[2::3]:
            server.client.zrem(key, f"call{number - ended}")


def test_a_renewed_lease_lasts_its_length_again_and_one_that_ran_out_is_back(redis_server: RedisServer):
    server = served(redis_server)
    server.set(NOW)

    def take(name: str) -> object:
        return server.take(["{a}f"], ["flying", 2, 0, LENGTH, name])

    assert [take("one"), take("two"), take("three")] == [0, 0, [1, 1_000_000]]
    server.set(NOW + LENGTH - 1)
    assert server.renew(["{a}f"], [LENGTH, "one"]) == 1
    server.set(NOW + LENGTH)
    assert [take("three"), take("four")] == [0, [1, 1_000_000]]
    assert server.client.zrange("{a}f", 0, -1) == [b"one", b"three"]
    server.renew(["{a}f"], [LENGTH, "two"])  # its process was out of reach for long, and the call still runs
    server.set(NOW + 2 * LENGTH - 1)
    assert take("four") == [1, 1_000_000]


def test_what_nobody_asks_for_any_more_leaves_redis_by_itself(redis_server: RedisServer):
    server = served(redis_server)
    server.set(NOW)
    server.take(["{a}r", "{a}d", "{a}f"], ["rate", 10, 1000, "day", 5, 0, "flying", 5, 0, LENGTH, "one"])
    left = {name: server.client.pttl("{a}" + name) for name in "rdf"}
    assert 50_000 < left["r"] <= 60_002
    assert DAY // 1000 <= left["d"] <= 2 * DAY // 1000
    assert 5_000 < left["f"] <= 7001


def test_a_clock_of_redis_that_is_set_back_an_hour_makes_nobody_wait_an_hour(redis_server: RedisServer):
    server = served(redis_server)
    server.set(NOW)
    for _ in range(3):
        assert server.take(["{a}r", "{a}f"], ["rate", 3, 1_000_000, "flying", 3, 0, LENGTH, f"call{_}"]) == 0
    server.set(NOW - 3_600_000_000)
    assert server.take(["{a}r"], ["rate", 3, 1_000_000]) == [1, 1_000_000]
    assert server.take(["{a}f"], ["flying", 3, 0, LENGTH, "other"]) == [1, 1_000_000]
    server.set(NOW - 3_600_000_000 + LENGTH + 1)  # whoever holds the three is dead: an hour is not waited for
    assert server.take(["{a}f"], ["flying", 3, 0, LENGTH, "other"]) == 0
