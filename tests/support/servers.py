"""Downstream servers of the tests as processes, and how hub.yaml names them."""

import contextlib
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

from tests.support.hub import ROOT

FOLDER = ROOT / "tests" / "support" / "servers"
SDK = str(FOLDER / "sdk.py")
MANY = str(FOLDER / "many.py")
DEMO = ROOT / ".cache" / "demo"
EVERYTHING = [str(DEMO / "node"), str(DEMO / "node_modules" / "@modelcontextprotocol" / "server-everything" / "dist" / "index.js"), "stdio"]
"""The protocol's reference server, as the demo has it."""


class HttpServer:
    """A downstream server over HTTP. `notes` is what it remembers."""

    def __init__(self, url: str, notes: Path, process: "subprocess.Popen[str]") -> None:
        self.url = url
        self.notes = notes
        self.process = process

    def noted(self) -> list[str]:
        return self.notes.read_text().splitlines() if self.notes.exists() else []


@contextlib.contextmanager
def sdk_http(folder: Path) -> Generator[HttpServer]:
    """The SDK's server over streamable HTTP, both eras at one address."""
    notes = folder / "notes"
    with (folder / "sdk.log").open("w") as log:
        process = subprocess.Popen([sys.executable, SDK, "http", str(notes)], stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    port = process.stdout.readline().strip()
    assert port, (folder / "sdk.log").read_text()
    try:
        yield HttpServer(f"http://127.0.0.1:{port}/mcp", notes, process)
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def stdio(program: str, *args: str, **more: Any) -> dict[str, Any]:
    """An upstream of hub.yaml: a Python program over its pipes."""
    return {"stdio": {"command": sys.executable, "args": [program, *args]}, **more}


def everything(**more: Any) -> dict[str, Any]:
    """An upstream of hub.yaml: the protocol's reference server, older era."""
    return {"stdio": {"command": EVERYTHING[0], "args": EVERYTHING[1:]}, **more}
