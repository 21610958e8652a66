"""A hub of several workers on a real PostgreSQL and a real Redis, in a folder of the test."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.processes.several import Several

Make = Callable[..., Several]


@pytest.fixture
def several(tmp_path: Path, emptied_url: str, redis_url: str) -> Iterator[Make]:
    """`several(config, workers=2)` starts one; nothing of it is left behind, however the test ends."""
    made: list[Several] = []

    def make(config: dict[str, Any] | None = None, *, workers: int = 2) -> Several:
        made.append(Several(tmp_path, config or {}, postgres=emptied_url, redis=redis_url, workers=workers))
        return made[-1].start()

    yield make
    for hub in made:
        hub.wipe()
