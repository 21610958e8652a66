"""One at a time, first come first served: a lock that can also be tried from where nothing can be waited for."""

import asyncio
from asyncio import Future
from collections import deque


class Lane:
    """`async with` it, or `try_take` and `leave`. For one event loop."""

    def __init__(self) -> None:
        self._taken = False
        self._waiting: deque[Future[None]] = deque()

    def try_take(self) -> bool:
        """Take it, if it is free: then nobody waits for it either."""
        if self._taken:
            return False
        self._taken = True
        return True

    def leave(self) -> None:
        """Hand it on to who waits longest."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._taken = False

    async def __aenter__(self) -> None:
        if self.try_take():
            return
        turn: Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()  # it was handed on in this very moment
            raise

    async def __aexit__(self, *_: object) -> None:
        self.leave()
