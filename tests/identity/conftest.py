"""A real database in a temporary folder."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hub.store.sqlite import Database


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "hub.db")
    database.open()
    yield database
    await database.close()
