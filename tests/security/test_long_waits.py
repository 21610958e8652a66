"""What a server or a reader asks to wait for has an end."""

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hub.listen import SILENT_READER, bind
from tests.security.conftest import config_for
from tests.support.hub import running
from tests.support.mcp import Client

BUSY = """
import http.server, json
class Busy(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *args): pass
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        results = {
            "initialize": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {}},
            "tools/list": {"tools": [{"name": "later", "inputSchema": {"type": "object"}}]},
        }
        method = asked["method"]
        busy = method == "tools/call"
        answer = {"result": results[method]} if method in results else {"error": {"code": -32601, "message": "unknown"}}
        body = b"" if busy or "id" not in asked else json.dumps({"jsonrpc": "2.0", "id": asked["id"], **answer}).encode()
        self.send_response(503 if busy else 200 if body else 202)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        if busy: self.send_header("retry-after", "9" * WIDTH)
        self.end_headers()
        self.wfile.write(body)
server = http.server.HTTPServer(("127.0.0.1", 0), Busy)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


@pytest.mark.parametrize(("width", "seconds"), [(9, "3600"), (400, None)])
def test_a_server_that_asks_to_wait_for_ever_is_a_server_that_is_down(tmp_path: Path, width: int, seconds: str | None) -> None:
    script = BUSY.replace("WIDTH", str(width))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as busy:
        assert busy.stdout is not None
        upstreams = {"echo": {"url": f"http://127.0.0.1:{busy.stdout.readline().strip()}/"}}
        try:
            with running(tmp_path, config_for(upstreams=upstreams, policies={})) as hub:
                hub.settled("echo")
                answer = asyncio.run(Client(hub, "ann").call("later"))
        finally:
            busy.kill()
    assert (answer.status, answer.why, answer.headers.get("retry-after")) == (200, "upstream_unavailable", seconds)


def test_a_connection_whose_client_takes_nothing_is_cut() -> None:
    with bind("127.0.0.1", 0) as listener:
        listener.listen()
        with socket.create_connection(listener.getsockname()):
            listener.setblocking(True)
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == SILENT_READER
