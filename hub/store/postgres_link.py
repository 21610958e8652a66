"""One connection to PostgreSQL, set up as the hub needs it, and what its failures mean. Knows no pool and no SQL of a room.

What a failure says goes to the operator's log: never the address, which holds the password, nor an error in which it could stand.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

import asyncpg

from hub.refusal import StoreDown

DOWN = "the database cannot be used at the moment"

_connect = cast("Callable[..., Awaitable[Connection]]", asyncpg.connect)  # pyright: ignore[reportUnknownMemberType] - partly annotated

_SET_UP = """
SET standard_conforming_strings = on;
SET default_transaction_isolation = 'read committed';
SET jit = off;
SET lock_timeout = {lock};
SET idle_in_transaction_session_timeout = {idle};
SET tcp_keepalives_idle = 5;
SET tcp_keepalives_interval = 2;
SET tcp_keepalives_count = 3;
SELECT set_config('application_name', 'hub', false) WHERE current_setting('application_name') = '';
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
"""
"""No statement timeout: it would also end the wait for a synchronous standby, and the commit would then be called durable that is not.

A hub that stops in the middle of a transaction, or whose machine is gone, must not keep the rows it locked: hence the idle timeout and the
keep-alives (11 s), which end its session."""


_NO_MORE = (asyncpg.TooManyConnectionsError, asyncpg.InvalidAuthorizationSpecificationError)


class NoMore(StoreDown):
    """The server lets no more of us in: it is full, or our password is another now. Whoever is in goes on."""


class Connection(Protocol):
    """What rooms use of an asyncpg connection. Every statement waits for its answer no longer than the store's patience."""

    async def execute(self, query: str, /, *args: Any, timeout: float | None = None) -> str: ...

    async def executemany(self, command: str, args: Any, /, *, timeout: float | None = None) -> None: ...

    async def fetch(self, query: str, /, *args: Any, timeout: float | None = None) -> list[Any]: ...

    async def fetchrow(self, query: str, /, *args: Any, timeout: float | None = None) -> Any: ...

    async def fetchval(self, query: str, /, *args: Any, column: int = 0, timeout: float | None = None) -> Any: ...

    async def close(self, *, timeout: float | None = None) -> None: ...

    def terminate(self) -> None: ...

    def add_termination_listener(self, callback: Callable[[Any], None], /) -> None: ...

    def is_closed(self) -> bool: ...


class Handed(asyncpg.Connection):  # pyright: ignore[reportUntypedBaseClass, reportMissingTypeArgument] - partly annotated
    """A connection that shows its transport, for who goes on speaking to the server himself."""

    def __init__(self, protocol: Any, transport: asyncio.Transport, *rest: Any) -> None:
        super().__init__(protocol, transport, *rest)  # pyright: ignore[reportUnknownMemberType]
        self.transport = transport


async def connect(url: str, patience: float, *, writable: bool = False, kind: type[Any] = asyncpg.Connection) -> Connection:
    """A connection that waits `patience` seconds at most: for its making, and for the answer to a statement. Raises `StoreDown`.

    A statement that waits for a lock is ended by the server a little sooner, so that the connection stays of use. `writable`: not to a
    standby, where every transaction would fail, and whose locks nobody else knows of. `kind`: of which class it is.
    """
    made: Connection | None = None
    try:
        made = await _connect(url, timeout=patience, command_timeout=patience, connection_class=kind)
        await made.execute(_SET_UP.format(lock=max(1, int(patience * 800)), idle=int(patience * 2000)))
        if writable and await made.fetchval("SELECT pg_is_in_recovery()"):
            raise StoreDown(DOWN, detail="the server is a standby, which takes no writes")
    except Exception as error:
        if made is not None:
            made.terminate()
        raise _unreachable(error) from None
    except BaseException:
        if made is not None:
            made.terminate()
        raise
    return made


def typed(error: Exception) -> Exception:
    """A fault of the database as `StoreDown`; what a room has to answer for (a broken constraint, a fault of its own) as it is."""
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        return error
    if isinstance(error, asyncpg.PostgresError):
        return StoreDown(DOWN, detail=f"{type(error).__name__}: {error.args[0] if error.args else ''} ({_state(error)})")
    if _of_the_connection(error):
        return StoreDown(DOWN, detail=_said(error))
    return error


def useless(connection: Connection, error: BaseException) -> bool:
    """Whether the connection has to be given up after `error`: broken, out of step, or leading to a server that may only be read."""
    if isinstance(error, asyncpg.PostgresError) and getattr(error, "severity_en", "ERROR") != "ERROR":
        return True  # FATAL: the server is about to close it
    return connection.is_closed() or _of_the_connection(error) or isinstance(error, asyncpg.ReadOnlySQLTransactionError)


def settled(error: BaseException) -> bool:
    """Whether `error` says that a statement did nothing: it is the server's no, or the driver's before anything was sent."""
    return isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError)


def quoted(text: str) -> str:
    """A string literal, for statements that take no parameters. Raises `ValueError` for what no text of PostgreSQL can hold."""
    if "\x00" in text:
        raise ValueError("a text for the database holds a NUL")
    return "'" + text.replace("'", "''") + "'"


def _of_the_connection(error: BaseException) -> bool:
    if isinstance(error, ValueError):  # asyncpg's own word for a wrong argument
        return False
    return isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError | OSError | TimeoutError)


def _unreachable(error: Exception) -> StoreDown:
    if isinstance(error, StoreDown):
        return error
    if isinstance(error, asyncpg.PostgresError):
        kind = NoMore if isinstance(error, _NO_MORE) else StoreDown
        return kind(DOWN, detail=f"{type(error).__name__} ({_state(error)})")
    return StoreDown(DOWN, detail=_said(error))


def _state(error: asyncpg.PostgresError) -> str:
    return str(getattr(error, "sqlstate", ""))


def _said(error: BaseException) -> str:
    """The kind of fault, and what the system calls it."""
    if isinstance(error, TimeoutError):
        return "it does not answer"
    why = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
    return f"{type(error).__name__}{why}"
