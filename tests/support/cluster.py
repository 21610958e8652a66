"""Two replicas of two workers each behind a round-robin proxy, spoken to as if they were one process. Tests only.

Where a journey asks what only a process knows of itself (its streams, its calls under way), all four are asked and the answers put together.
"""

import contextlib
import json
import os
import threading
from collections.abc import Generator
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from tests.support.balancer import Balancer, balanced
from tests.support.hub import START, Hub, Reached, wait_for
from tests.support.several import Several, rewrite, several

REPLICAS, WORKERS = 2, 2
REFUSED = "the edited configuration was refused"


class Cluster(Reached):
    """Looks like one `Hub`. Its file and its log are those of the first replica."""

    def __init__(self, replicas: list[Hub], balancer: Balancer) -> None:
        self.replicas = replicas
        self.balancer = balancer
        self.url = f"http://127.0.0.1:{balancer.port}"
        self.keys = replicas[0].keys
        self.folder = replicas[0].folder
        self.file = replicas[0].file
        self.log = replicas[0].log
        self.pid = os.getpid()  # that of the proxy, whose connections are those of the clients
        self._lines: dict[str, HTTPConnection] = {}
        self._turn = threading.Lock()

    @property
    def database(self) -> Path | str:
        return self.replicas[0].database

    def configure(self, config: dict[str, Any]) -> None:
        """Edit every replica's file. Returns when each has put the edit in force, or refused it, as a deployment waits for its replicas."""
        before = [(replica, replica.standing()["generation"], said(replica, REFUSED)) for replica in self.replicas]
        first, *others = self.replicas
        first.configure(several_of(config))
        for replica in others:
            rewrite(replica, first.file.read_text())

        def decided() -> bool:
            return all(_in_force_since(replica, generation) or said(replica, REFUSED) > refused for replica, generation, refused in before)

        wait_for(decided, START)

    def renew(self, config: dict[str, Any]) -> None:
        """Another configuration, and another secret for every key: what an earlier test revoked stays so."""
        self.keys.clear()
        self.configure(config)

    def status(self, key: str = "root") -> dict[str, Any]:
        """What the processes say of themselves: sums of what is under way, one value where all say the same, else every value there is."""
        with self._turn:
            found = self._each(key)
        whole: dict[str, Any] = json.loads(json.dumps(next(iter(found.values()))))
        whole["config"] = _joined(one["config"] for one in found.values())
        for name in ("sessions", "streams"):
            whole[name] = sum(one[name] for one in found.values())
        for name, upstream in whole["upstreams"].items():
            upstream["state"] = _joined(one["upstreams"][name]["state"] for one in found.values())
            upstream["running"] = _running([one["upstreams"][name] for one in found.values()])
        for name, door in whole["virtual_servers"].items():
            door["absent"] = sorted({absent for one in found.values() for absent in one["virtual_servers"].get(name, door)["absent"]})
        return whole

    def total(self, metric: str) -> float:
        """Over all replicas; whichever worker is asked answers for its replica."""
        return sum(Reached.total(self._at(replica), metric) for replica in self.replicas)

    def _at(self, replica: Hub) -> Reached:
        replica.keys.update(self.keys)
        return replica

    def _each(self, key: str) -> dict[str, dict[str, Any]]:
        """The status of every process, by its boot. One connection to each is kept, so that it need not be looked for each time."""
        found: dict[str, dict[str, Any]] = {}
        for boot, line in list(self._lines.items()):
            try:
                found[boot] = _ask(line, self.keys.get(key, key))
            except (OSError, HTTPException):
                line.close()
                del self._lines[boot]
        for replica in self.replicas:
            others: list[HTTPConnection] = []
            while sum(1 for line in self._lines.values() if line.port == replica.address[1]) < WORKERS:
                line = HTTPConnection(*replica.address, timeout=10)
                state = _ask(line, self.keys.get(key, key))
                if state["boot"] in self._lines:
                    others.append(line)  # kept for now: the next one goes to who has fewer
                else:
                    self._lines[state["boot"]] = line
                    found[state["boot"]] = state
            for line in others:
                line.close()
        return found

    def close(self) -> None:
        for line in self._lines.values():
            line.close()


@contextlib.contextmanager
def cluster(folder: Path, config: dict[str, Any], *, postgres: str, redis: str) -> Generator[Cluster]:
    """A cluster for a block. Every replica must have stopped in order at the end, without an error in its log."""
    with several(folder, several_of(config), count=REPLICAS, postgres=postgres, redis=redis) as hubs, _behind(hubs) as found:
        wait_for(lambda: all(_in_force_since(replica, 0) for replica in found.replicas), START)
        yield found


@contextlib.contextmanager
def _behind(hubs: Several) -> Generator[Cluster]:
    with balanced([hub.address for hub in hubs.hubs]) as balancer:
        found = Cluster(hubs.hubs, balancer)
        try:
            yield found
        finally:
            found.close()


def several_of(config: dict[str, Any]) -> dict[str, Any]:
    return {
        **config,
        "secrets": {"master": "${TEST_MASTER}", "log": "${TEST_LOG}"},
        "server": {**config.get("server", {}), "workers": WORKERS},
    }


def said(replica: Hub, text: str) -> int:
    return replica.log.read_text().count(text)


def _in_force_since(replica: Hub, generation: int) -> bool:
    workers = replica.standing()["workers"]
    states = {(worker["state"], worker["generation"]) for worker in workers}
    return len(workers) == WORKERS and len(states) == 1 and all(state == "serving" and now > generation for state, now in states)


def _ask(line: HTTPConnection, secret: str) -> dict[str, Any]:
    """Asked again where nobody is let in at the moment: the worker has not heard from its database for a second."""

    def answered() -> bytes:
        line.request("GET", "/admin/v1/status", headers={"authorization": f"Bearer {secret}"})
        answer = line.getresponse()
        text = answer.read()
        assert answer.status in (200, 503), text
        return text if answer.status == 200 else b""

    return json.loads(wait_for(answered))


def _running(of: list[dict[str, Any]]) -> int:
    """Calls under way at an upstream. Workers that share a server, told by its process, say each the same of it."""
    shared = {one["pid"]: one["running"] for one in of if one.get("pid")}
    return sum(shared.values()) + sum(one["running"] for one in of if not one.get("pid"))


def _joined(values: Any) -> str:
    return "/".join(sorted(set(values)))
