"""A stream of ten minutes, in a clock that runs six hundred times as fast: it holds, and its client hears that it goes on."""

import asyncio
import threading
import time
from types import SimpleNamespace

import pytest

from hub import deadlines
from hub.config.models import ProviderSpec
from hub.config.serving import Egress as EgressSpec
from hub.deadlines import Deadlines
from hub.egress import Egress
from hub.refusal import UpstreamTimeout
from hub.routing.provider import Attempt, Provider
from tests.support import provider as scripted

FAST = 200.0


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.monotonic()
    clock = SimpleNamespace(monotonic=lambda: began + (time.monotonic() - began) * FAST)
    monkeypatch.setattr("hub.routing.provider.time", clock)
    monkeypatch.setattr("hub.deadlines.time", clock)
    monkeypatch.setattr(deadlines, "TICK", 0.25 / FAST)


async def asked(spec: ProviderSpec, patience: float) -> tuple[bytes, int]:
    """What came of a stream in all, and how often it was silent for `patience` seconds."""
    egress, watch = Egress(EgressSpec()), Deadlines()
    await egress.open()
    found, silences = b"", 0
    try:
        attempt = Attempt(
            Provider("p", spec, egress, watch), "/chat/completions", b'{"model": "m"}', b"", bearer=True, deadline=float("inf")
        )
        async with attempt:
            chunk: bytes | None = attempt.body
            while chunk != b"":
                found += chunk or b""
                silences += chunk is None
                await asyncio.sleep(0)
                chunk = await attempt.more(patience)
    finally:
        watch.close()
        await egress.close()
    return found, silences


async def test_ten_minutes_of_a_word_a_minute_hold(fast: None) -> None:
    words = [b'data: {"n": %d}\n\n' % number for number in range(10)]
    parts = [part for word in words for part in (word, lambda: time.sleep(60 / FAST))]
    with scripted.provider() as behind:
        behind.script.append(scripted.stream(parts))
        spec = ProviderSpec(wire="openai", base_url=behind.url + "/v1", timeout=500.0, max_timeout=100_000.0)
        began = time.monotonic()
        found, silences = await asyncio.wait_for(asked(spec, 15.0), 30)
    assert found == b"".join(words)
    assert (time.monotonic() - began) * FAST >= 600
    assert 10 <= silences <= 60 + (time.monotonic() - began) * FAST / 15


async def test_keep_alives_do_not_hide_that_a_provider_is_silent_for_too_long(fast: None) -> None:
    end = threading.Event()
    with scripted.provider() as behind:
        behind.script.append(scripted.stream([b"data: {}\n\n", scripted.wait(end)]))
        spec = ProviderSpec(wire="openai", base_url=behind.url + "/v1", timeout=120.0, max_timeout=100_000.0)
        with pytest.raises(UpstreamTimeout):
            await asyncio.wait_for(asked(spec, 15.0), 30)
        end.set()


async def test_who_reads_slowly_is_not_taken_for_a_silent_provider(fast: None) -> None:
    """Nothing is waited for while the client takes its time: the watch ends waits, not work."""
    with scripted.provider() as behind:
        behind.script.append(scripted.stream([b"data: 1\n\n", b"data: 2\n\n"]))
        spec = ProviderSpec(wire="openai", base_url=behind.url + "/v1", timeout=300.0, max_timeout=100_000.0)
        egress, watch = Egress(EgressSpec()), Deadlines()
        await egress.open()
        attempt = Attempt(
            Provider("p", spec, egress, watch), "/chat/completions", b'{"model": "m"}', b"", bearer=True, deadline=float("inf")
        )
        async with attempt:
            found = attempt.body
            await asyncio.sleep(400 / FAST)
            while chunk := await attempt.more():
                found += chunk
        watch.close()
        await egress.close()
    assert found == b"data: 1\n\ndata: 2\n\n"
