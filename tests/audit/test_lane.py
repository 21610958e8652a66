"""The journal's lane: one at a time, in order, and nobody lost who leaves while he waits."""

import asyncio
import random

from hub.audit.lane import Lane


async def test_one_at_a_time_in_the_order_in_which_they_came():
    lane, seen, inside = Lane(), [], 0

    async def work(number):
        nonlocal inside
        async with lane:
            inside += 1
            assert inside == 1
            assert not lane.try_take()
            await asyncio.sleep(0)
            seen.append(number)
            inside -= 1

    await asyncio.gather(*(work(number) for number in range(20)))
    assert seen == list(range(20))
    assert lane.try_take()


async def test_who_is_stopped_while_waiting_or_just_as_it_is_his_turn_keeps_nobody_out():
    random.seed(7)
    for _ in range(200):
        lane = Lane()
        assert lane.try_take()

        async def work(lane=lane):
            async with lane:
                await asyncio.sleep(0)

        tasks = [asyncio.create_task(work()) for _ in range(5)]
        for _ in range(random.randrange(4)):
            await asyncio.sleep(0)
        stopped = random.sample(tasks, 2)
        before = random.random() < 0.5
        if before:
            lane.leave()
        for task in stopped:
            task.cancel()
        if not before:
            lane.leave()
        done = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 30)
        assert all(isinstance(each, asyncio.CancelledError) or each is None for each in done)
        assert lane.try_take()
