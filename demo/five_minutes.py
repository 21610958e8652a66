"""The first five minutes with Countersign, scripted: `make demo`.

It starts a hub of its own on a free port with demo/hub.yaml, connects the official MCP client to it, and shows what a hub is for:
tools from three servers behind one address, a call refused by policy, one refused by a limit, a call proved offline, and a journal
that names the record somebody changed. The key it uses lives for an hour and is revoked at the end.
"""

import asyncio
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import Tool

ROOT = Path(__file__).resolve().parents[1]
HUB = [sys.executable, "-m", "hub.cli"]


def say(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def show(text: str) -> None:
    print("  " + "\n  ".join(text.strip().splitlines()), flush=True)


class Demo:
    """One hub with its own state, and the command line pointed at it."""

    def __init__(self, state: Path, port: int) -> None:
        self.state = state
        self.url = f"http://127.0.0.1:{port}"
        self.environment = {**os.environ, "HUB_STATE": str(state), "HUB_URL": self.url, "HUB_CONFIG": "demo/hub.yaml"}

    def hub(self, *words: str, expect: tuple[int, ...] = (0,)) -> str:
        """Run a `hub` command and return what it printed."""
        print(f"  $ hub {' '.join(words)}", flush=True)
        done = subprocess.run([*HUB, *words], check=False, cwd=ROOT, env=self.environment, capture_output=True, text=True)
        if done.returncode not in expect:
            sys.exit(f"hub {words[0]} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    @contextmanager
    def running(self, port: int) -> Iterator[None]:
        with (self.state / "hub.log").open("w") as log:
            words = [*HUB, "serve", "--config", "demo/hub.yaml", "--port", str(port)]
            process = subprocess.Popen(words, cwd=ROOT, env=self.environment, stdout=log, stderr=log)
        try:
            self._wait(process, port)
            yield
        finally:
            process.terminate()
            process.wait(30)

    def _wait(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and process.poll() is None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            try:
                connection.request("GET", "/health/ready")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                time.sleep(0.05)
            finally:
                connection.close()
        sys.exit(f"the hub did not start:\n{(self.state / 'hub.log').read_text()}")

    def admin_key(self) -> str:
        """The hub writes its first keys to a file when there is no terminal to show them on."""
        line = next(line for line in (self.state / "first-run").read_text().splitlines() if "admin key" in line)
        return line.split()[-1]


async def calls(demo: Demo, key: str) -> str:
    """What a client does. Returns the receipt of its last answered call, as the hub's header had it."""
    receipts: list[str] = []

    async def note(response: httpx2.Response) -> None:
        if receipt := response.headers.get("hub-receipt"):
            receipts.append(receipt)

    web = httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}, event_hooks={"response": [note]}, timeout=60)
    async with web, Client(streamable_http_client(f"{demo.url}/mcp/demo", http_client=web)) as client:
        say("1. One address, the tools of several servers")
        tools = await all_tools(client)
        show(", ".join(tool.name for tool in tools))

        say("2. Three calls, to servers of both protocol eras")
        names = {tool.name for tool in tools}
        await call(client, "now", {"timezone": "Europe/Berlin"})
        await call(client, "git_log", {"repo_path": str(ROOT), "max_count": 1})
        await call(client, *(("echo", {"message": "hello"}) if "echo" in names else ("git_status", {"repo_path": str(ROOT)})))
        proved = receipts[-1]

        say("3. A policy reads the arguments: the bulk read of the history is refused")
        await call(client, "git_log", {"repo_path": str(ROOT), "max_count": 500})

        say("4. A limit: three conversions at once, the fourth has to wait")
        for _ in range(4):
            await call(client, "convert_time", {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"})
    return proved


async def all_tools(client: Client) -> list[Tool]:
    """The servers start in parallel when the hub does; each one's tools appear as soon as it has answered."""
    for _ in range(60):
        tools = (await client.list_tools(cache_mode="bypass")).tools
        if {"now", "git_log"} <= {tool.name for tool in tools}:
            return tools
        await asyncio.sleep(0.5)
    sys.exit("the demo's servers did not start: see `make setup-demo`")


async def call(client: Client, name: str, arguments: dict[str, Any]) -> None:
    shown = json.dumps(arguments).replace(str(ROOT), ".")
    try:
        result = await client.call_tool(name, arguments)
    except MCPError as error:
        wait = (error.error.data or {}).get("retryAfterMs")
        show(f"{name} {shown}\n  REFUSED: {error.error.message}" + (f" (in {wait / 1000:.1f} s)" if wait else ""))
        return
    text = " ".join(getattr(part, "text", "…") for part in result.content)
    show(f"{name} {shown}\n  → {' '.join(text.split())[:100]}")


def proofs(demo: Demo, receipt: str) -> None:
    say("5. The journal: what happened, with commitments in place of payloads")
    show(demo.hub("audit", "tail", "-n", "5"))

    say("6. One call proved offline, by nothing but a file and the log's public key")
    time.sleep(1.2)  # checkpoints are signed every second
    key = demo.hub("audit", "key").strip()
    demo.hub("audit", "prove", receipt, "--out", str(demo.state / "call.proof"))
    show(demo.hub("audit", "verify", str(demo.state / "call.proof"), "--key", key))

    say("7. Somebody changes a copy of the journal")
    export, copy = demo.state / "journal.jsonl", demo.state / "changed.jsonl"
    demo.hub("audit", "export", "--out", str(export))
    show(demo.hub("audit", "verify", str(export), "--key", key, "--receipt", receipt).splitlines()[-1])
    copy.write_text(export.read_text().replace('\\"status\\":\\"refused\\"', '\\"status\\":\\"ok\\"', 1))
    if copy.read_text() == export.read_text():
        sys.exit("the export holds no refusal to change")
    show(demo.hub("audit", "verify", str(copy), "--key", key, "--receipt", receipt, expect=(1,)))


def main() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    state = Path(tempfile.mkdtemp(prefix="countersign-demo-"))
    demo = Demo(state, port)
    try:
        with demo.running(port):
            demo.environment["HUB_ADMIN_KEY"] = demo.admin_key()
            say(f"0. A hub at {demo.url}, and a key for an hour")
            made = json.loads(demo.hub("keys", "create", "five-minutes", "--server", "demo", "--expires", "1h", "--json"))
            show(f"{made['key'][:24]}… (shown once)")
            receipt = asyncio.run(calls(demo, made["key"]))
            proofs(demo, receipt)
            say("8. The key is revoked")
            show(demo.hub("keys", "revoke", "five-minutes"))
            refused = httpx2.post(f"{demo.url}/mcp/demo", headers={"Authorization": f"Bearer {made['key']}"}, json={})
            show(f"its next call: HTTP {refused.status_code}, {refused.json()['error']['message']}")
            if refused.status_code != 401:
                sys.exit("the revoked key was let in")
    finally:
        shutil.rmtree(state)


if __name__ == "__main__":
    main()
