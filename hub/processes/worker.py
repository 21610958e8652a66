"""`python -m hub.processes.worker NUMBER CHANNEL`: one of the processes that serve, started by a parent and by nobody else.

CHANNEL is the descriptor of a socket to the parent, from which everything else comes. It ends with 0 where it was told to stop or its
parent is gone, and with 1 where it cannot serve.
"""

import asyncio
import logging
import os
import socket
import sys
from functools import partial

from hub.app import Hub
from hub.config.load import Loaded
from hub.processes import orphan, program
from hub.processes.board import Board
from hub.processes.channel import Channel
from hub.processes.either import either
from hub.processes.member import Member
from hub.processes.messages import Begin, ToWorker
from hub.processes.server import Shared
from hub.server import configure
from hub.start import brought_up, made, settled_down, welcome
from hub.telemetry.logs import fields

log = logging.getLogger("hub")


def main() -> int:
    number = int(sys.argv[1])
    return program.run(f"worker {number}", {"worker": number}, Begin, ToWorker, partial(_live, number))


async def _live(number: int, begin: Begin, loaded: Loaded, channel: Channel[ToWorker], descriptor: int) -> int:
    member = Member(number, begin.generation, channel)
    orphan.guard(descriptor, lambda: (member.hub.loaded if member.hub is not None else loaded).config.server.drain + orphan.REST)
    program.handle_signals(member.signalled)
    listening = asyncio.create_task(member.listen(), name="parent")
    try:
        return await _serve(member, begin, loaded)
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def _serve(member: Member, begin: Begin, loaded: Loaded) -> int:
    hub = member.hub = made(loaded)
    if hub is None:
        return 1
    hub.among, hub.admin.exposition, hub.leaving = member.among, member.exposition, member.noticed
    hub.fleet.host = member.joined(begin.plug)
    if (code := await _start(hub, member, begin)) is not None:
        return code
    try:
        member.ready(welcomed=begin.welcome)
        await either(member.serving, member.leaving)
        if not member.leaving.is_set():
            server = member.server = _server(hub, member, begin)
            if member.noticed:
                server.last_answers()
            settled_down()
            await server.serve()
    except OSError as error:  # another program took the address between its binding and the first to listen there
        log.error("the hub cannot start", extra=fields(reason=str(error)))
        return 1
    finally:
        await member.settled()
        await hub.stop()
    member.farewell()
    return 1 if member.failed else 0


async def _start(hub: Hub, member: Member, begin: Begin) -> int | None:
    """Bring it up. An exit code where that cannot be, or where this worker is to leave before."""
    starting, started = asyncio.create_task(brought_up(hub, welcome(hub, begin.url) if begin.welcome else None)), asyncio.Event()
    starting.add_done_callback(lambda _: started.set())
    await either(started, member.leaving)
    if starting.done():
        return None if starting.result() else 1
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    await hub.stop()
    return 0


def _server(hub: Hub, member: Member, begin: Begin) -> Shared:
    listener, board = socket.socket(fileno=begin.listener), Board.find(begin.board)
    os.set_inheritable(begin.listener, False)
    os.set_inheritable(begin.board, False)
    settings = hub.loaded.config.server
    config = configure(hub.app, header_timeout=settings.header_timeout, trusted_proxies=settings.trusted_proxies)
    return Shared(config, hub.drain, hub.clients.cut_all, listener, board, member.number, member.serves)


if __name__ == "__main__":
    sys.exit(main())
