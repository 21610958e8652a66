"""PostgreSQL for many processes: transactions that set their tenant, refuse quickly while the database is away, and say how they ended.

Imported only where a `postgresql://` address is configured. It does not know what the operations mean. Row-level security is forced on
every table with an organisation: a statement sees nothing but what belongs to the transaction's `org`.
"""

import asyncio
import contextlib
import logging
import time
from asyncio import Task
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar, cast

from hub.refusal import StoreDown
from hub.store.base import Ambiguous, LaterVersion
from hub.store.postgres_line import Line, Lines
from hub.store.postgres_link import DOWN, Connection, Handed, connect, quoted, settled, typed, useless
from hub.store.postgres_locks import Locks
from hub.store.postgres_migrations import applied, migrate, migrations
from hub.store.postgres_pool import Pool

__all__ = ["Ambiguous", "Connection", "LaterVersion", "Postgres", "applied", "connect", "migrate", "migrations"]

logger = logging.getLogger("hub.postgres")

EVERY = "*"
"""The tenant of the hub's own work: all organisations."""

T = TypeVar("T")

_UNBOUND = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
_NO_COMMAND_TIMEOUT = 3600.0
_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_WRITE = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"


class Postgres:
    """One database, for one process. It never prints its address."""

    def __init__(self, url: str, *, connections: int = 7, patience: float = 1.0) -> None:
        """`connections`: at most; one more for locks, one for each `lines`. `patience`: seconds to wait for one, and for each answer."""
        self._url = url
        self._patience = patience
        self._pool = Pool(self._connect, connections, patience)
        self._locks = Locks(self._connect)
        self._lines: list[Lines] = []
        self._observe: Callable[[int, float], None] | None = None

    def __repr__(self) -> str:
        return "Postgres(***)"

    @property
    def up(self) -> bool:
        """Whether calls are taken at the moment."""
        return self._pool.up

    @property
    def in_use(self) -> int:
        """Connections that calls have at the moment."""
        return self._pool.out

    @property
    def lost(self) -> bool:
        """Whether a lock that was held is not ours, at the moment or for good: its connection died. It is sought again by itself."""
        return self._locks.lost

    def on_commit(self, observe: Callable[[int, float], None]) -> None:
        """Have `observe(1, seconds)` called after each commit."""
        self._observe = observe

    async def open(self) -> None:
        """Connect and migrate. Raises `StoreDown`, `LaterVersion`."""
        connection = await self._connect()
        try:
            await migrate(connection)
            if await connection.fetchval(_UNBOUND):
                logger.warning("row-level security does not bind the role of `stores.database`: it is a superuser, or has BYPASSRLS")
        except LaterVersion:
            raise
        except Exception as error:
            raise typed(error) from None
        finally:
            connection.terminate()
        await self._pool.open()

    async def close(self) -> None:
        """Let go of every lock, close every connection. What is asked from now on is refused."""
        await asyncio.gather(*(lines.close() for lines in self._lines))
        await self._locks.close()
        await self._pool.close()

    async def read(self, run: Callable[[Connection], Awaitable[T]], *, org: str = EVERY) -> T:
        """`run(connection)` in a transaction that changes nothing and sees one state of `org`'s rows. Raises `StoreDown`."""
        connection = await self._pool.begin(f"{_READ}; {_tenant(org)}")
        result = await self._within(connection, run)
        self._pool.undo(connection)  # nobody need wait for the end of a transaction that only read
        return result

    async def write(self, run: Callable[[Connection], Awaitable[T]], *, org: str = EVERY, under: int | None = None) -> T:
        """`run(connection)` in one transaction on `org`'s rows; when this returns, it is durable.

        `under`: an advisory lock, taken as one of several before `run` and kept until the end. Raises `StoreDown` where it did not take
        hold, `Ambiguous` where nobody can tell. An error of `run` itself rolls back and comes back as it is. A call that is cancelled is
        rolled back, unless the commit was asked for already.
        """
        started = time.perf_counter()
        lock = "" if under is None else f"; SELECT pg_advisory_xact_lock_shared({under})"
        connection = await self._pool.begin(f"{_WRITE}; {_tenant(org)}{lock}")
        result = await self._within(connection, run)
        said = await self._last(connection, connection.execute("COMMIT", timeout=_NO_COMMAND_TIMEOUT))
        if said == "ROLLBACK":
            raise StoreDown(DOWN, detail="a transaction that had failed was committed, which rolled it back")
        if said != "COMMIT":
            raise Ambiguous(DOWN, detail="the answer to a commit cannot be read")
        if self._observe is not None:
            self._observe(1, time.perf_counter() - started)
        return result

    async def at_once(self, statement: str, *arguments: Any) -> Any:
        """The row of one statement that is a transaction of its own, and sets its tenant itself; when this returns, it is durable.

        One way there and back instead of four. But a statement of which nobody heard, and which left no trace yet, may still take hold
        later: it has to make sure that it does nothing then. Raises as `write` does.
        """
        started = time.perf_counter()
        connection = await self._pool.begin("")
        found = await self._last(connection, connection.fetchrow(statement, *arguments, timeout=_NO_COMMAND_TIMEOUT))
        if self._observe is not None:
            self._observe(1, time.perf_counter() - started)
        return found

    def lines(self, statements: Mapping[str, str]) -> Lines:
        """A connection beside the others, for such statements only, one at a time: `statements` are prepared on it, by their names.

        Who uses it has `committed` told. Its loss says nothing of the database: who asks next by the other ways finds out.
        """
        lines = Lines(self._line, statements)
        self._lines.append(lines)
        return lines

    def committed(self, seconds: float) -> None:
        """A commit on a line took so long."""
        if self._observe is not None:
            self._observe(1, seconds)

    async def hold(self, key: int, *, shared: bool = False) -> bool:
        """Take an advisory lock and keep it for as long as this is open; False when another has it. Raises `StoreDown`."""
        return await self._locks.hold(key, shared=shared)

    def holds(self, key: int) -> bool:
        """Whether that lock is ours, as far as is known here."""
        return self._locks.holds(key)

    async def release(self, key: int) -> None:
        """Let go of a lock."""
        await self._locks.release(key)

    async def _connect(self) -> Connection:
        return await connect(self._url, self._patience, writable=True)

    async def _line(self) -> Line:
        connection = await connect(self._url, self._patience, writable=True, kind=Handed)
        return Line(connection, cast(Handed, connection).transport, self._patience)

    async def _within(self, connection: Connection, run: Callable[[Connection], Awaitable[T]]) -> T:
        """What `run` makes of the transaction. Where it fails, the connection is on its way back."""
        try:
            return await run(connection)
        except Exception as error:
            if useless(connection, error):
                self._pool.drop(connection)
            else:
                self._pool.undo(connection)
            found = typed(error)
            if found is error:
                raise
            raise found from None
        except BaseException:
            self._pool.undo(connection)
            raise

    async def _last(self, connection: Connection, statement: Coroutine[Any, Any, T]) -> T:
        """Wait for the answer to a statement that commits. The server is not told to stop it, so that a late one can still take hold."""
        asked = asyncio.get_running_loop().create_task(statement)
        try:
            await asyncio.wait((asked,), timeout=self._patience)
        except BaseException:
            self._pool.tidy(self._outlast(connection, asked))
            raise
        return await self._ended(connection, asked)

    async def _outlast(self, connection: Connection, asked: "Task[Any]") -> None:
        """See a commit to its end whose caller has left."""
        await asyncio.wait((asked,), timeout=self._patience)
        with contextlib.suppress(Exception):
            await self._ended(connection, asked)

    async def _ended(self, connection: Connection, asked: "Task[T]") -> T:
        if not asked.done():
            self._pool.drop(connection)
            await asyncio.wait((asked,))
            asked.exception()  # it is told of the end of its connection: looked at, so that nobody warns of it
            raise Ambiguous(DOWN, detail="no answer to a commit")
        error = asked.exception()
        if error is None:
            self._pool.give(connection)
            return asked.result()
        broken = useless(connection, error) or not settled(error)
        (self._pool.drop if broken else self._pool.undo)(connection)
        if broken:
            raise Ambiguous(DOWN, detail=f"the connection broke during a commit: {type(error).__name__}") from None
        raise typed(error) if isinstance(error, Exception) else error


def _tenant(org: str) -> str:
    return f"SELECT set_config('hub.org', {quoted(org)}, true)"
