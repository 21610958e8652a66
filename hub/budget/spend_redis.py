"""Counts of budgets in Redis, as this process asks for them: the scripts' arguments, the time there, which life of the counts it is.

It knows rules and keys, not calls. See `hub.budget.spend_scripts` for what stands where.
"""

import asyncio
import time
from collections.abc import Sequence
from hashlib import sha256
from itertools import count
from typing import Any

from msgspec import Struct
from msgspec import json as msgjson

from hub.budget.known import Known
from hub.budget.spend_scripts import ADOPT, ANEW, CLOCK, LOAD, REAP, REFUND, RENEW, RESERVE, RESTORE, SETTLE
from hub.budget.tiers import Rule, taken
from hub.budget.usage import Usage, row_of, values
from hub.budget.window import Span, span_of
from hub.call import Tokens
from hub.entropy import take
from hub.store.redis import Redis, Script
from hub.store.resp import pack, strings

TAG = "hub:{spend}:"
META, HELD, SENT, LEASES, ROWS = (f"{TAG}{name}" for name in ("meta", "held", "sent", "leases", "rows"))
_FIXED = (META, HELD, SENT, LEASES, ROWS)

_END = 9_000_000_000_000_001
"""The end of what has none: beyond it Lua's numbers are not exact."""

_SHOWN = 160

IN_FLIGHT = 32
"""Decisions asked for at a time: of a burst, the others wait here, where their time does not count as Redis's silence."""


class Tally(Struct, frozen=True):
    """A count that a call is held against."""

    rule: Rule
    org: str
    who: str
    key: str


