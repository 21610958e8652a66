"""A hub's journal in a process of its own, to be killed or starved: writes calls as fast as it can, says what was acknowledged.

writer.py DATABASE run [ORG...]   until killed; a line `<receipt>` for each acknowledged record, or `down` where one was refused
writer.py DATABASE starve         until files may grow no more, then on again; lines `down`, `up`, `done` in between

DATABASE is the path of a file, or the address of a PostgreSQL server.
"""

import asyncio
import os
import resource
import signal
import sys
from pathlib import Path

from hub.audit import record
from hub.audit.checkpoint import Signer
from hub.audit.journal import Journal, JournalDown
from hub.call import Call, Caller, Credential, Decision, Target, new_id
from hub.store.postgres import Postgres
from hub.store.sqlite import Database

ALLOW = Decision(True, ("grants",), "sha256:" + "a" * 64)


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


async def call(journal: Journal, org: str = "acme") -> None:
    caller = Caller(org=org, subject="key:ci", key_id="k")
    call = Call(new_id(), "mcp.tools.call", "tools/call", "demo", b"{}" * 50, Credential(), 0.0, target=Target("time", "tool", "now"))
    intent = await journal.append(org, record.intent(call, caller, ALLOW, os.urandom(32)))
    say(intent.header())
    outcome = record.outcome(call, caller, ALLOW, status="ok", code="", us=1, reply=b"", salt=os.urandom(32), of=intent)
    say((await journal.append(org, outcome)).header())


async def forever(journal: Journal, at: int, org: str = "acme") -> None:
    """Every second one is a record ahead: whenever a commit ends, some intents are open."""
    if at % 2:
        say((await journal.append(org, record.event("admin.test"))).header())
    while True:
        await call(journal, org)


async def whatever_happens(journal: Journal, at: int, org: str) -> None:
    """A refused record is said and the next call tried a little later, as clients do."""
    while True:
        try:
            await forever(journal, at, org)
        except JournalDown:
            say("down")
            await asyncio.sleep(0.02)


async def until_down(journal: Journal) -> None:
    try:
        await forever(journal, 0)
    except JournalDown:
        return


async def starve(journal: Journal) -> None:
    await call(journal)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, hard))
    await asyncio.gather(*(until_down(journal) for _ in range(16)))
    say("down")
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    await asyncio.gather(*(call(journal) for _ in range(16)))
    say("up")


async def opened(place: str) -> tuple[Database | Postgres, Journal]:
    signer, often = Signer(b"\x07" * 32), 0.05
    if place.startswith("postgresql:"):
        from hub.audit.ledger_postgres import PostgresLedger

        postgres = Postgres(place)
        await postgres.open()
        return postgres, Journal(PostgresLedger(postgres), signer, build="0.1.0", checkpoint_every=often, sweep_every=0.5)
    from hub.audit.ledger_sqlite import SqliteLedger

    database = Database(Path(place))
    database.open()
    return database, Journal(SqliteLedger(database), signer, build="0.1.0", checkpoint_every=often)


async def main(place: str, mode: str, orgs: list[str]) -> None:
    store, journal = await opened(place)
    await journal.open()
    if mode == "run":
        if orgs:
            await asyncio.gather(*(whatever_happens(journal, at, orgs[at // 2 % len(orgs)]) for at in range(16)))
        await asyncio.gather(*(forever(journal, at) for at in range(16)))
    await starve(journal)
    await journal.close()
    await store.close()
    say("done")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
