"""Which configurations the processes of one hub have in force, as each of them tells the others: every replica reads a file of its own.

Told by signals, so it is for people to look at and nothing depends on it (`hub.store.signals`). Imported only where Redis is configured.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable

from hub.store.signals import Signals

TOPIC = "configuration"
"""A message is the hash of the configuration that its sender has in force; empty where that process ends."""

EVERY = 2.0
"""Seconds after which each process says it again."""

LOOK = 0.25
"""Seconds until a change is told."""

GONE = 3 * EVERY
"""Seconds after which a process that has said nothing is counted no more."""

MOST = 10_000
"""Processes that are remembered at most."""


class Replicas:
    """`config` says which configuration is in force here, by its hash."""

    def __init__(self, signals: Signals, config: Callable[[], str]) -> None:
        self._signals = signals
        self._config = config
        self._others: dict[bytes, tuple[str, float]] = {}
        """By process: its configuration, and when it said so (monotonic seconds)."""
        self._task: asyncio.Task[None] | None = None
        signals.subscribe(TOPIC, self._heard)

    def open(self) -> None:
        self._task = asyncio.create_task(self._telling(), name="replicas")

    async def close(self) -> None:
        """Say that this process ends, so that the others need not wait for its silence."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._say("")

    def configs(self) -> dict[str, int]:
        """How many processes have each configuration in force, by its hash: this one, and those that were heard of in the last seconds."""
        since = time.monotonic() - GONE
        found = Counter(config for config, at in self._others.values() if at > since)
        found[self._config()] += 1
        return dict(sorted(found.items()))

    async def _telling(self) -> None:
        said, due = "", 0.0
        while True:
            config, now = self._config(), time.monotonic()
            if config != said or now >= due:
                self._say(config)
                self._forget()
                said, due = config, now + EVERY
            await asyncio.sleep(LOOK)

    def _say(self, config: str) -> None:
        self._signals.publish(TOPIC, config.encode())

    def _heard(self, process: bytes, config: bytes) -> None:
        if not config:
            self._others.pop(process, None)
        elif process in self._others or len(self._others) < MOST:
            self._others[process] = (config.decode(), time.monotonic())

    def _forget(self) -> None:
        since = time.monotonic() - GONE
        self._others = {process: said for process, said in self._others.items() if said[1] > since}