class SpendRedis:
    """`lease` and `settling` in seconds; `clock` is how the scripts read the time."""

    def __init__(self, redis: Redis, *, lease: float, settling: float, clock: str = CLOCK) -> None:
        self.redis = redis
        self.run = ""
        self.lease = round(lease * 1_000_000)
        self.settling = round(settling * 1_000_000)
        self._turns = asyncio.Semaphore(IN_FLIGHT)
        self._names = count()
        self._name = take(6).hex()
        self._heard = (time.time_ns() // 1000, time.monotonic_ns())
        scripts = (ADOPT, ANEW, LOAD, REAP, REFUND, RENEW, RESERVE, RESTORE, SETTLE)
        made = [Script(text.replace(CLOCK, clock)) for text in scripts]
        self._adopt, self._anew, self._load, self._reap, self._refund, self._renew, self._reserve, self._restore, self._settle = made

    def now(self) -> int:
        """The time of Redis, as far as it can be known here."""
        at, since = self._heard
        return at + (time.monotonic_ns() - since) // 1000

    def heard(self, now: int) -> None:
        self._heard = (now, time.monotonic_ns())

    @property
    def _token(self) -> str:
        """What makes the name of a life one that no other has."""
        return f"-{self._name}{next(self._names):x}"

    async def began(self) -> str:
        """The life of the counts, a new one where Redis was started again since. Raises `StoreDown`."""
        return _text(await self._run(self._anew, (), self._token))

    def returned(self) -> None:
        """The same, before anybody else asks for anything; nobody waits for the answer."""
        self._post(self._anew, self._token)

    async def reserve(self, call: str, record: bytes, tallies: Sequence[Tally], most: int | None, tokens: Tokens) -> list[int]:
        arguments: list[Any] = [call, self.run, self._token, self.lease, self.settling, int(any(one.rule.hard for one in tallies)), record]
        for one in tallies:
            rule = one.rule
            arguments += (*self._window(rule), _caps(rule), taken(rule.unit, most, tokens), int(rule.hard))
        return await self._asked(self._reserve, tallies, arguments)

    async def look(self, tallies: Sequence[Tally]) -> list[int]:
        """The same without a call."""
        return await self.reserve("", b"", tallies, 0, Tokens())

    async def settle(self, call: str, row: Usage, tallies: Sequence[Tally]) -> list[int]:
        arguments: list[Any] = [call, self.run, self._token, _inner(row)]
        for one in tallies:
            arguments += (*self._window(one.rule), taken(one.rule.unit, row.cost, row.tokens))
        return await self._asked(self._settle, tallies, arguments)

    async def adopt(self, call: str, record: bytes, sent: bytes) -> list[int]:
        return await self._asked(self._adopt, (), [self.run, self._token, self.lease, call, record, sent])

    def refund(self, call: str) -> bool:
        """In order, and nobody waits for it. False where Redis is away."""
        return self._post(self._refund, call)

    async def load(self, tally: Tally, run: str, first: int, window: int, amounts: dict[int, int]) -> None:
        rolling = tally.rule.window.kind == "rolling"
        pairs = [part for slot, amount in amounts.items() for part in (slot, amount)] if rolling else [sum(amounts.values())]
        await self._run(self._load, (tally,), run, first, window, int(rolling), *pairs)

    async def restore(self, calls: Sequence[tuple[str, bytes, bytes]]) -> None:
        """(call, what it set aside, what was sent) of calls under way."""
        await self._run(self._restore, (), self.run, self.lease, 0, *(part for one in calls for part in one))

    def rebind(self, calls: Sequence[tuple[str, bytes, bytes]]) -> None:
        """The same of calls that are to set aside something else from now on. In order, and nobody waits for it."""
        self._post(self._restore, self.run, self.lease, 1, *(part for one in calls for part in one))

    async def renew(self, calls: Sequence[str]) -> str:
        """The life of the counts at present."""
        return _text(await self._run(self._renew, (), self.run, self.lease, self._token, *calls))

    async def reap(self, most: int) -> list[str]:
        return [_text(one) for one in await self._run(self._reap, (), most)]

    async def rows(self, most: int) -> list[Usage] | None:
        """Rows that may not be in the ledger yet; None where there are more than `most`."""
        if await self.redis.command("HLEN", ROWS) > most:
            return None
        found = await self.redis.command("HVALS", ROWS)
        return [row_of(msgjson.decode(one)) for one in found]

    async def some_rows(self) -> list[Usage]:
        """A part of them, however many there are."""
        _, found = await self.redis.command("HSCAN", ROWS, 0, "COUNT", 500)
        return [row_of(msgjson.decode(one)) for one in found[1::2]]

    def written(self, calls: Sequence[str]) -> None:
        """Rows are in the ledger."""
        self.redis.post(ROWS.encode(), pack("HDEL", ROWS, *calls))

    def keep(self, row: Usage) -> None:
        """Have Redis keep a row that is not in the ledger yet."""
        self.redis.post(ROWS.encode(), pack("HSET", ROWS, row.id, msgjson.encode(values(row))))

    def mark(self, call: str, sent: bytes) -> bool:
        """Have Redis keep what a call has cost at least, once it is sent. Before anything else of this process that is sent afterwards."""
        return self.redis.post(SENT.encode(), pack("HSET", SENT, call, sent))

    def sent(self, row: Usage, tallies: Sequence[Tally], until: int = 0) -> bytes:
        """What `mark` keeps. `until`: when the call is ended though its lease has run out before; 0: with its lease."""
        counts: list[list[Any]] = []
        for one in tallies:
            rolling, start, end, slot = self._window(one.rule)
            counts.append([one.key, bool(rolling), start, end, slot, taken(one.rule.unit, row.cost, row.tokens)])
        return msgjson.encode({"c": counts, "row": _inner(row).decode(), **({"until": until} if until else {})})

    def span(self, rule: Rule) -> Span:
        return span_of(rule.window, self.now())

    def _window(self, rule: Rule) -> tuple[int, int, int, int]:
        if rule.window.kind == "rolling":
            return 1, 0, _END, rule.window.slot
        span = self.span(rule)
        return 0, span.start, min(span.end, _END), 0

    async def _asked(self, script: Script, tallies: Sequence[Tally], arguments: list[Any]) -> list[int]:
        async with self._turns:
            reply = await self._run(script, tallies, *arguments)
        self.heard(int(reply[1]))
        return reply

    async def _run(self, script: Script, tallies: Sequence[Tally], *arguments: Any) -> Any:
        return await self.redis.script(script, (*_FIXED, *(one.key for one in tallies)), *arguments)

    def _post(self, script: Script, *arguments: Any) -> bool:
        rest = strings(len(_FIXED), *_FIXED, *arguments)
        return self.redis.post(META.encode(), script.whole(1 + len(_FIXED) + len(arguments), rest))


def tallies_of(known: Known) -> tuple[Tally, ...]:
    """Where the tiers of a call are counted."""
    found: list[Tally] = []
    for rule, who in known.tiers:
        org = "" if rule.scope == "global" else known.spender.org
        found.append(Tally(rule, org, who, _key(rule, org, who)))
    return tuple(found)


def record_of(tallies: Sequence[Tally], most: int | None, tokens: Tokens) -> bytes:
    """What a call sets aside where, as the scripts keep it."""
    return msgjson.encode([[one.key, taken(one.rule.unit, most, tokens)] for one in tallies])


def _caps(rule: Rule) -> int | str:
    """What may be spent, as the scripts read it: where there are overrides each with its end, and last what is configured."""
    return ",".join([*(f"{cap}@{until}" for cap, until in rule.steps), str(rule.cap)]) if rule.steps else rule.cap


def _key(rule: Rule, org: str, who: str) -> str:
    whose = f"{org}:{who}"
    return f"{TAG}{rule.basis}:{whose if len(whose.encode()) <= _SHOWN else sha256(whose.encode()).hexdigest()}"


def _inner(row: Usage) -> bytes:
    """A row from `org` on, as the inside of a JSON list."""
    return msgjson.encode(values(row)[4:])[1:-1]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
