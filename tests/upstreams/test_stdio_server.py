"""A stdio server as an upstream: good ones of both eras, and every way to be bad."""

import asyncio
import json
import os
import signal
import time

import pytest

from hub.config.mcp import Breaker, Stdio
from hub.refusal import UpstreamDown, UpstreamFault, UpstreamTimeout


@pytest.mark.parametrize(("era", "version"), [("older", "2025-11-25"), ("modern", "2026-07-28")])
async def test_the_era_is_found_and_a_call_is_answered(kit, era, version):
    upstream = kit.stdio(era)
    assert upstream.state == "stopped"
    said = json.loads(await kit.text(upstream, "echo", {"a": 1.0}))
    assert said["arguments"] == {"a": 1.0}
    assert ("_meta" in said) == (era == "modern")
    assert (upstream.state, upstream.era) == ("ready", version)
    assert upstream.status()["pid"]


async def test_keys_of_the_newer_era_do_not_reach_an_older_server(kit):
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/logLevel": "debug", "x/y": 1}
    assert json.loads(await kit.text(kit.stdio("older"), "echo", meta=meta))["_meta"] == {"x/y": 1}


@pytest.mark.parametrize("mode", ["silent-probe", "banner"])
async def test_an_older_server_that_ignores_the_probe_or_chats_is_served(kit, mode):
    upstream = kit.stdio("older", mode, start_timeout=6.0)
    assert await kit.text(upstream, "echo")
    assert upstream.era == "2025-11-25"


async def test_a_server_that_dies_of_the_probe_is_started_without_it(kit):
    upstream = kit.stdio("older", "crash-probe")
    with pytest.raises(UpstreamDown):
        await kit.call(upstream, "echo")
    assert await kit.text(upstream, "echo")


async def test_a_pinned_version_is_not_probed(kit, tmp_path):
    upstream = kit.stdio("older", "crash-probe", protocol="2025-06-18")
    await upstream.start()
    assert upstream.era == "2025-06-18"


async def test_64_calls_at_once_get_their_own_answers(kit):
    upstream = kit.stdio("older")
    answers = await asyncio.gather(*(kit.text(upstream, "echo", {"n": n}) for n in range(64)))
    assert [json.loads(answer)["arguments"]["n"] for answer in answers] == list(range(64))
    assert upstream.status()["starts"] == 1


async def test_progress_arrives_in_order_under_the_clients_own_token(kit):
    upstream = kit.stdio("modern")
    await kit.text(upstream, "slow", {"steps": 5, "pause": 0.01}, meta={"progressToken": "töken"})
    params = [json.loads(chunk.params) for chunk in kit.chunks]
    assert [one["progress"] for one in params] == [0, 1, 2, 3, 4]
    assert {one["progressToken"] for one in params} == {"töken"}


async def test_progress_nobody_asked_for_is_not_asked_for(kit):
    await kit.text(kit.stdio("older"), "slow", {"steps": 2, "pause": 0.01})
    assert kit.chunks == []


async def test_progress_extends_the_time_and_silence_ends_it(kit, tmp_path, until):
    notes = tmp_path / "notes"
    upstream = kit.stdio("older", "good", notes, timeout=1.2)
    await kit.text(upstream, "slow", {"steps": 4, "pause": 0.4}, meta={"progressToken": 1})
    with pytest.raises(UpstreamTimeout):
        await kit.call(upstream, "slow", {"steps": 1, "pause": 3})
    await until(lambda: "notifications/cancelled" in notes.read_text())
    assert upstream.state == "ready"


async def test_the_absolute_limit_holds_in_spite_of_progress(kit):
    upstream = kit.stdio("older", timeout=0.5, max_timeout=0.8)
    await upstream.start()
    began = time.monotonic()
    with pytest.raises(UpstreamTimeout):
        await kit.call(upstream, "slow", {"steps": 100, "pause": 0.1}, meta={"progressToken": 1})
    assert time.monotonic() - began < 8, "it would go on for ten seconds"


async def test_cancelling_reaches_the_server_and_a_late_answer_is_dropped(kit, tmp_path, until):
    notes = tmp_path / "notes"
    upstream = kit.stdio("older", "good", notes)
    await upstream.start()
    call = asyncio.create_task(kit.call(upstream, "slow", {"steps": 1, "pause": 0.3}))
    await until(lambda: upstream.status()["running"] == 1)
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: "notifications/cancelled" in notes.read_text())
    assert await kit.text(upstream, "echo")


