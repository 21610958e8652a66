"""Who is told how much of a budget is spent: once for each threshold and window, by one of all processes, again where it failed, on nobody's path."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from hub.budget.alerts import Alerts
from hub.budget.budgets_memory import MemoryBudgets
from hub.budget.usage import Ledger
from hub.config.money import AlertSpec, BudgetSpec
from hub.config.serving import Egress as EgressSpec
from hub.config.values import Secret
from hub.egress import Egress
from tests.budget.purse import InPostgres, InSqlite, spend, usd
from tests.support.listening import listening


class Receiver:
    """Takes posts over HTTP; `answers` are the statuses it gives, the last of them for ever."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers) or [204]
        self.got: list[tuple[dict[str, str], dict[str, Any]]] = []

    async def __aenter__(self) -> "Receiver":
        self._listening = listening(self._serve)
        self.url = f"http://127.0.0.1:{await self._listening.__aenter__()}/budget"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._listening.__aexit__(None, None, None)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
                headers = {name.lower(): value for name, value in headers.items()}
                body = json.loads(await reader.readexactly(int(headers["content-length"])))
                self.got.append((headers, body))
                status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                writer.write(f"HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n".encode())
        except asyncio.IncompleteReadError:
            return


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    egress = Egress(EgressSpec())
    await egress.open()
    yield egress
    await egress.close()


@pytest.fixture(params=["in_sqlite", "in_postgres"])
def purse(request: pytest.FixtureRequest) -> InSqlite | InPostgres:
    return request.getfixturevalue(request.param)


def told(url: str, **more: Any) -> BudgetSpec:
    return usd(1000, "team-day", "team", "day", alerts=AlertSpec(url=url, headers={"X-Token": Secret("s3cret")}), **more)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


async def spending(purse: InSqlite | InPostgres, ledger: Ledger, egress: Egress, spec: BudgetSpec) -> tuple[MemoryBudgets, Alerts]:
    alerts = Alerts(ledger, egress, (spec,), again=0.2)
    await alerts.open()
    budgets = MemoryBudgets(ledger, (spec,), alert=alerts.raised, wall=lambda: purse.wall)
    await budgets.open()
    return budgets, alerts


async def test_each_threshold_is_told_once_in_a_window_whoever_passes_it(purse: InSqlite | InPostgres, egress: Egress):
    async with Receiver() as receiver:
        spec = told(receiver.url)
        budgets, alerts = await spending(purse, purse.store, egress, spec)
        for n in range(9):
            await spend(budgets, f"a{n}", 100)
        await until(lambda: len(receiver.got) == 2)
        await purse.store.settled()
        again, others = await spending(purse, purse.store, egress, spec)  # a process that begins anew, or another one
        await spend(again, "b", 100)
        await until(lambda: len(receiver.got) == 3)
        await purse.pass_(86_400)
        await spend(again, "c", 500)
        await until(lambda: len(receiver.got) == 4)
        await asyncio.sleep(0.5)  # longer than what failed would wait
        await alerts.close()
        await others.close()
    bodies = [body for _, body in receiver.got]
    assert [(body["percent"], body["spent"]) for body in bodies[:2]] == [(50, "0.0000005"), (80, "0.0000008")]
    assert [(body["percent"], body["window"][:10]) for body in bodies] == [
        (50, "2030-03-17"),
        (80, "2030-03-17"),
        (100, "2030-03-17"),
        (50, "2030-03-18"),
    ]
    assert len({body["id"] for body in bodies}) == 4
    assert bodies[0] | {"id": "", "at": ""} == {
        "id": "",
        "at": "",
        "budget": "team-day",
        "scope": "team",
        "org": "acme",
        "who": "core",
        "unit": "usd",
        "percent": 50,
        "spent": "0.0000005",
        "amount": "0.000001",
        "window": "2030-03-17T00:00:00Z",
    }
    assert {headers["x-token"] for headers, _ in receiver.got} == {"s3cret"}


async def test_what_could_not_be_delivered_is_delivered_later_and_no_call_waits_for_it(
    purse: InSqlite | InPostgres, egress: Egress, caplog: pytest.LogCaptureFixture
):
    async with Receiver(500, 404, 200) as receiver:
        budgets, alerts = await spending(purse, purse.store, egress, told(receiver.url))
        async with asyncio.timeout(30):
            await spend(budgets, "a", 500)
        await until(lambda: len(receiver.got) == 3)
        await asyncio.sleep(0.5)
        await alerts.close()
    assert len({body["id"] for _, body in receiver.got}) == 1
    assert len(receiver.got) == 3
    assert "s3cret" not in caplog.text
