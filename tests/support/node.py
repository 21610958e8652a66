"""The clients of other ecosystems as programs: Node.js scripts and the inspector, from the pinned packages the tests are set up with."""

import json
import os
import subprocess
from typing import Any

from tests.support.hub import ROOT

HOME = ROOT / ".cache" / "tests"
SCRIPTS = ROOT / "tests" / "journeys" / "js"


def node(script: str, *args: str, seconds: float = 120) -> Any:
    """Run one of the scripts in tests/journeys/js; the JSON it prints."""
    source = (SCRIPTS / script).read_bytes()
    return _json([str(HOME / "bin" / "node"), "--input-type=module", "-", *args], source, seconds)


def inspector(url: str, key: str, method: str, *args: str, seconds: float = 120) -> Any:
    """Run the MCP Inspector's command line once; the JSON it prints."""
    header = f"Authorization: Bearer {key}"
    command = [str(HOME / "bin" / "mcp-inspector"), "--cli", url, "--transport", "http", "--header", header, "--method", method, *args]
    return _json(command, b"", seconds)


def _json(command: list[str], source: bytes, seconds: float) -> Any:
    environment = {"PATH": f"{HOME / 'bin'}:{os.environ['PATH']}", "HOME": os.environ.get("HOME", "/"), "NO_COLOR": "1"}
    done = subprocess.run(command, check=False, input=source, cwd=HOME / "npm", env=environment, capture_output=True, timeout=seconds)
    assert done.returncode == 0, (done.stdout[-2000:], done.stderr[-4000:].decode())
    return json.loads(done.stdout)