async def test_a_server_that_exits_fails_its_calls_and_is_started_again(kit, until):
    changes = []
    upstream = kit.stdio("older", on_changed=changes.append)
    await kit.text(upstream, "echo")
    waiting = asyncio.create_task(kit.call(upstream, "slow", {"steps": 1, "pause": 20}))
    await until(lambda: upstream.status()["running"] == 1)
    with pytest.raises(UpstreamDown):
        await kit.call(upstream, "exit")
    with pytest.raises(UpstreamDown):
        await waiting
    assert upstream.state == "failed"
    assert "raw server started" in upstream.status()["stderr"]
    assert await kit.text(upstream, "echo")
    assert upstream.status()["starts"] == 2
    assert set(changes) == {"tools", "prompts", "resources"}


async def test_killing_the_server_from_outside_is_seen(kit, until):
    upstream = kit.stdio("older")
    await upstream.start()
    os.kill(upstream.status()["pid"], signal.SIGKILL)
    await until(lambda: upstream.state == "failed")
    assert await kit.text(upstream, "echo")


async def test_a_server_that_dies_each_time_is_restarted_ever_less_often(kit):
    upstream = kit.stdio("older", "die")
    for _ in range(3):
        with pytest.raises(UpstreamDown):
            await kit.call(upstream, "echo")
    with pytest.raises(UpstreamDown) as caught:
        await kit.call(upstream, "echo")
    assert 1 < caught.value.retry_after <= 2


async def test_an_oversized_answer_fails_its_call_only(kit):
    upstream = kit.stdio("older", "oversized", max_result=5000)
    small = [kit.call(upstream, "any", {"size": 10}) for _ in range(5)]
    big = [kit.call(upstream, "any", {"size": 300_000}), kit.call(upstream, "any", {"size": 5000})]
    answers = await asyncio.gather(*small, *big, return_exceptions=True)
    assert all(answer.result for answer in answers[:5])
    assert all(isinstance(answer, UpstreamFault) for answer in answers[5:])
    assert (await kit.call(upstream, "any", {"size": 10})).result


@pytest.mark.parametrize("mode", ["garbage", "flood"])
async def test_a_server_that_floods_is_given_up_and_killed(kit, mode, until):
    upstream = kit.stdio("older", mode)
    await upstream.start()
    with pytest.raises((UpstreamDown, UpstreamTimeout)):
        await kit.call(upstream, "echo", deadline=10)
    await until(lambda: upstream.state == "failed")


async def test_a_server_that_does_not_read_does_not_hang_the_hub(kit, monkeypatch, until):
    monkeypatch.setattr("virtual_servers.stdio.STUCK", 0.5)
    upstream = kit.stdio("older", "deaf", timeout=1)
    await upstream.start()
    calls = [kit.call(upstream, "echo", {"text": "x" * 100_000}) for _ in range(20)]
    began = time.monotonic()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(answer, (UpstreamTimeout, UpstreamDown)) for answer in answers)
    assert time.monotonic() - began < 15, "one after the other they would take twenty seconds"
    await until(lambda: upstream.state == "failed")


async def test_an_answer_with_another_id_is_no_answer(kit):
    upstream = kit.stdio("older", "wrong-id", timeout=0.4)
    with pytest.raises(UpstreamTimeout):
        await kit.call(upstream, "echo")


async def test_a_ping_is_answered_and_other_requests_are_refused(kit, tmp_path, until):
    notes = tmp_path / "notes"
    upstream = kit.stdio("older", "asks", notes)
    await kit.text(upstream, "echo")
    await until(lambda: notes.read_text().count('"id"') == 2)
    said = [json.loads(line) for line in notes.read_text().splitlines() if line.startswith("{")]
    assert {"jsonrpc": "2.0", "id": "s1", "result": {}} in said
    assert any(one["id"] == "s2" and one["error"]["code"] == -32601 for one in said)


async def test_a_server_that_cannot_be_started_is_down_and_shows_no_path(kit):
    upstream = kit.upstream(stdio=Stdio(command="/no/such/program-of-ours"))
    with pytest.raises(UpstreamDown) as caught:
        await kit.call(upstream, "echo")
    assert "program-of-ours" not in caught.value.message
    assert upstream.state == "failed"


async def test_the_environment_of_the_hub_is_not_passed_on(kit, monkeypatch):
    monkeypatch.setenv("HUB_SECRET_OF_OURS", "hidden")
    upstream = kit.stdio("older", env={"GIVEN": "yes"})
    environment = json.loads(await kit.text(upstream, "environment"))
    assert environment["GIVEN"] == "yes"
    assert set(environment) <= {"GIVEN", "PATH", "LANG", "LC_CTYPE", "HUB_BOOT", "HUB_SERVER"}


