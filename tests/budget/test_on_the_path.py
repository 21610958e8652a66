"""Limits on the governed path: whoever counts, calls are refused in the same order and count alike; Redis is asked once for a call.

A place among the calls in flight is held for exactly as long as the call runs.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from hub.audit.journal import Receipt
from hub.budget import limits_redis
from hub.budget.limiter import Limiter
from hub.budget.limits_redis import RedisLimits
from hub.call import Call, Caller, Chunk, Credential, Decision, Emit, Reply, Target
from hub.pipeline import govern, reject
from hub.plan import Plan, Refused, Steps
from hub.refusal import InvalidRequest, Limited, NotFound, StoreDown
from hub.store.redis import Redis
from hub.telemetry.metrics import Metrics
from tests.budget.conftest import World, caller, rule, until
from tests.services.redis import RedisCluster, RedisServer

KEY, TOOL = "hub:{default}:flying:key:key:k1", "hub:{default}:flying:tool:tool:default time/get_time"


class Written:
    """A journal that takes every record at once."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def append(self, org: str, entry: dict[str, Any]) -> asyncio.Future[Any]:
        self.records.append(entry)
        future = asyncio.get_running_loop().create_future()
        future.set_result(Receipt(origin="o", index=len(self.records), leaf=b""))
        return future

    def repeats(self, what: str) -> bool:
        return False


class Nobody:
    def opened(self, receipt: object) -> None:
        return

    async def emit(self, chunk: Chunk) -> None:
        return


class Door:
    """A view and a policy that say of each call what its name asks for. What is sent waits where it arrives until it is let go."""

    def __init__(self, *, go: bool = False) -> None:
        self.resolved = self.decided = self.arrived = 0
        self.go = asyncio.Event()
        if go:
            self.go.set()

    def resolve(self, call: Call, caller: Caller) -> Plan:
        self.resolved += 1
        match call.name:
            case "unknown":
                raise NotFound("there is no such tool")
            case "broken":
                raise KeyError("a fault of resolve")
            case "list":
                return Plan(call, answer=self.answer)
            case "stream":
                return Plan(call, dispatch=self.dispatch)
            case name:
                shaped = msgspec.structs.replace(call, target=Target("time", "tool", "get_time"))
                return Plan(shaped, dispatch=self.dispatch, inspect=self.inspect if name == "unfit" else None)

    def decide(self, call: Call, caller: Caller) -> Decision:
        self.decided += 1
        if call.name == "undecided":
            raise KeyError("a fault of the policy")
        return Decision(allow=call.name != "denied", reasons=("because",))

    def inspect(self, arguments: Any) -> None:
        raise InvalidRequest("it does not fit")

    async def answer(self, caller: Caller) -> Reply:
        return Reply(result=b"{}")

    async def dispatch(self, call: Call, emit: Emit) -> Reply:
        self.arrived += 1
        await self.go.wait()
        return Reply(result=b"{}")


CALL = Call(id="1", kind="mcp.tools.call", method="tools/call", door="d", payload=b"{}", credential=Credential(), deadline=1e9, name="tool")


def steps_of(limits: Limiter) -> Steps:
    return Steps(None, limits, Written(), Metrics())  # type: ignore[arg-type]  # nothing here asks who calls, or for a proof


@pytest.fixture
async def steps(store: Redis) -> AsyncIterator[Steps]:
    limits = RedisLimits(store, (rule("key", concurrency=3), rule("tool", "tool", concurrency=2)))
    await limits.open()
    yield steps_of(limits)
    await limits.close()


def called(steps: Steps, door: Door, name: str = "tool", who: Caller | None = None) -> "asyncio.Task[Any]":
    call = msgspec.structs.replace(CALL, name=name)
    return asyncio.create_task(govern(steps, door, door, call, who or caller(), Nobody()))  # type: ignore[arg-type]


async def said(steps: Steps, door: Door, *names: str) -> list[str]:
    """What calls are answered, one after the other: `ok`, the limit that refuses, or the code of another refusal."""
    answers: list[str] = []
    for name in names:
        try:
            await called(steps, door, name)
            answers.append("ok")
        except Refused as refused:
            answers.append(refused.refusal.data.get("limit", refused.refusal.code))
    return answers


