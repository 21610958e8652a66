"""How long stores wait for their servers in tests that open them themselves.

The hub gives a server half a second (Redis) or one (PostgreSQL), which a busy machine may take for anything. Where a test is of something
else it is not to fail for that.
"""

import pytest

from hub.store.postgres import Postgres
from hub.store.redis import Redis

LONG = 20.0
"""Seconds."""


@pytest.fixture
def as_the_hub_waits() -> None:
    """For tests of that patience itself."""


@pytest.fixture(autouse=True)
def patient_stores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is made without saying how long it waits waits long, but for tests that ask for `as_the_hub_waits`."""
    if "as_the_hub_waits" not in request.fixturenames:
        for store in (Redis, Postgres):
            monkeypatch.setitem(store.__init__.__kwdefaults__, "patience", LONG)
