"""Watches `hub.yaml` and the policy files it names, and hands every good edit on. A bad edit is said and changes nothing."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from hub.config.load import ConfigError, Loaded, load
from hub.telemetry.logs import fields

log = logging.getLogger("hub.config")

EVERY = 0.5
"""Seconds between looks at the file's state: cheap, and the same on every file system."""


class Watch:
    """`changed` gets what was loaded. With no file (embedded defaults) there is nothing to watch."""

    def __init__(self, loaded: Loaded, changed: Callable[[Loaded], Awaitable[None]]) -> None:
        self._path = loaded.source
        self._first: Loaded | None = loaded
        """What the hub began with, until the file has been looked at: it may have been edited since it was read."""
        self._files = _files(loaded)
        self._seen = self._state()
        self._changed = changed
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._path is not None:
            self._task = asyncio.create_task(self._look(self._path), name="config-watch")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def now(self) -> None:
        """Read the file again now, whether it has changed or not: secrets in files of their own may have."""
        if self._path is None:
            log.warning("there is no configuration file to read again: the hub runs on its defaults")
        self._asked.set()

    async def _look(self, path: Path) -> None:
        while True:
            asked = await self._pause()
            now = self._state()
            first, self._first = self._first, None
            if not asked and (now[0] is None or (now == self._seen and first is None)):  # an editor may remove the file for a moment
                continue
            try:
                loaded = await self._read(path)
            except ConfigError as error:
                log.error("the edited configuration was refused; the one before it keeps running", extra=fields(reason=str(error)))
                continue
            except Exception:  # a watcher that ends would leave every later edit, and so every revocation by one, without effect
                log.exception("the edited configuration could not be read; the one before it keeps running")
                continue
            if loaded == first and not asked:
                continue
            try:
                await self._changed(loaded)
            except Exception:
                log.exception("the edited configuration could not be taken up")

    async def _read(self, path: Path) -> Loaded:
        """Read it, having noted how its files stood before: what is written while they are read is seen at the next look."""
        while True:
            self._seen = self._state()
            loaded = await asyncio.to_thread(load, path)
            if (files := _files(loaded)) == self._files:
                return loaded
            self._files = files  # it names others now, at which nobody has looked yet

    async def _pause(self) -> bool:
        """Wait for the next look; whether somebody asked for it."""
        try:
            async with asyncio.timeout(EVERY):
                await self._asked.wait()
        except TimeoutError:
            return False
        self._asked.clear()
        return True

    def _state(self) -> list[tuple[int, int, int] | None]:
        return [_state(path) for path in self._files]


def _files(loaded: Loaded) -> list[Path]:
    """What a configuration was read from. Secrets in files are left out: a new one takes effect at the next edit or start."""
    return [loaded.source, *loaded.files] if loaded.source is not None else []


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return max(found.st_mtime_ns, found.st_ctime_ns), found.st_size, found.st_ino  # ctime: permissions that were put right
