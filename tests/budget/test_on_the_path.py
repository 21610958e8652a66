"""Limits that must be waited for, on the governed path: a place is held for exactly as long as the call runs."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hub.budget.limits_redis import RedisLimits
from hub.call import Call, Caller, Chunk, Credential, Decision, Emit, Reply, Target
from hub.pipeline import Plan, Refused, Steps, govern, reject
from hub.refusal import InvalidRequest, Limited, StoreDown
from hub.store.redis import Redis
from hub.telemetry.metrics import Metrics
from tests.budget.conftest import caller, rule, until
from tests.services.redis import RedisServer

KEY, TOOL = "hub:{default}:flying:key:key:k1", "hub:{default}:flying:tool:tool:default time/get_time"


class Written:
    """A journal that takes every record at once."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def append(self, org: str, entry: dict[str, Any]) -> asyncio.Future[Any]:
        self.records.append(entry)
        future = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future

    def repeats(self, what: str) -> bool:
        return False


class Allows:
    def decide(self, call: Call, caller: Caller) -> Decision:
        return Decision(allow=True)


class Nobody:
    def opened(self, receipt: object) -> None:
        return

    async def emit(self, chunk: Chunk) -> None:
        return


class Door:
    """Where calls wait until they are let go."""

    def __init__(self) -> None:
        self.arrived = 0
        self.go = asyncio.Event()

    def resolve(self, call: Call, caller: Caller) -> Plan:
        return Plan(
            call=Call(
                id=call.id,
                kind=call.kind,
                method=call.method,
                door=call.door,
                payload=b"{}",
                credential=call.credential,
                deadline=1e9,
                target=Target("time", "tool", "get_time"),
            ),
            dispatch=self.dispatch,
        )

    async def dispatch(self, call: Call, emit: Emit) -> Reply:
        self.arrived += 1
        await self.go.wait()
        return Reply(result=b"{}")


CALL = Call(id="1", kind="mcp.tools.call", method="tools/call", door="d", payload=b"{}", credential=Credential(), deadline=1e9)


@pytest.fixture
async def steps(store: Redis) -> AsyncIterator[Steps]:
    limits = RedisLimits(store, (rule("key", concurrency=3), rule("tool", "tool", concurrency=2)))
    await limits.open()
    yield Steps(None, limits, Written(), Metrics())  # type: ignore[arg-type]  # nothing here asks who calls, or for a proof
    await limits.close()


def called(steps: Steps, door: Door) -> "asyncio.Task[Any]":
    return asyncio.create_task(govern(steps, Allows(), door, CALL, caller(), Nobody()))  # type: ignore[arg-type]


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
