"""Real stores of either kind, and keys that a machine which is busy does not make stale."""

from typing import Any

import pytest

from hub.identity import looks
from tests.support.media import store
from tests.support.patience import as_the_hub_waits, patient_stores

__all__ = ["Counted", "as_the_hub_waits", "patient_stores", "store"]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a test is of anything else, nobody is refused because a poll took a second."""
    monkeypatch.setattr(looks, "STALE", 30.0)


class Counted:
    """The keys of a store, and how often they were read."""

    def __init__(self, keys: Any) -> None:
        self.reads = self.at_once = self.most = 0
        self._keys = keys

    def __getattr__(self, name: str) -> Any:
        return getattr(self._keys, name)

    async def changes(self, *given: Any) -> Any:
        self.reads += 1
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            return await self._keys.changes(*given)
        finally:
            self.at_once -= 1
