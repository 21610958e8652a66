"""Two replicas of two workers each under mixed load, to which everything happens that can: every promise of the single process is kept."""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.during import Watch
from tests.chaos.roamers import Roaming
from tests.chaos.several import stopped, world
from tests.chaos.strikes import Strike, strikes
from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer

ROUNDS = 3
SEED = 20_261_121


async def round_of_strikes(watch: Watch, some: Sequence[Sequence[Strike]], draw: random.Random) -> dict[str, Any]:
    """One after the other under load, those that stand together at once, each until all is well again and was looked at under load.

    Then the load ends and everything is examined.
    """
    made, roaming, done, looks = watch.world, watch.roaming, list[str](), list[dict[str, Any]]()
    roaming.start()
    await roaming.goes_on(10)
    for together in some:
        said = await asyncio.gather(*(strike.do(made, draw) for strike in together))
        done += [f"{strike.name} ({what})" for strike, what in zip(together, said, strict=True)]
        try:
            await made.recovered()
            await roaming.goes_on(5)
            looks.append(await watch.look())
        except AssertionError as error:
            raise AssertionError(f"after {done}: {error}") from error
    await roaming.ended()
    try:
        return {"done": done, "looks": looks, **await watch.examine()}
    except AssertionError as error:
        raise AssertionError(f"after {done}: {error}") from error


@pytest.mark.timeout(480)  # about 80 s where nothing else runs
async def test_whatever_befalls_two_replicas_no_promise_is_broken(
    tmp_path: Path, postgres: PostgresServer, redis: RedisServer, database_name: str
) -> None:
    draw = random.Random(SEED)
    all_of_them = strikes()
    draw.shuffle(all_of_them)
    with world(tmp_path, postgres, redis, database_name) as made:
        watch = Watch(made, Roaming(made, SEED))
        made.remember()
        for number in range(ROUNDS):
            found = await round_of_strikes(watch, [(strike,) for strike in all_of_them[number::ROUNDS]], draw)
        # else nothing was tried: limits were met, sessions lost with Redis's data, and calls cut off in every way
        assert watch.roaming.reopened
        assert {"limited", "denied"} <= set(found["codes"]), found
        assert {"ok", "aborted", "unknown"} <= set(found["outcomes"]), found
        stopped(made)
