"""Asks the deployments of a plan until one answers: what failed before its first byte is asked again or elsewhere, what began never is.

A client's own fault (another 4xx) is an answer: it would be the same anywhere, and says nothing about who answered.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType

from msgspec import Struct

from hub.backoff import pause
from hub.call import Target
from hub.egress import Unreached
from hub.refusal import InvalidRequest, Unavailable, UpstreamDown
from hub.routing.health import Health
from hub.routing.plan import Stop
from hub.routing.provider import Attempt
from hub.routing.route import Route
from hub.routing.verdict import ANSWERS, FAILURES, Verdict, of_refusal, of_status, retry_after

BRIEF = 0.25
"""Seconds waited for one deployment at most while there is another that can be asked instead."""

UNSAID = 1.0
"""Seconds a deployment rests that answered 429 and did not say for how long."""

FIRST, LONGEST = 0.05, 1.0
"""Seconds until a connection is tried again: at first, and at most."""


class Tried(Struct, frozen=True):
    """An attempt and what came of it: `ok`, `status:429`, or the code of a refusal; `us` are microseconds to the first byte, `queued` those
    of them it waited for room among the calls to its provider."""

    target: Target
    result: str
    us: int
    why: str = ""
    queued: int = 0


Make = Callable[[Target], Awaitable[Attempt]]

Count = Callable[[str, str], None]
"""Told the provider and the verdict of each attempt."""


class Attempts:
    """`async with` it for the attempt that answered. Raises what the last one raised where none did; `tried` says what was tried."""

    __slots__ = ("_at", "_count", "_left", "_make", "_open", "_route", "_stops", "_streams", "soonest", "tried")

    def __init__(
        self, route: Route, stops: Sequence[Stop], make: Callable[[Target], Awaitable[Attempt]], count: Count, *, streams: bool
    ) -> None:
        """`make` may raise `InvalidRequest` for a deployment that cannot be asked such a thing; what else it raises ends it all."""
        self.tried: list[Tried] = []
        self.soonest: float | None = None
        """Seconds until the first of those that said so is ready again."""
        self._route = route
        self._stops = stops
        self._make = make
        self._count = count
        self._streams = streams
        self._left = route.terms.within
        self._at = -1
        self._open: Attempt | None = None

    @property
    def stop(self) -> Stop:
        """Where the attempt that answered was made."""
        return self._stops[self._at]

    async def __aenter__(self) -> Attempt:
        at = self._next(0)
        if at < 0:
            raise self._none()
        while True:
            self._at = at
            stop = self._stops[at]
            try:
                attempt, fault, verdict = await self._persist(stop)
            except BaseException:
                stop.health.breaker.abandon()
                raise
            if verdict not in ANSWERS:
                at = self._next(at + 1)
                if at >= 0:
                    if attempt is not None:
                        await attempt.__aexit__(None, None, None)
                    continue
            if attempt is None:
                assert fault is not None
                raise fault
            self._open = attempt
            return attempt

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        attempt = self._open
        if attempt is None:
            return
        if attempt.streams:
            stop = self._stops[self._at]
            if kind is None:
                stop.health.breaker.succeed()
            elif issubclass(kind, Unavailable):
                stop.health.breaker.fail(time.monotonic())
                self._count(stop.deployed.target.upstream, "broken_off")
        await attempt.__aexit__(kind, error, trace)

    def _next(self, at: int) -> int:
        """The next stop whose breaker lets a call in, from `at` on; -1 where there is none."""
        for index in range(at, len(self._stops)):
            stop = self._stops[index]
            if not stop.health.breaker.admit(time.monotonic()):
                return index
            self._note(stop, "breaker_open", 0)
            self._count(stop.deployed.target.upstream, "breaker_open")
        return -1

    def _none(self) -> Unavailable:
        now = time.monotonic()
        waits = [stop.health.breaker.wait(now) for stop in self._stops]
        return UpstreamDown("no deployment of this model answers at the moment", retry_after=max(1.0, min(waits, default=1.0)))

    async def _persist(self, stop: Stop) -> tuple[Attempt | None, Unavailable | InvalidRequest | None, Verdict]:
        """Ask one deployment, again where that is of use; what came of it is known to its health then."""
        times = 0
        while True:
            attempt, fault, verdict = await self._once(stop)
            if verdict == "ok":
                return attempt, fault, verdict
            asked = None if attempt is None else retry_after(attempt.headers)
            wait = self._wait(verdict, fault, asked, times)
            if wait is None:
                self._settle(stop.health, verdict, asked)
                return attempt, fault, verdict
            if attempt is not None:
                await attempt.__aexit__(None, None, None)
            times += 1
            self._left -= wait
            await asyncio.sleep(wait)

    async def _once(self, stop: Stop) -> tuple[Attempt | None, Unavailable | InvalidRequest | None, Verdict]:
        target, health = stop.deployed.target, stop.health
        started = time.perf_counter_ns()
        health.asked = time.monotonic()
        asking: Attempt | None = None
        attempt: Attempt | None = None
        fault: Unavailable | InvalidRequest | None = None
        try:
            asking = attempt = await self._make(target)
        except InvalidRequest as refusal:
            fault, verdict, result = refusal, "unsaid", refusal.code
        else:
            attempt.patient = self._at + 1 == len(self._stops)
            try:
                await attempt.__aenter__()
            except Unavailable as refusal:
                attempt, fault, verdict, result = None, refusal, of_refusal(refusal), refusal.code
            else:
                status = attempt.response.status
                verdict, result = of_status(status), "ok" if status == 200 else f"status:{status}"
        us = (time.perf_counter_ns() - started) // 1000
        self._note(stop, result, us, 0 if asking is None else asking.queued)
        self._count(target.upstream, verdict)
        if verdict in ("ok", "timeout"):
            health.measure(us, time.monotonic(), streams=self._streams, stale=self._route.explore)
            if verdict == "ok":
                assert attempt is not None
                if attempt.streams:
                    health.breaker.begun()
                else:
                    health.breaker.succeed()
        return attempt, fault, verdict

    def _wait(self, verdict: Verdict, fault: Exception | None, asked: float | None, times: int) -> float | None:
        """Seconds until the same deployment is asked again; None where it is not."""
        if times >= self._route.terms.retries:
            return None
        if isinstance(fault, Unreached):
            wait = pause(times + 1, FIRST, LONGEST)
        elif asked is not None and verdict in ("rate_limited", "overloaded"):
            wait = asked + pause(1, FIRST, LONGEST)
        else:
            return None
        longest = self._left if self._at + 1 == len(self._stops) else min(BRIEF, self._left)
        return wait if wait <= longest else None

    def _settle(self, health: Health, verdict: Verdict, asked: float | None) -> None:
        """What an attempt that is not made again says of who was asked."""
        now = time.monotonic()
        if verdict in FAILURES:
            health.breaker.fail(now)
        elif verdict == "key_refused":
            health.breaker.trip(now)
        else:
            health.breaker.abandon()
        if verdict == "rate_limited" or (verdict == "overloaded" and asked is not None):
            wait = UNSAID if asked is None else asked
            health.rest(now + wait)
            if asked is not None:
                self.soonest = asked if self.soonest is None else min(self.soonest, asked)

    def _note(self, stop: Stop, result: str, us: int, queued: int = 0) -> None:
        self.tried.append(Tried(stop.deployed.target, result, us, stop.why, queued))