async def test_an_idle_server_is_stopped_and_started_again_on_use(kit, until):
    upstream = kit.stdio("older", idle_stop=0.3)
    await kit.text(upstream, "echo")
    await until(lambda: upstream.state == "stopped")
    assert await kit.text(upstream, "echo")


async def test_a_server_at_work_is_not_idle(kit):
    upstream = kit.stdio("older", idle_stop=0.2)
    assert await kit.text(upstream, "slow", {"steps": 1, "pause": 0.8}) == "done"


async def test_a_stubborn_server_is_killed(kit, monkeypatch):
    monkeypatch.setattr("virtual_servers.stdio.PATIENCE", 0.2)
    upstream = kit.stdio("older", "stubborn")
    await upstream.start()
    pid = upstream.status()["pid"]
    await upstream.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert upstream.state == "stopped"


async def test_line_breaks_between_tokens_do_not_break_the_framing(kit):
    payload = b'{\n"name": "echo",\r\n "arguments": {\n"text": "a\\nb"}}\n'
    said = json.loads((await kit.call(kit.stdio("older"), "echo", payload=payload)).result)["content"][0]["text"]
    assert json.loads(said)["arguments"] == {"text": "a\nb"}


async def test_a_change_of_the_tools_is_announced_and_seen(kit, until):
    changes = []
    upstream = kit.stdio("older", on_changed=changes.append)
    before = await upstream.catalogue()
    await kit.call(upstream, "grow")
    await until(lambda: changes == ["tools"])
    assert len((await upstream.catalogue()).items) == len(before.items) + 1


async def test_many_callers_start_it_once_and_one_leaving_does_not_stop_it(kit):
    upstream = kit.stdio("older", "silent-probe", start_timeout=6.0)
    calls = [asyncio.create_task(kit.text(upstream, "echo")) for _ in range(10)]
    await asyncio.sleep(0.05)
    calls[0].cancel()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert all(isinstance(answer, str) for answer in answers[1:])
    assert upstream.status()["starts"] == 1


async def test_the_breaker_opens_and_lets_one_try(kit, quick_breaker, until):
    upstream = kit.stdio("older", "wrong-id", timeout=0.1, breaker=quick_breaker)
    for _ in range(3):
        with pytest.raises(UpstreamTimeout):
            await kit.call(upstream, "echo")
    with pytest.raises(UpstreamDown) as caught:
        await kit.call(upstream, "echo")
    assert 0 < caught.value.retry_after <= quick_breaker.open_for
    await until(lambda: upstream.status()["breaker"] == "half-open")
    answers = await asyncio.gather(*(kit.call(upstream, "echo") for _ in range(5)), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["UpstreamDown"] * 4 + ["UpstreamTimeout"]


async def test_calls_of_one_organisation_that_come_to_nothing_do_not_keep_the_others_out(kit):
    upstream = kit.stdio("older", timeout=3.0, breaker=Breaker(failures=2, open_for=60.0))
    asked = [kit.call(upstream, "slow", {"steps": 1, "pause": 30}, org="careless") for _ in range(2)]
    assert [type(answer) for answer in await asyncio.gather(*asked, return_exceptions=True)] == [UpstreamTimeout] * 2
    with pytest.raises(UpstreamDown, match="left alone") as caught:
        await kit.call(upstream, "echo", {"text": "a"}, org="careless")
    assert 50 < caught.value.retry_after <= 60
    assert upstream.status()["breaker"] == "open"
    for _ in range(3):
        assert (await kit.call(upstream, "echo", {"text": "b"}, org="careful")).result
    with pytest.raises(UpstreamDown):
        await kit.call(upstream, "echo", {"text": "a"}, org="careless")


async def test_no_more_calls_than_allowed_are_under_way(kit):
    upstream = kit.stdio("older", concurrency=2)
    await upstream.start()
    began = time.monotonic()
    await asyncio.gather(*(kit.text(upstream, "slow", {"steps": 1, "pause": 0.2}) for _ in range(6)))
    assert time.monotonic() - began >= 0.6


async def test_a_call_that_waits_for_its_turn_too_long_times_out(kit):
    upstream = kit.stdio("older", concurrency=1)
    await upstream.start()
    long = asyncio.create_task(kit.text(upstream, "slow", {"steps": 1, "pause": 0.5}))
    await asyncio.sleep(0)
    with pytest.raises(UpstreamTimeout):
        await kit.call(upstream, "echo", deadline=0.1)
    assert await long == "done"
    assert await kit.text(upstream, "echo")
