import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hub.audit import record
from hub.audit.checkpoint import Signer
from hub.audit.journal import Journal, Receipt
from hub.call import Call, Caller, Credential, Decision, Target, Trace, new_id
from hub.store.sqlite import Database

SEED = b"\x07" * 32
ALLOW = Decision(True, ("grants",), "sha256:" + "a" * 64)


def make_call(**changed: Any) -> Call:
    fields: dict[str, Any] = {
        "id": new_id(),
        "kind": "mcp.tools.call",
        "method": "tools/call",
        "door": "demo",
        "payload": b'{"name":"now"}',
        "credential": Credential("hub_secret"),
        "deadline": 0.0,
        "name": "time_now",
        "trace": Trace("0" * 31 + "1", "1" * 16),
        "target": Target("time", "tool", "now"),
    }
    return Call(**{**fields, **changed})


def make_caller(org: str = "acme") -> Caller:
    return Caller(org=org, subject="key:ci", key_id="abcdefghijkl")


async def govern(journal: Journal, org: str = "acme", call: Call | None = None) -> tuple[Receipt, Receipt]:
    """One call as the pipeline records it: intent, then outcome."""
    call, caller = call or make_call(), make_caller(org)
    intent = await journal.append(org, record.intent(call, caller, ALLOW, os.urandom(32)))
    outcome = await journal.append(
        org, record.outcome(call, caller, ALLOW, status="ok", code="", us=5, reply=b"{}", salt=os.urandom(32), of=intent)
    )
    return intent, outcome


@asynccontextmanager
async def opened(path: Path, **options: Any) -> AsyncIterator[tuple[Database, Journal]]:
    database = Database(path)
    database.open()
    journal = Journal(database, Signer(SEED), build="0.1.0", **{"checkpoint_every": 60.0, "config_hash": "sha256:c", **options})
    try:
        await journal.open()
        yield database, journal
    finally:
        await journal.close()
        await database.close()


def kit(path: Path) -> SimpleNamespace:
    """What the tests of the journal share: a database path, and ways to open a journal there and to make calls."""
    opening: Callable[..., AbstractAsyncContextManager[tuple[Database, Journal]]] = opened
    governing: Callable[..., Awaitable[tuple[Receipt, Receipt]]] = govern
    return SimpleNamespace(
        path=path, opened=opening, govern=governing, call=make_call, caller=make_caller, allow=ALLOW, signer=Signer(SEED)
    )


@pytest.fixture
def audit(tmp_path: Path) -> SimpleNamespace:
    return kit(tmp_path / "hub.db")


@pytest.fixture(scope="module")
def shared_audit(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The same, for a journal that a whole file of tests reads and none writes."""
    return kit(tmp_path_factory.mktemp("audit") / "hub.db")
