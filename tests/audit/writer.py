"""A hub's journal in a process of its own, to be killed or starved: writes calls as fast as it can, says what was acknowledged.

writer.py DATABASE run          until killed; a line `<receipt>` for each acknowledged record
writer.py DATABASE starve       until files may grow no more, then on again; lines `down`, `up`, `done` in between
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
from hub.store.sqlite import Database

ALLOW = Decision(True, ("grants",), "sha256:" + "a" * 64)
CALLER = Caller(org="acme", subject="key:ci", key_id="k")


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


async def call(journal: Journal) -> None:
    call = Call(new_id(), "mcp.tools.call", "tools/call", "demo", b"{}" * 50, Credential(), 0.0, target=Target("time", "tool", "now"))
    intent = await journal.append("acme", record.intent(call, CALLER, ALLOW, os.urandom(32)))
    say(intent.header())
    outcome = record.outcome(call, CALLER, ALLOW, status="ok", code="", us=1, reply=b"", salt=os.urandom(32), of=intent)
    say((await journal.append("acme", outcome)).header())


async def forever(journal: Journal) -> None:
    while True:
        await call(journal)


async def until_down(journal: Journal) -> None:
    try:
        await forever(journal)
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


async def main(path: Path, mode: str) -> None:
    database = Database(path)
    database.open()
    journal = Journal(database, Signer(b"\x07" * 32), build="0.1.0", checkpoint_every=0.05)
    await journal.open()
    if mode == "run":
        await asyncio.gather(*(forever(journal) for _ in range(16)))
    await starve(journal)
    await journal.close()
    await database.close()
    say("done")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
