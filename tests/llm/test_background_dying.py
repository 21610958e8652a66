"""Whatever the moment at which a process is killed that looks after an answer made in the background: another settles it, once, as it was used."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hub.llm import background
from hub.llm.background import Background
from tests.budget.purse import ANN, GPT
from tests.llm.dying import CAP, COST, DONE, STREAMED, WAITED, Place
from tests.support.hub import ROOT, eventually

SEEN = frozenset({"ended", "settling", "counted", "settled", "dropped"})
"""Moments by which it is written how it ended."""


@pytest.fixture(params=["sqlite", "postgres", "redis"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    if request.param == "sqlite":
        return [str(tmp_path / "hub.db")]
    found = [request.getfixturevalue("emptied_url")]
    return found if request.param == "postgres" else [*found, request.getfixturevalue("redis_url")]


def answering(status: int) -> Any:
    class Answer:
        """An attempt."""

        def __init__(self, *_: object, **__: object) -> None:
            self.response, self.body = SimpleNamespace(status=status), DONE

        async def __aenter__(self) -> "Answer":
            return self

        async def __aexit__(self, *_: object) -> None:
            return

    return Answer


@pytest.mark.parametrize("moment", [*WAITED, *STREAMED])
async def test_it_is_settled_once_as_it_was_used(stores: list[str], moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dying = [sys.executable, "-m", "tests.llm.dying", moment, *stores]
    died = await asyncio.to_thread(subprocess.run, dying, cwd=ROOT, check=False, timeout=60)
    assert died.returncode == -signal.SIGKILL
    monkeypatch.setattr(background, "Attempt", answering(404 if moment in SEEN else 200))  # the provider may have forgotten it by then
    place = await Place(*stores).open()
    await place.rows.free()  # nobody waits for the lease
    room = Background(
        lambda: {GPT.upstream: cast("Any", SimpleNamespace(provider=None))}, place.rows, place.budgets, alone=place.redis is None
    )
    room.start()

    async def settled() -> bool:
        return not await place.rows.calls() and bool(await place.ledger.find(None))

    await eventually(settled)
    await place.ledger.settled()
    [row] = await place.ledger.find(None)
    assert (row.id, row.cost, row.facts.status, row.tokens.output) == ("c", COST, "ok", 4)
    assert [one.left for one in await place.budgets.standing(ANN, GPT)] == [CAP - COST], (
        "nothing is set aside any more, nothing spent twice"
    )
    await room.close()
    await place.close()
    after = await Place(*stores).open()
    assert [one.left for one in await after.budgets.standing(ANN, GPT)] == [CAP - COST]
    assert len(await after.ledger.find(None)) == 1
    await after.close()
