"""Several hubs that serve as one, on one PostgreSQL and one Redis, spoken to in turn. Tests only."""

import base64
import contextlib
import itertools
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

from tests.support.hub import Hub

SECRETS = ("TEST_MASTER", "TEST_LOG")


class Several:
    """Looks like one `Hub` to a client; each request goes to another than the one before, as behind a load balancer."""

    def __init__(self, hubs: list[Hub]) -> None:
        self.hubs = hubs
        self.keys = hubs[0].keys
        self._turn = itertools.cycle(range(len(hubs)))

    @property
    def address(self) -> tuple[str, int]:
        return self.hubs[next(self._turn)].address

    @property
    def database(self) -> Path | str:
        return self.hubs[0].database


@contextlib.contextmanager
def several(folder: Path, config: dict[str, Any], *upstreams: str, count: int = 2, postgres: str, redis: str) -> Generator[Several]:
    """They start at once, with the same configuration, keys and secrets, and must stop in order at the end, without an error in their logs."""
    config = {**config, "secrets": {"master": "${TEST_MASTER}", "log": "${TEST_LOG}"}}
    secrets = {name: base64.b64encode(os.urandom(32)).decode() for name in SECRETS}
    hubs: list[Hub] = []
    for number in range(count):
        place = folder / str(number)
        place.mkdir()
        hub = Hub(place, config, postgres=postgres, redis=redis)
        hub.environment.update(secrets)
        if hubs:
            hub.file.write_text(hubs[0].file.read_text())  # with the keys of the first
            hub.keys.update(hubs[0].keys)
        hubs.append(hub)
    try:
        begun = [hub.launch() for hub in hubs]
        for hub, at in zip(hubs, begun, strict=True):
            hub.await_ready(at).settled(*upstreams)
        yield Several(hubs)
    finally:
        codes = _stop(hubs)
    for hub, code in zip(hubs, codes, strict=True):
        log = hub.log.read_text()
        assert code == 0, f"exit code {code}:\n{log[-4000:]}"
        assert "Traceback" not in log, log[-8000:]


def rewrite(hub: Hub, text: str) -> None:
    """Give this one another hub.yaml, at once."""
    aside = hub.file.with_suffix(".new")
    aside.write_text(text)
    aside.rename(hub.file)


def _stop(hubs: list[Hub]) -> list[int]:
    """All at once; their exit codes."""
    started = [hub for hub in hubs if hub.process is not None]
    for hub in started:
        hub.terminate()
    return [hub.await_end() for hub in started]
