"""A hub that is started before its database."""

import json
import subprocess
import sys
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.services.postgres import PostgresServer, free_port
from tests.support.hub import ROOT, START, Hub, wait_for


class Early(Hub):
    """On a port that is known before it says so."""

    def launch(self) -> int:
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        environment = {**self.environment, "PYTHONPATH": str(ROOT)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hub.cli", "serve", "--config", str(self.file), "--port", str(port)],
                cwd=self.cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return 0

    def configure(self, config: dict[str, Any]) -> None:
        super().configure(config)
        written = json.loads(self.file.read_text())
        self.file.write_text(json.dumps({**written, "stores": {**written["stores"], "wait": config["wait"]}} | {"wait": None}))
        whole = json.loads(self.file.read_text())
        whole.pop("wait")
        self.file.write_text(json.dumps(whole))


def answer(url: str, body: bytes | None = None) -> tuple[int, str | None, dict[str, Any]] | None:
    """Status, `retry-after`, body; None where nobody is there."""
    try:
        with urlopen(Request(url, data=body), timeout=10) as got:
            return got.status, got.headers["retry-after"], json.loads(got.read())
    except HTTPError as error:
        with closing(error):
            return error.code, error.headers["retry-after"], json.loads(error.read())
    except OSError:
        return None


@pytest.fixture
def made(tmp_path: Path, database_url: str) -> Generator[Any]:
    hubs: list[Hub] = []

    def make(wait: float) -> Hub:
        hubs.append(hub := Early(tmp_path, {"wait": wait}, postgres=database_url))
        return hub

    yield make
    for hub in hubs:
        assert not hub.alive or hub.stop() == 0
        assert "Traceback" not in hub.log.read_text()


def test_a_hub_waits_for_its_database_alive_and_not_ready(made: Any, postgres: PostgresServer) -> None:
    hub = made(600.0)
    postgres.kill()
    at = hub.launch()
    wait_for(lambda: answer(hub.url + "/health"), START)
    assert answer(hub.url + "/health") == (200, None, {"status": "ok"})
    assert answer(hub.url + "/health/ready") == (503, "1", {"status": "not ready", "reasons": ["starting"]})
    assert answer(hub.url + "/mcp/main", b"x" * 200_000) in ((503, "1", {"status": "not ready", "reasons": ["starting"]}), None)
    wait_for(lambda: hub.log.read_text().count("the database cannot be used yet") >= 2, START)
    assert hub.alive
    assert postgres.password not in hub.log.read_text()
    postgres.restart()
    hub.await_ready(at)
    found = answer(hub.url + "/health/ready")
    assert found is not None
    assert (found[0], found[2]["database"]["up"]) == (200, True)


def test_a_hub_waits_no_longer_than_it_is_told_to(made: Any, postgres: PostgresServer) -> None:
    hub = made(1.5)
    postgres.kill()
    said = hub.refused()
    assert "the hub cannot start" in said
    assert "the database cannot be used yet" in said
    assert "the database cannot be used yet" not in made(0.0).refused().removeprefix(said)
