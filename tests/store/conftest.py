"""A real database in a temporary folder."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hub.store.sqlite import Database
from tests.support.patience import as_the_hub_waits, patient_stores

__all__ = ["as_the_hub_waits", "patient_stores"]


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "hub.db")
    database.open()
    yield database
    await database.close()