def recorded(steps: Steps) -> list[str]:
    """Of every refusal's record its code, what it says of where the call was to go, and the decision if it says one."""
    written: list[dict[str, Any]] = steps.journal.records  # type: ignore[attr-defined]
    refused = [one for one in written if one.get("outcome", {}).get("status") == "refused"]
    return [
        " ".join((one["outcome"]["code"], one["target"].get("upstream", one["target"]["door"]), one.get("decision", {}).get("effect", "-")))
        for one in refused
    ]


async def test_whoever_counts_calls_are_refused_in_one_order_and_count_alike(world: World):
    """The caller's limits first, whatever else there is to say; then resolve, policy, the target's limits, and the form of the arguments."""
    limits = await world.make(
        rule("key", per_day=20), rule("rate", per_minute=6000, concurrency=1), rule("tool", "tool", per_day=3, concurrency=1)
    )
    steps, door = steps_of(limits), Door(go=True)
    assert await said(steps, door, "tool", "unknown", "broken", "denied", "undecided") == [
        "ok",
        "not_found",
        "internal",
        "denied",
        "internal",
    ]
    assert recorded(steps) == ["not_found d -", "internal d -", "denied time deny", "internal time -"]
    assert await said(steps, door, "unfit", "list", "stream", "tool") == ["invalid_request", "ok", "ok", "ok"]
    assert await said(steps, door, "tool", "unfit", "denied", "unknown", "list") == ["tool", "tool", "denied", "not_found", "ok"]
    assert recorded(steps)[4:] == ["invalid_request time allow", *["limited time allow"] * 2, "denied time deny", "not_found d -"]
    assert await said(steps, door, *["tool"] * 6) == ["tool"] * 6  # each of which counts against the caller
    assert await said(steps, door, "tool", "unknown", "denied", "list", "broken", "undecided") == ["key"] * 6
    assert recorded(steps)[-6:] == ["limited d -"] * 6
    world.pass_(43_200)
    assert await said(steps, door, *["tool"] * 4, "unknown") == ["ok"] * 3 + ["tool", "not_found"]
    assert await said(steps, door, *["denied"] * 15, "denied", "tool") == ["denied"] * 15 + ["key"] * 2
    refused = await reject(steps, caller(), CALL, InvalidRequest("no"))
    assert refused.refusal.data["limit"] == "key"


async def test_a_target_counts_nothing_of_a_call_its_callers_limits_refuse(world: World):
    limits = await world.make(rule("key", match="k1", per_day=2), rule("tool", "tool", per_day=5))
    steps, door = steps_of(limits), Door(go=True)
    assert await said(steps, door, *["tool"] * 4) == ["ok", "ok", "key", "key"]
    world.pass_(2)  # beyond what is remembered of it
    assert await said(steps, door, "tool", "denied") == ["key", "key"]
    for _ in range(3):
        await called(steps, door, who=caller("k2"))
    with pytest.raises(Refused, match="the limit 'tool' is reached"):
        await called(steps, door, who=caller("k2"))


async def test_a_call_asks_redis_once_and_gives_its_places_back_without_waiting(store: Redis, redis: RedisServer):
    specs = (
        rule("key", per_minute=6000, concurrency=3),
        rule("day", "org", per_day=50),
        rule("tool", "tool", per_minute=6000, concurrency=2),
    )
    limits = RedisLimits(store, specs)
    steps, door = steps_of(limits), Door(go=True)
    await called(steps, door)  # from then on the server knows the script
    for name, frees in (("tool", 2), ("list", 1), ("unfit", 2), ("denied", 1), ("unknown", 1)):
        redis.ask("CONFIG", "RESETSTAT")
        with contextlib.suppress(Refused):
            await called(steps, door, name)
        await store.command("ECHO", "after what was given back")
        stats = redis.ask("INFO", "commandstats")
        assert stats["cmdstat_evalsha"]["calls"] == 1
        assert stats["cmdstat_zrem"]["calls"] == frees
        sent = {name.removeprefix("cmdstat_").partition("|")[0] for name in stats}
        assert sent - {"time", "get", "set", "zcard", "zadd", "pexpire"} <= {"evalsha", "zrem", "echo", "ping", "config", "client", "info"}
    assert redis.ask("KEYS", "*flying*") == []
    await limits.close()


