"""Telling somebody how much of a budget is spent: once for each threshold, count and window, whichever process notices. On nobody's path.

A threshold that is passed becomes a row in the database, which is there once; whoever takes it posts it, and takes it again later where
that failed. A process that dies between the post and the mark of it has it posted twice: `id` in the body is the same then.
"""

import asyncio
import logging
import time
from collections.abc import Iterable

from msgspec import Struct
from msgspec import json as msgjson

from hub.budget.budgets import instant, shown
from hub.budget.tiers import Rule
from hub.budget.usage import AlertRow, Ledger
from hub.budget.window import MICROS
from hub.call import Target
from hub.config.money import AlertSpec, BudgetSpec
from hub.config.values import Secret
from hub.egress import Egress
from hub.refusal import Refusal

logger = logging.getLogger(__name__)

AGAIN = 30.0
"""Seconds after which what could not be delivered is tried again, by any process."""

LATEST = 86_400.0
"""Seconds after which nobody tries any more."""

_TIMEOUT = 10.0
_LONGEST_ANSWER = 65_536


class Notice(Struct, frozen=True):
    """What is posted. Amounts of money are dollars as a text, others are numbers; times are RFC 3339."""

    id: str
    budget: str
    scope: str
    org: str
    who: str
    unit: str
    percent: int
    spent: str | int
    amount: str | int
    window: str
    at: str


class UnpricedNotice(Struct, frozen=True):
    """The same of a model without a price that was used."""

    id: str
    event: str
    provider: str
    model: str
    at: str


class Alerts:
    """`again` in seconds. It is told by `raised`, from the path, and does everything else by itself."""

    def __init__(self, ledger: Ledger, egress: Egress, budgets: Iterable[BudgetSpec] = (), *, again: float = AGAIN) -> None:
        self._ledger = ledger
        self._egress = egress
        self._again = again
        self._passed: list[AlertRow] = []
        self._due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.configure(budgets)

    def configure(self, budgets: Iterable[BudgetSpec]) -> None:
        told = [spec for spec in budgets if spec.alerts.url]
        self._specs: dict[str, AlertSpec] = {spec.name: spec.alerts for spec in told}
        self._orgs = {spec.name: spec.org for spec in told}

    async def open(self) -> None:
        self._task = asyncio.create_task(self._work(), name="budget-alerts")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def raised(self, rule: Rule, org: str, who: str, start: int, percent: int, spent: int, cap: int) -> None:
        """A threshold is passed. Costs whoever says so nothing but this. One of an override is another than that of what is configured."""
        length = 60 * rule.window.slot
        first = start - start % length if length else start  # a rolling window has no beginning: once in its length
        counter = rule.basis if cap == rule.cap else f"{rule.basis}.{cap}"
        name = f"{counter}/{org}/{who}/{first}/{percent}"
        amounts = (shown(rule.unit, spent), shown(rule.unit, cap))
        now = instant(time.time_ns() // 1000)
        body = Notice(name, rule.name, rule.scope, org, who, rule.unit, percent, *amounts, instant(first), now)
        self._passed.append(AlertRow(counter, f"{org}:{who}", first, percent, msgjson.encode(body).decode()))
        self._due.set()

    def unpriced(self, target: Target, org: str) -> None:
        """A model without a price is in use: told once at each address that is told of budgets which may be this organisation's."""
        urls: set[str] = set()
        for name, spec in self._specs.items():
            if self._orgs[name] not in ("*", org) or spec.url in urls:
                continue
            urls.add(spec.url)
            now = instant(time.time_ns() // 1000)
            body = UnpricedNotice(f"unpriced.{name}/{target}", "model_not_priced", target.upstream, target.name, now)
            self._passed.append(AlertRow(f"unpriced.{name}", str(target), 0, 0, msgjson.encode(body).decode(), time.time_ns() // 1000))
        if urls:
            self._due.set()

    async def _work(self) -> None:
        while True:
            try:
                await self._once()
            except Refusal as refusal:
                logger.warning("what budgets have to tell cannot be kept at the moment: %s", refusal.detail or refusal.message)
                await asyncio.sleep(min(1.0, self._again))
                continue
            except Exception:
                logger.exception("telling of budgets failed")
            try:
                async with asyncio.timeout(self._again):
                    await self._due.wait()
            except TimeoutError:
                continue

    async def _once(self) -> None:
        self._due.clear()
        while self._passed:
            await self._ledger.passed(self._passed[0])
            self._passed.pop(0)
        if not self._specs:
            return
        now = time.time_ns() // 1000
        for row in await self._ledger.due(now, now - round(self._again * MICROS)):
            await self._deliver(row, now)

    async def _deliver(self, row: AlertRow, now: int) -> None:
        spec = self._specs.get(row.counter.split(".")[1])
        told = spec is None or now - row.raised > LATEST * MICROS  # nobody wants to know any more
        if spec is not None and not told:
            told = await self._post(spec, row)
        if told:
            await self._ledger.told(row, now)

    async def _post(self, spec: AlertSpec, row: AlertRow) -> bool:
        own = {name: value.value if isinstance(value, Secret) else value for name, value in spec.headers.items()}
        headers = {"Content-Type": "application/json", **own}
        try:
            async with asyncio.timeout(_TIMEOUT):
                sending = self._egress.request("POST", spec.url, headers=headers, body=row.body.encode())
                async with sending as response:
                    await response.read(_LONGEST_ANSWER)
                    if 200 <= response.status < 300:
                        return True
                    reason = f"it answers {response.status}"
        except TimeoutError:
            reason = "no answer in time"
        except Refusal as refusal:
            reason = refusal.message
        logger.warning("nobody could be told of the budget %s: %s; it is tried again", row.counter.split(".")[1], reason)
        return False
