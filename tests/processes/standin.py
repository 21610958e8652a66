"""A stand-in for a worker, as ill-behaved as it is told to be: it speaks with its parent and serves nobody.

STANDIN is a folder. The file of its number in it holds how this worker behaves, a word a line; what happens to it goes to `notes` there.

`fails`: ends with 1 at once. `dies`: ends with 3 once it serves. `deaf`: does not hear that it is to stop. `refuses`: finds no
configuration good. `stuck`: agrees to one and does not take it up. `silent`: counts for nobody, `mute`: has no opinion. `late`: is ready only when there is a file
`go`. `leaves`: ends in order once it serves. `lingers`: once it serves, lets go of its socket and does not end. A word behind `once:` is for its first life only.
"""

import asyncio
import os
import socket
import sys
from pathlib import Path

from hub.processes.channel import Channel, Closed
from hub.processes.messages import (
    Adopt,
    Adopted,
    Adopting,
    Begin,
    Check,
    Count,
    Counted,
    Drain,
    Family,
    Hurry,
    Ready,
    Retire,
    Sample,
    Serve,
    Serving,
    Standings,
    ToWorker,
    Vote,
)
from hub.processes.parcel import unpack

FOLDER = Path(os.environ["STANDIN"])
NOTES = FOLDER / "notes"


class StandIn:
    def __init__(self, number: int, channel: Channel[ToWorker]) -> None:
        lives = NOTES.read_text().count(f"{number} begin") if NOTES.exists() else 0
        file = FOLDER / str(number)
        words = file.read_text().split() if file.exists() else []
        self._ways = {word.removeprefix("once:") for word in words if not word.startswith("once:") or not lives}
        self._number = number
        self._channel = channel
        self._hash = ""
        self._late = False

    def note(self, what: str) -> None:
        with NOTES.open("a") as file:
            file.write(f"{self._number} {what}\n")

    async def run(self) -> int:
        try:
            while True:
                code = await self._hear(await self._channel.receive())
                if code is not None:
                    return code
                while self._late and not (FOLDER / "go").exists():
                    await asyncio.sleep(0.01)
                if self._late:
                    self._late = False
                    self._channel.send(Ready(True))
        except Closed:
            self.note("alone")
            return 0

    async def _hear(self, message: ToWorker) -> int | None:
        say = self._channel.send
        match message:
            case Begin():
                self.note(f"begin {message.generation} {message.welcome}")
                self._hash = unpack(message.config).hash
                if "fails" in self._ways:
                    return 1
                self._late = "late" in self._ways
                if not self._late:
                    say(Ready(message.welcome))
            case Serve():
                self.note("serve")
                if "dies" in self._ways:
                    return 3
                say(Serving())
                if "lingers" in self._ways:
                    await self._channel.close()
                    await asyncio.sleep(3600)
            case Check():
                self.note(f"check {message.generation}")
                self._hash = unpack(message.config).hash
                if "mute" in self._ways:
                    return None
                say(Vote(message.generation, "no" if "refuses" in self._ways else ""))
            case Adopt():
                self.note(f"adopt {message.generation}")
                if "stuck" not in self._ways:
                    say(Adopting(message.generation))
                    say(Adopted(message.generation, self._hash))
            case Standings() if "leaves" in self._ways:
                return 0
            case Count() if "silent" not in self._ways:
                one = Family("calls", "counter", "", (Sample("calls_total", (), 5.0),))
                say(Counted(message.ask, (one, Family("open", "gauge", "", (Sample("open", (), 1.0),)))))
            case Drain() | Retire() | Hurry() if "deaf" not in self._ways:
                self.note(type(message).__name__)
                return 0
            case _:
                pass
        return None


async def main() -> int:
    channel = await Channel[ToWorker].open(socket.socket(fileno=int(sys.argv[2])), ToWorker)
    code = await StandIn(int(sys.argv[1]), channel).run()
    await channel.close()
    return code


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
