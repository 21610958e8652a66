"""An upstream's credentials come out nowhere, not even where the upstream itself says them."""

import json
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

from tests.security.conftest import ECHO, config_for
from tests.support.hub import running, wait_for
from tests.support.servers import stdio

CANARY = "canary-5f0d8c2a"
QUOTES = """
import http.server, json
class Quotes(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *args): pass
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        said = "bad credentials: " + self.headers["authorization"] + " " + self.headers["x-pass"]
        body = json.dumps({"jsonrpc": "2.0", "id": asked.get("id"), "error": {"code": -32000, "message": said}}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = http.server.HTTPServer(("127.0.0.1", 0), Quotes)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


def test_credentials_that_a_server_quotes_are_taken_out(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text(CANARY)
    token = f"${{file:{secret}}}"
    with subprocess.Popen([sys.executable, "-c", QUOTES], stdout=subprocess.PIPE, text=True) as quotes:
        assert quotes.stdout is not None
        url = f"http://127.0.0.1:{quotes.stdout.readline().strip()}/"
        upstreams = {
            "echo": stdio(ECHO),
            "quotes": {"url": url, "headers": {"Authorization": f"Bearer {token}", "X-Pass": token}},
        }
        upstreams["echo"]["stdio"]["env"] = {"TOKEN": token}
        try:
            with running(tmp_path, config_for(upstreams=upstreams)) as hub:
                hub.settled("echo")
                wait_for(lambda: hub.status()["upstreams"]["quotes"]["error"])
                shown = json.dumps(hub.status()) + hub.admin("GET", "/metrics")
                assert "the token is ***" in shown
                assert "bad credentials: " in shown
                with urlopen(Request(hub.url + "/health/ready"), timeout=10) as answer:
                    shown += answer.read().decode()
        finally:
            quotes.kill()
    kept = b"".join(file.read_bytes() for file in (tmp_path / ".hub").rglob("*") if file.is_file())
    assert "bad credentials: " in hub.log.read_text()
    assert CANARY not in shown + hub.log.read_text()
    assert CANARY.encode() not in kept
