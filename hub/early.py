"""What is answered while the hub is not up yet, because its database does not answer: that it lives, and that it is not ready.

It knows nothing of the hub, and carries no call. A hub that comes up at once is never seen by this.
"""

import asyncio
import socket
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

AFTER = 2.0
"""Seconds a start may take before somebody is answered meanwhile."""

_PATIENCE = 5.0
"""Seconds a client has to send its headers and to take the answer."""

_HEAD = 16 * 1024
_BACKLOG = 128
_LIVES = b'{"status":"ok"}'
_NOT_READY = b'{"status":"not ready","reasons":["starting"]}'


@asynccontextmanager
async def answered(listener: socket.socket, after: float = AFTER) -> AsyncGenerator[None]:
    """For the length of a block that takes longer than `after` seconds, `listener` is answered: `/health` by 200, all else by 503."""
    task = asyncio.create_task(_serve(listener, after), name="early")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _serve(listener: socket.socket, after: float) -> None:
    await asyncio.sleep(after)
    server = await asyncio.start_server(_answer, sock=listener.dup(), limit=_HEAD, backlog=_BACKLOG)
    async with server:  # who comes after its end waits in the listener's queue until the hub is there
        await server.serve_forever()


async def _answer(reader: StreamReader, writer: StreamWriter) -> None:
    try:
        async with asyncio.timeout(_PATIENCE):
            head = await reader.readuntil(b"\r\n\r\n")
            lives = head.split(b" ", 2)[1].partition(b"?")[0] == b"/health"
            writer.write(
                _response(b"200 OK", _LIVES) if lives else _response(b"503 Service Unavailable", _NOT_READY, b"retry-after: 1\r\n")
            )
            await writer.drain()
    except (TimeoutError, OSError, EOFError, ValueError, IndexError, asyncio.LimitOverrunError):
        return  # whoever it was, it was no request
    finally:
        writer.close()


def _response(status: bytes, body: bytes, more: bytes = b"") -> bytes:
    form = b"content-type: application/json\r\ncache-control: no-store\r\n"
    return b"HTTP/1.1 %b\r\n%b%bconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (status, form, more, len(body), body)
