"""Watches `hub.yaml` and hands every good edit on. A bad edit is said and changes nothing."""

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

    def __init__(self, path: Path | None, changed: Callable[[Loaded], Awaitable[None]]) -> None:
        self._path = path
        self._changed = changed
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._path is not None:
            self._task = asyncio.create_task(self._look(self._path), name="config-watch")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _look(self, path: Path) -> None:
        seen = _state(path)
        while True:
            await asyncio.sleep(EVERY)
            now = _state(path)
            if now == seen or now is None:  # an editor may remove the file for a moment
                continue
            seen = now
            try:
                loaded = await asyncio.to_thread(load, path)
            except ConfigError as error:
                log.error("the edited configuration was refused; the one before it keeps running", extra=fields(reason=str(error)))
                continue
            try:
                await self._changed(loaded)
            except Exception:
                log.exception("the edited configuration could not be taken up")


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
