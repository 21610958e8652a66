"""A real browser for the tests: Chromium without a window, told what to do over the DevTools protocol. It reaches this machine alone."""

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import aiohttp

from tests.services.machine import PATIENCE, die_with_us, install, unpack

CACHE = Path(__file__).parents[2] / ".cache" / "tests" / "chromium"
PACKAGE = "chromium-headless-shell"
_PROGRAM = "usr/lib/chromium/chromium-headless-shell"


@lru_cache(maxsize=1)
def program() -> Path:
    """The browser: the machine's, else that of the cache, else installed. Raises `FileNotFoundError`."""
    for found in (Path("/") / _PROGRAM, CACHE / _PROGRAM):
        if found.exists():
            return found
    if os.getuid() == 0:
        install(PACKAGE)
        return Path("/") / _PROGRAM
    asked = ["apt-get", "install", "-y", "--no-install-recommends", "--print-uris", PACKAGE]
    shown = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    unpack(CACHE, *re.findall(r"^'[^']*' ([^_\s]+)_", shown, re.MULTILINE))
    if not (CACHE / _PROGRAM).exists():
        raise FileNotFoundError(f"the tests need Chromium: 'apt-get install {PACKAGE}'")
    return CACHE / _PROGRAM


class Tab:
    """One page. `events` are what it has reported, in order: what it asked for, what it complained of."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._session = ""
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._count = 0
        self.events: list[tuple[str, dict[str, Any]]] = []

    async def open(self) -> Self:
        target = await self.do("Target.createTarget", url="about:blank")
        self._session = (await self.do("Target.attachToTarget", targetId=target["targetId"], flatten=True))["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "Accessibility"):
            await self.do(f"{domain}.enable")
        return self

    async def listen(self) -> None:
        async for message in self._socket:
            said = message.json()
            waiting = self._answers.pop(said.get("id", 0), None)
            if waiting is None:
                self.events.append((said.get("method", ""), said.get("params", {})))
            elif "error" in said:
                waiting.set_exception(RuntimeError(str(said["error"])))
            else:
                waiting.set_result(said["result"])

    async def do(self, method: str, **params: Any) -> dict[str, Any]:
        self._count += 1
        answer = self._answers[self._count] = asyncio.get_running_loop().create_future()
        asked = {"id": self._count, "method": method, "params": params}
        await self._socket.send_json({**asked, "sessionId": self._session} if self._session else asked)
        async with asyncio.timeout(PATIENCE):
            return await answer

    async def value(self, expression: str) -> Any:
        """What an expression of JavaScript comes to, a promise awaited. Raises `AssertionError` where it fails."""
        said = await self.do("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True)
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait until an expression is true."""
        async with asyncio.timeout(PATIENCE):
            while not await self.value(expression):
                await asyncio.sleep(0.02)

    async def press(self, key: str, text: str = "") -> None:
        code = {"Enter": 13, "Tab": 9, "Escape": 27}.get(key, 0)
        named = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        await self.do("Input.dispatchKeyEvent", type="keyDown", **named, **({"text": text} if text else {}))
        await self.do("Input.dispatchKeyEvent", type="keyUp", **named)

    async def write(self, text: str) -> None:
        for letter in text:
            await self.press(letter, letter)


@contextlib.asynccontextmanager
async def tab() -> AsyncIterator[Tab]:
    """A browser of its own with one page, for a block."""
    folder = tempfile.mkdtemp(prefix="hub-chromium-")
    binary = program()
    libraries = (
        ":".join(str(folder) for name in ("*", "*/pulseaudio") for folder in (CACHE / "usr" / "lib").glob(name))
        if CACHE in binary.parents
        else ""
    )
    flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-port=0", f"--user-data-dir={folder}"]
    flags += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--no-first-run", "--disable-background-networking"]
    process = subprocess.Popen(
        [str(binary), *flags, "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "HOME": folder, **({"LD_LIBRARY_PATH": libraries} if libraries else {})},
        preexec_fn=die_with_us,  # noqa: PLW1509 (one call into libc, which takes no lock)
    )
    try:
        address = await asyncio.wait_for(asyncio.to_thread(_announced, process), PATIENCE)
        async with aiohttp.ClientSession() as session, session.ws_connect(address, max_msg_size=0) as socket:
            page = Tab(socket)
            listening = asyncio.create_task(page.listen())
            try:
                yield await page.open()
            finally:
                listening.cancel()
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()
        shutil.rmtree(folder, ignore_errors=True)


def _announced(process: "subprocess.Popen[bytes]") -> str:
    assert process.stderr is not None
    said = b""
    for line in process.stderr:
        said += line
        if found := re.search(rb"DevTools listening on (ws://\S+)", line):
            return found[1].decode()
    raise AssertionError(f"the browser did not start:\n{said.decode(errors='replace')[-2000:]}")
