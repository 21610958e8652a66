"""One configuration everywhere: all workers take up an edit, or none does, whatever happens to one of them meanwhile."""

import asyncio
import os
import signal
from typing import Any

from hub.identity.keys import mint
from tests.processes.conftest import Make
from tests.processes.several import Several
from tests.services.machine import state
from tests.support.hub import eventually, wait_for

FORBID = 'forbid (principal, action == Hub::Action::"call_tool:pipe/forbidden", resource);'
NO_POLICY = "forbid (principal, action == Hub::Action::"


def policy(text: str) -> dict[str, Any]:
    return {"policies": {"sets": {"house": {"cedar": text}}}}


async def stands(hub: Several) -> list[tuple[int, str]]:
    """Generation and hash of each worker, as one of them knows it."""
    return [(one["generation"], one["config"]) for one in (await hub.ask()).json["workers"]]


async def reached(hub: Several, generation: int) -> bool:
    """Whether as many workers serve as are wanted, all of them with this one."""
    found = [(one["state"], one["generation"]) for one in (await hub.ask()).json["workers"]]
    return found == [("serving", generation)] * hub.workers and len(set(await stands(hub))) == 1


async def test_an_edit_is_taken_up_by_all_workers_and_a_bad_one_by_none(several: Make) -> None:
    hub = several()
    (before,) = {config for _, config in await stands(hub)}
    async with hub.lines(4) as lines:
        hub.configure(policy(FORBID))
        await eventually(lambda: reached(hub, 2))
        (after,) = {config for _, config in await stands(hub)}
        assert after != before
        assert {line.worker for line in lines} == {1, 2}
        for line in lines:
            assert (await line.call("forbidden")).why == "denied"
            assert (await line.raw_ready()).json["config"] == after
        hub.configure(policy(NO_POLICY))
        await asyncio.to_thread(hub.says, "the edited configuration was refused")
        assert await stands(hub) == [(2, after), (2, after)]
        hub.configure({})
        await eventually(lambda: reached(hub, 4))
        assert {(await line.call("forbidden")).status for line in lines} == {200}
    scrape = await asyncio.to_thread(hub.metrics)
    assert {value for name, value in scrape.items() if name.startswith("hub_worker_generation")} == {4.0}
    assert {name.partition(",")[0] for name in scrape if name.startswith("hub_config{")} == {f'hub_config{{hash="{before}"'}
    assert hub.stop() == 0


async def test_while_one_worker_stands_still_an_edit_is_in_force_nowhere_and_everywhere_once_it_goes_on(several: Make) -> None:
    hub = several()
    stopped = hub.worker(1)
    async with hub.lines(4) as lines:
        going = next(line for line in lines if line.worker == 2)
        os.kill(stopped, signal.SIGSTOP)
        wait_for(lambda: state(stopped) == "T")
        hub.configure(policy(FORBID))
        await asyncio.to_thread(hub.says, "not every worker has answered")
        assert (await going.call("forbidden")).status == 200
        assert (await going.raw_ready()).json["generation"] == 1
        os.kill(stopped, signal.SIGCONT)
        await eventually(lambda: reached(hub, 2))
        assert (await going.call("forbidden")).why == "denied"
    old, new = hub.keys["user"], mint().text
    (hub.folder / "keys" / "user").write_text(new)
    hub.process.send_signal(signal.SIGHUP)
    os.kill(hub.worker(2), signal.SIGKILL)  # the one that takes its place begins with what is in force by then
    await asyncio.to_thread(hub.says, "killed by SIGKILL")
    await eventually(lambda: reached(hub, 3))
    async with hub.lines(4) as lines:
        for key, status in ((old, 401), (new, 200)):
            hub.keys["user"] = key
            answers = [await line.call("forbidden") for line in lines]
            assert {answer.status for answer in answers} == {status}
            assert status == 401 or {answer.why for answer in answers} == {"denied"}
    assert old not in hub.log.read_text()
    assert new not in hub.log.read_text()
    assert hub.stop() == 0