async def test_who_stays_over_a_rate_or_a_day_is_refused_without_asking_until_it_may_be_otherwise(store: Redis, redis: RedisServer):
    elapsed = 10**15
    specs = (rule("key", match="k1", per_day=3), rule("slow", match="k2", per_minute=2, burst=1), rule("tool", "tool", per_day=3))
    limits = RedisLimits(store, specs, elapsed=lambda: elapsed)
    steps, door = steps_of(limits), Door(go=True)

    async def refused(times: int, who: Caller) -> tuple[int, float]:
        """How often Redis was asked, and the last wait that was named."""
        redis.ask("CONFIG", "RESETSTAT")
        wait = 0.0
        for _ in range(times):
            with pytest.raises(Refused) as raised:
                await called(steps, door, who=who)
            wait = raised.value.refusal.retry_after or 0
        return redis.ask("INFO", "commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"], wait

    assert await said(steps, door, *["tool"] * 3) == ["ok"] * 3
    one, two = caller("k1"), caller("k2")
    assert (await refused(50, one))[0] == 1
    seen = door.resolved
    assert (await refused(50, one))[0] == 0
    assert door.resolved == seen  # what is remembered costs no more than it did
    with pytest.raises(
        Refused, match="the limit 'tool' is reached"
    ):  # which is remembered as well, and counts against the caller all the same
        await called(steps, door, who=two)
    asked, wait = await refused(5, two)
    assert asked == 1
    assert 28 < wait <= 30
    elapsed += 600_000_000
    asked, later = await refused(1, two)
    assert asked == 0
    assert later == pytest.approx(wait - 0.6, abs=0.002)
    elapsed += 400_000_000
    assert (await refused(3, two))[0] == 1  # it may be otherwise: a second is over
    limits.configure(specs[:1])
    await called(steps, door, who=two)
    assert (await refused(2, one))[0] == 1
    redis.kill()
    await until(lambda: not store.up)
    assert await said(steps, door, "tool") == ["store_unavailable"]
    redis.restart(forget=True)
    await until(lambda: store.up)
    assert await said(steps, door, "tool") == ["ok"]


async def test_calls_in_flight_are_asked_for_each_time(store: Redis, redis: RedisServer):
    limits = RedisLimits(store, (rule("key", concurrency=1),))
    steps, door = steps_of(limits), Door()
    call = called(steps, door)
    await until(lambda: door.arrived == 1)
    for _ in range(3):
        with pytest.raises(Refused, match="the limit 'key' is reached"):
            await called(steps, door)
    door.go.set()
    await call
    await called(steps, door)
    await limits.close()


async def test_a_call_holds_its_places_while_it_runs_and_gives_them_back_however_it_ends(steps: Steps, redis: RedisServer):
    door = Door()
    calls = [called(steps, door) for _ in range(2)]
    await until(lambda: door.arrived == 2)
    assert (redis.ask("ZCARD", KEY), redis.ask("ZCARD", TOOL)) == (2, 2)
    with pytest.raises(Refused) as raised:
        await called(steps, door)
    assert isinstance(raised.value.refusal, Limited)
    assert raised.value.refusal.data == {"limit": "tool", "scope": "tool"}
    await until(lambda: redis.ask("ZCARD", KEY) == 2)
    calls[0].cancel("client_gone")
    await asyncio.wait(calls[:1])
    await until(lambda: (redis.ask("ZCARD", KEY), redis.ask("ZCARD", TOOL)) == (1, 1))
    door.go.set()
    await calls[1]
    await until(lambda: (redis.ask("ZCARD", KEY), redis.ask("ZCARD", TOOL)) == (0, 0))
    written = steps.journal.records  # type: ignore[attr-defined]
    assert [record["outcome"]["status"] for record in written if "outcome" in record] == ["refused", "aborted", "ok"]


