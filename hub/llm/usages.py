"""What was used and what it cost, as its caller may see it: `/v1/usage`, `/v1/usage/summary`, and the list once more under `/v1/messages`.

No prompt and no answer is in it: the ledger has none.
"""

from collections.abc import AsyncGenerator
from hashlib import sha256
from typing import Any

from msgspec import json as msgjson

from hub.budget import usage_shown as shown
from hub.budget.usage_ask import Place
from hub.budget.usage_read import PAGE, Reader, page, pages, totals
from hub.call import Call, Caller, Chunk, Emit, Reply
from hub.llm.delivery import Served
from hub.llm.sight import sight
from hub.llm.usage_query import Wanted, cursor, read
from hub.plan import Plan

LISTED = "/v1/messages"
"""Where the list is had by GET, beside `POST`."""

_SUMMARY = "/v1/usage/summary"

_JSON = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))


class Usages:
    """Resolves one such request (`hub.plan.View`). The hub answers it by itself, and it costs nothing."""

    def __init__(self, ledger: Reader, path: str, query: bytes, accept: str) -> None:
        self._ledger = ledger
        self._path = path
        self._summary = path == _SUMMARY
        self._query = query
        self._accepts_csv = "text/csv" in accept.lower()
        self.file = "usage-summary.csv" if self._summary else "usage.csv"
        """What it is called as a file."""

    def resolve(self, call: Call, caller: Caller) -> Plan:
        """Raises `InvalidRequest` for what cannot be asked."""
        wanted = read(self._query, sight(caller), summary=self._summary)
        csv = self._accepts_csv if wanted.csv is None else wanted.csv
        if csv:
            return Plan(call, dispatch=_File(self._ledger, wanted, summary=self._summary).dispatch)

        async def answer(_: Caller) -> Reply:
            return Served(result=msgjson.encode(await _answer(self._ledger, self._path, wanted)), headers=_JSON)

        return Plan(call, answer=answer)


async def answered(ledger: Reader, path: str, query: bytes, caller: Caller) -> dict[str, Any]:
    """What `path` says to this caller. Raises `InvalidRequest`, `StoreDown`."""
    return await _answer(ledger, path, read(query, sight(caller), summary=path == _SUMMARY))


async def _answer(ledger: Reader, path: str, wanted: Wanted) -> dict[str, Any]:
    if path == _SUMMARY:
        return await _summed(ledger, wanted)
    return await _listed(ledger, wanted, {} if path == LISTED else {"object": "list"})


async def _listed(ledger: Reader, wanted: Wanted, head: dict[str, Any]) -> dict[str, Any]:
    rows = await page(ledger, wanted.question, wanted.after, wanted.limit + 1)
    more, rows = len(rows) > wanted.limit, rows[: wanted.limit]
    ends = {"first_id": rows[0].id, "last_id": rows[-1].id} if rows else {"first_id": None, "last_id": None}
    following = cursor(Place(rows[-1].at, rows[-1].id)) if more else None
    return {**head, "data": [shown.record(row) for row in rows], "has_more": more, **ends, "next": following}


async def _summed(ledger: Reader, wanted: Wanted) -> dict[str, Any]:
    found = await totals(ledger, wanted.question, [shown.column(name) for name in wanted.by])
    groups = [shown.summed(one, wanted.by) for one in found]
    return {"object": "usage.summary", "group_by": list(wanted.by), "data": groups, "total": shown.together(found)}


class _File:
    """The same as CSV, read and sent page by page: what is in memory at a time is one page, however long the list is."""

    def __init__(self, ledger: Reader, wanted: Wanted, *, summary: bool) -> None:
        self._ledger = ledger
        self._wanted = wanted
        self._summary = summary

    async def dispatch(self, call: Call, emit: Emit) -> Served:
        digest, last = sha256(), b""
        async for part in self._sums() if self._summary else self._lines():
            if last:
                await emit(Chunk("", last))
            digest.update(part)
            last = part
        return Served(result=last, headers=_JSON, committed=b"sha256:" + digest.hexdigest().encode())

    async def _lines(self) -> AsyncGenerator[bytes]:
        question, after = self._wanted.question, self._wanted.after
        yield shown.written([shown.LIST])
        async for rows in pages(self._ledger, question, PAGE, after):
            yield shown.written([shown.line(shown.LIST, shown.record(row)) for row in rows])
        yield b""

    async def _sums(self) -> AsyncGenerator[bytes]:
        by = self._wanted.by
        names = shown.columns(by)
        found = await totals(self._ledger, self._wanted.question, [shown.column(name) for name in by])
        yield shown.written([names])
        for at in range(0, len(found), PAGE):
            yield shown.written([shown.line(names, shown.summed(one, by)) for one in found[at : at + PAGE]])
        yield b""
