"""The first start: makes the first keys, shows them once, and says what to paste where. Later starts only say where the hub is."""

import os
import sys
from pathlib import Path

from hub.audit.deed import Deed
from hub.audit.journal import Journal
from hub.identity.authenticate import Identity

_ACTOR = {"kind": "hub", "id": "first-start", "sub": "hub"}
"""Who makes the first keys, as records name him."""


class Welcome:
    """Keys go to a terminal only; without one, to `first-run` in the state folder, readable by its owner alone.

    With `owned`, the operator has declared a master key: nobody needs first keys.
    """

    def __init__(
        self, identity: Identity, journal: Journal, url: str, folder: Path, virtual_servers: list[str], *, owned: bool = False
    ) -> None:
        self._identity = identity
        self._journal = journal
        self._url = url
        self._folder = folder
        self._servers = virtual_servers
        self._owned = owned

    async def show(self) -> None:
        """Raises OSError, with no key made, where there is neither a terminal nor a file to show them in."""
        if self._owned or await self._identity.begun():  # then nothing is to be written: a hub may have no place for it
            self._say("\n".join(["", f"Countersign is at {self._url}", *self._addresses(), ""]))
            return
        path = None if sys.stdout.isatty() else self._folder / "first-run"
        if path is not None:
            self._folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) if path is not None else -1
        try:
            async with Deed(self._journal, _ACTOR) as deed:
                made = await self._identity.first_start(deed.begin)
                if made is not None:
                    await deed.done(*(created.record for created in made))
            if made is None:  # another hub was faster
                self._say("\n".join(["", f"Countersign is at {self._url}", *self._addresses(), ""]))
                return
            await self._identity.everywhere()  # what is shown can be used, whichever process is asked
            text = self._text(made[0].text, made[1].text)
            if path is None:
                self._say(text)
                return
            os.write(descriptor, text.encode())
            self._say(f"Countersign is at {self._url}; the first keys are in {path} (shown nowhere else: keep them and delete the file)")
        finally:
            self._done(descriptor, path)

    def _done(self, descriptor: int, path: Path | None) -> None:
        if path is not None:
            empty = os.fstat(descriptor).st_size == 0
            os.close(descriptor)
            if empty:
                path.unlink()

    def _addresses(self) -> list[str]:
        return [f"  virtual server  {self._url}/mcp/{name}" for name in self._servers]

    def _text(self, admin: str, first: str) -> str:
        server = self._servers[0] if self._servers else "<name>"
        paste = [f"  claude mcp add --transport http {server} {self._url}/mcp/{server} --header 'Authorization: Bearer {first}'"]
        return "\n".join(
            [
                "",
                f"Countersign is at {self._url}. These keys are shown once:",
                f"  admin key       {admin}",
                f"  API key         {first}",
                *self._addresses(),
                *(["", "Paste this to connect Claude Code (others: hub connect --help):", *paste] if self._servers else []),
                "",
            ]
        )

    def _say(self, text: str) -> None:
        print(text, flush=True)  # noqa: T201 (this is the terminal's text, not a log)
