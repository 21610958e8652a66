"""IBM ContextForge as a target: its settings, and the virtual server that has to be made over its API once it listens.

Everything that costs and can be left out is off (web pages, compression, database logs, metrics), and no call is refused for its rate.
"""

import http.client
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from tests.bench.targets import ROOT, Target, must_match

PYTHON = ROOT / ".cache" / "peer-contextforge" / "bin" / "python"
SECRET = "a-secret-that-is-only-for-this-benchmark-0123456789"
ADMIN = "admin@example.com"
ENV = {
    "DATABASE_URL": "sqlite:///./mcp.db",
    "CACHE_TYPE": "memory",
    "JWT_SECRET_KEY": SECRET,
    "AUTH_ENCRYPTION_SECRET": SECRET,
    "PLATFORM_ADMIN_EMAIL": ADMIN,
    "PLATFORM_ADMIN_PASSWORD": "Only-4-this-benchmark",
    "SSRF_ALLOW_LOCALHOST": "true",
    "SSRF_ALLOW_PRIVATE_NETWORKS": "true",
    "LOG_LEVEL": "ERROR",
    "RATE_LIMITING_ENABLED": "false",
    "TOOL_RATE_LIMIT": "100000000",
    "COMPRESSION_ENABLED": "false",
    "MCPGATEWAY_UI_ENABLED": "false",
    "MCPGATEWAY_ADMIN_API_ENABLED": "false",
    "MCPGATEWAY_A2A_ENABLED": "false",
    "PLUGINS_ENABLED": "false",
    "LLMCHAT_ENABLED": "false",
    "OBSERVABILITY_ENABLED": "false",
    "DB_METRICS_RECORDING_ENABLED": "false",
    "METRICS_AGGREGATION_ENABLED": "false",
    "METRICS_ROLLUP_ENABLED": "false",
    "METRICS_CLEANUP_ENABLED": "false",
}


def token() -> str:
    """A JWT (HS256) of the administrator, made with the gateway's own tool so that it has the claims it wants."""
    argv = [str(PYTHON), "-m", "mcpgateway.utils.create_jwt_token", "--username", ADMIN, "--exp", "10080", "--secret", SECRET, "--admin"]
    done = subprocess.run(argv, check=True, capture_output=True, text=True, env={**os.environ, **ENV})
    return done.stdout.split()[-1]


def ask(base: str, method: str, path: str, bearer: str, body: Any = None) -> Any:
    parts = urlsplit(base)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    headers = {"authorization": f"Bearer {bearer}", "content-type": "application/json"}
    connection.request(method, path, orjson.dumps(body) if body is not None else None, headers)
    response = connection.getresponse()
    text = response.read()
    connection.close()
    if response.status >= 300:
        raise RuntimeError(f"{method} {path}: {response.status} {text[:500]!r}")
    return orjson.loads(text)


def prepare(echo: list[str]) -> Callable[[Path, int, str], Sequence[str]]:
    def run(_folder: Path, port: int, url: str) -> Sequence[str]:
        echo[:] = [url]
        return [str(PYTHON), "-m", "uvicorn", "mcpgateway.main:app", "--host", "127.0.0.1", "--port", str(port), "--no-access-log"]

    return run


def set_up(echo: list[str]) -> Callable[[Target, str], None]:
    """On the first start: register the echo server and make a virtual server of its tool. Both stay in its database."""

    def after_start(target: Target, base: str) -> None:
        bearer = target.headers["authorization"].removeprefix("Bearer ")
        if not ask(base, "GET", "/servers", bearer):
            ask(base, "POST", "/gateways", bearer, {"name": "bench", "url": echo[0], "transport": "STREAMABLEHTTP"})
            ids: list[str] = []
            while not ids:
                ids = [tool["id"] for tool in ask(base, "GET", "/tools", bearer)]
                time.sleep(0.1)
            ask(base, "POST", "/servers", bearer, {"server": {"name": "bench", "associated_tools": ids}})
        target.path = f"/servers/{ask(base, 'GET', '/servers', bearer)[0]['id']}/mcp"

    return after_start


def contextforge() -> Target:
    must_match(PYTHON)
    echo: list[str] = []
    return Target(
        "IBM ContextForge",
        prepare(echo),
        era="2025-06-18",
        tool="bench-echo",
        headers={"authorization": f"Bearer {token()}"},
        env=ENV,
        after_start=set_up(echo),
        ready="/health",
        starts=2,
    )