async def test_a_call_that_is_given_up_while_it_waits_to_be_let_in_is_recorded_and_holds_nothing(steps: Steps, redis: RedisServer):
    door = Door()
    for turns in range(8):
        call = called(steps, door)
        for _ in range(turns):
            await asyncio.sleep(0)
        call.cancel("client_gone")
        await asyncio.wait([call])
    await until(lambda: (redis.ask("ZCARD", KEY), redis.ask("ZCARD", TOOL)) == (0, 0))


async def test_without_redis_a_call_is_refused_and_so_is_what_cannot_be_read(steps: Steps, redis: RedisServer, store: Redis):
    redis.kill()
    await until(lambda: not store.up)
    with pytest.raises(Refused) as raised:
        await called(steps, Door())
    assert isinstance(raised.value.refusal, StoreDown)
    assert raised.value.refusal.retry_after is not None
    refused = await reject(steps, caller(), CALL, InvalidRequest("no"))
    assert isinstance(refused.refusal, StoreDown)


RATE = {"per_minute": 60, "burst": 10}
"""Of which a process may let through one at once while it is alone."""


@pytest.mark.parametrize(
    ("mine", "theirs", "names", "answers", "alone"),
    [
        (RATE, RATE, ["tool"], ["ok"], 2),
        (RATE, {"per_day": 5}, ["tool"], ["store_unavailable"], 1),
        (RATE, {"concurrency": 5}, ["unknown", "tool"], ["not_found", "key"], 1),
        ({"per_day": 5}, RATE, ["tool", "unknown", "denied", "list"], ["store_unavailable"] * 4, 0),
        (RATE, RATE, ["denied", "tool", "unknown"], ["denied", "key", "key"], 1),
        ({"per_minute": 60}, RATE, ["tool", "tool", "denied", "unknown"], ["ok", "tool", "denied", "not_found"], 5),
    ],
)
async def test_without_redis_each_group_of_limits_has_its_own_rules(
    store: Redis, redis: RedisServer, mine: dict[str, int], theirs: dict[str, int], names: list[str], answers: list[str], alone: int
):
    allowed: list[None] = []
    limits = RedisLimits(store, (rule("key", **mine), rule("tool", "tool", **theirs)), local=lambda: allowed.append(None))
    steps, door = steps_of(limits), Door(go=True)
    redis.kill()
    await until(lambda: not store.up)
    limits._allowance._tats = {("key", "key:k1"): 0, ("tool", "tool:default time/get_time"): 0}  # long away: one call has come together
    assert await said(steps, door, *names) == answers
    assert len(allowed) == alone


async def test_while_places_are_counted_again_a_target_that_has_some_waits_and_others_do_not(
    store: Redis, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
):
    limits = RedisLimits(store, (rule("key", per_day=5), rule("tool", "tool", concurrency=5)))
    steps, door = steps_of(limits), Door(go=True)
    monkeypatch.setattr(limits_redis, "SETTLE", 30.0)
    limits._returned(whole=False)
    assert await said(steps, door, "tool", "denied", "list", "tool") == ["store_unavailable", "denied", "ok", "store_unavailable"]
    assert int(redis.ask("GET", "hub:{default}:day:key:key:k1")) % 2**32 == 4
    assert redis.ask("KEYS", "*flying*") == []


async def test_the_counts_of_a_call_are_in_one_place_of_a_cluster(redis_cluster: RedisCluster):
    store = Redis(redis_cluster.url)
    await store.open()
    limits = RedisLimits(
        store, (rule("key", concurrency=2), rule("org", "org", per_day=5), rule("tool", "tool", per_minute=60, concurrency=1))
    )
    steps, door = steps_of(limits), Door()
    orgs = [f"org{n}" for n in range(20)]
    calls = [called(steps, door, who=caller(org=org, key=f"key-{org}")) for org in orgs]
    await until(lambda: door.arrived == len(orgs))
    for org in orgs:
        with pytest.raises(Refused, match="the limit 'tool' is reached"):
            await called(steps, door, who=caller(org=org, key=f"key-{org}"))
    door.go.set()
    await asyncio.gather(*calls)
    await asyncio.gather(*(called(steps, door, who=caller(org=org, key=f"key-{org}")) for org in orgs))
    await limits.close()
    await store.close()
