"""Servers written with the MCP SDK, over both transports and in both eras, as upstreams."""

import asyncio
import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

SERVER = Path(__file__).parent.parent / "servers" / "sdk_server.py"
VERSIONS = {"auto": "2026-07-28", "2025-11-25": "2025-11-25", "2025-03-26": "2025-03-26"}


@contextlib.contextmanager
def running(mode):
    process = subprocess.Popen([sys.executable, SERVER, "http", mode], stdout=subprocess.PIPE)
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/mcp"
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="module")
def address():
    with running("stream") as url:
        yield url


@pytest.fixture
def made(address, kit):
    return lambda **options: kit.upstream(url=address, **options)


async def catalogue_calls_prompts_and_resources(kit, upstream, version):
    catalogue = await upstream.catalogue()
    names = {(item.kind, item.name) for item in catalogue.items}
    assert {("tool", "echo"), ("prompt", "greet"), ("resource", "memo://one"), ("template", "memo://{name}/page")} <= names
    assert (catalogue.era, catalogue.instructions, catalogue.problems) == (version, "be kind", ())
    assert json.loads(catalogue.server_info)["name"] == "sdk"
    assert json.loads(next(item.raw for item in catalogue.items if item.name == "echo"))["inputSchema"]["required"] == ["text"]
    assert await kit.text(upstream, "echo", {"text": "wörld"}) == "wörld"
    broken = await kit.call(upstream, "broken")
    assert broken.is_error
    assert broken.result
    got = await kit.call(upstream, "", payload=b'{"uri":"memo://two/page"}', method="resources/read")
    assert json.loads(got.result)["contents"][0]["text"] == "page of two"
    got = await kit.call(upstream, "greet", {"name": "you"}, method="prompts/get")
    assert json.loads(got.result)["messages"][0]["content"]["text"] == "Hello you"
    unknown = await kit.call(upstream, "", payload=b"{}", method="no/such")
    assert json.loads(unknown.error)["code"] == -32601


async def many_at_once_are_told_apart(kit, upstream):
    answers = await asyncio.gather(*(kit.text(upstream, "echo", {"text": f"number {n}"}) for n in range(64)))
    assert answers == [f"number {n}" for n in range(64)]


async def progress_comes_in_order(kit, upstream):
    await kit.text(upstream, "slow", {"steps": 4, "pause": 0.02}, meta={"progressToken": "mine"})
    said = [json.loads(chunk.params) for chunk in kit.chunks if chunk.method == "notifications/progress"]
    assert [(one["progress"], one["progressToken"]) for one in said] == [(n, "mine") for n in range(4)]


async def cancelling_reaches_the_server(kit, upstream):
    before = await kit.text(upstream, "read_notes")
    call = asyncio.create_task(kit.text(upstream, "slow", {"steps": 400, "pause": 0.02}, meta={"progressToken": 1}))
    seen = len(kit.chunks)
    end = asyncio.get_running_loop().time() + 60
    while len(kit.chunks) == seen and asyncio.get_running_loop().time() < end - 50:
        await asyncio.sleep(0.02)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    while await kit.text(upstream, "read_notes") == before:
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("protocol", ["auto", "2025-11-25"])
async def test_over_stdio_everything_passes(kit, protocol, until):
    changes = []
    upstream = kit.stdio("stdio", script="sdk_server.py", protocol=protocol, on_changed=changes.append)
    await catalogue_calls_prompts_and_resources(kit, upstream, VERSIONS[protocol])
    await many_at_once_are_told_apart(kit, upstream)
    await progress_comes_in_order(kit, upstream)
    await cancelling_reaches_the_server(kit, upstream)
    await kit.text(upstream, "grow")
    await until(lambda: "tools" in changes)


@pytest.mark.parametrize("protocol", VERSIONS)
async def test_catalogue_calls_prompts_and_resources(kit, made, protocol):
    await catalogue_calls_prompts_and_resources(kit, made(protocol=protocol), VERSIONS[protocol])


@pytest.mark.parametrize("protocol", ["auto", "2025-11-25"])
async def test_64_at_once_are_told_apart(kit, made, protocol):
    await many_at_once_are_told_apart(kit, made(protocol=protocol))


@pytest.mark.parametrize("protocol", ["auto", "2025-11-25"])
async def test_progress_comes_in_order(kit, made, protocol):
    await progress_comes_in_order(kit, made(protocol=protocol))


@pytest.mark.parametrize("protocol", ["auto", "2025-11-25"])
async def test_cancelling_reaches_the_server(kit, made, protocol):
    await cancelling_reaches_the_server(kit, made(protocol=protocol))


async def test_a_server_that_answers_in_plain_json_is_served_in_both_eras(kit):
    with running("json") as url:
        for protocol in ("auto", "2025-11-25"):
            upstream = kit.upstream(url=url, protocol=protocol)
            await catalogue_calls_prompts_and_resources(kit, upstream, VERSIONS[protocol])
            await many_at_once_are_told_apart(kit, upstream)
            await upstream.stop()


async def test_a_change_of_the_tools_is_heard(kit, made):
    changes = []
    upstream = made(on_changed=changes.append)
    await upstream.start()
    end = asyncio.get_running_loop().time() + 30
    while "tools" not in changes:
        await kit.text(upstream, "grow")
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.1)
