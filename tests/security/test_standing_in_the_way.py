"""Nothing an upstream or an accident does keeps an operator's edit from taking effect, nor one caller's work others from theirs."""

import asyncio
import time
from pathlib import Path

from tests.security.conftest import config_for
from tests.support.hub import Hub, running, wait_for
from tests.support.late import lateness
from tests.support.mcp import Client
from tests.support.wire import Connection


def without_ann() -> dict[str, object]:
    config = config_for()
    return {**config, "keys": [key for key in config["keys"] if key["name"] != "ann"]}


def refused(hub: Hub, key: str) -> bool:
    return asyncio.run(Client(hub, key).call("echo")).status == 401


def test_a_key_is_taken_away_though_a_server_changed_what_policies_read(tmp_path: Path) -> None:
    with running(tmp_path, config_for()) as hub:
        hub.settled("echo")
        asyncio.run(Client(hub, "ann").call("forget"))
        wait_for(lambda: any("not taken up" in problem for problem in hub.status()["problems"]))
        hub.configure(without_ann())
        wait_for(lambda: refused(hub, "ann"))
        assert not refused(hub, "ben")


def test_a_policy_file_may_go_together_with_its_name(tmp_path: Path) -> None:
    policy = tmp_path / "more.cedar"
    policy.write_text('@id("never") forbid (principal, action == Hub::Action::"call_tool:echo/forget", resource);')
    named = config_for(policies={"sets": {"more": {"file": policy.name}}})
    with running(tmp_path, named) as hub:
        hub.settled("echo")
        policy.unlink()
        hub.configure(without_ann())
        wait_for(lambda: refused(hub, "ann"))


def test_nothing_is_answered_from_a_database_that_was_deleted(tmp_path: Path) -> None:
    with running(tmp_path, config_for()) as hub:
        hub.settled("echo")
        hub.database.unlink()
        answer = asyncio.run(Client(hub, "ann").call("echo"))
        assert (answer.status, "hub-receipt" in answer.headers) == (503, False)


async def test_a_long_list_lets_others_have_their_turn(tmp_path: Path) -> None:
    asks = '@id("asks") forbid (principal, action, resource) when { context.key == "nobody" };'
    with running(tmp_path, config_for("3000", policies={"sets": {"asks": {"cedar": asks}}})) as hub:
        await asyncio.to_thread(hub.settled, "echo")
        listing = asyncio.create_task(Client(hub, "ann").modern("tools/list"))
        worst = rounds = 0.0
        async with await Connection.open(hub.address) as connection:
            while not listing.done():
                with lateness() as late:
                    began = time.monotonic()
                    await connection.send(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
                    await connection.response()
                    worst, rounds = max(worst, time.monotonic() - began - late.allowed), rounds + 1
        assert len((await listing).result["tools"]) == 1000
        assert rounds > 5
        assert worst < 0.5
