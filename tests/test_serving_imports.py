"""What the serving process loads: each package costs every start and every process, so the list is kept by hand."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

LOADED = """
import sys
bare = {name.partition(".")[0] for name in sys.modules}  # what the interpreter itself loads: a distribution's may load more
import hub.app
from hub.cli import main
names = {name.partition(".")[0] for name in sys.modules} - bare
print("\\n".join(sorted(n for n in names - set(sys.stdlib_module_names) if not n.startswith("_"))))
"""

NEVER = {
    "asyncpg",
    "mcp",
    "mcp_types",
    "pydantic",
    "jsonschema",
    "httpx",
    "httpx2",
    "typer",
    "rich",
    "a2a",
    "redis",
    "langfuse",
    "opentelemetry",
    "sqlalchemy",
}


def loaded() -> set[str]:
    done = subprocess.run([sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_serving_process_loads_no_sdk_and_nothing_only_the_command_line_needs() -> None:
    assert not loaded() & NEVER


def test_every_third_party_package_the_serving_process_loads_is_declared() -> None:
    known = {
        *("anyio", "cedarpy", "click", "cryptography", "cffi", "h11", "httptools", "idna", "jsonschema_rs", "msgspec", "orjson"),
        *("prometheus_client", "python_multipart", "multipart", "starlette", "typing_extensions", "uvicorn", "uvloop", "yaml"),
        *("hub", "virtual_servers", "cython_runtime"),
        "sniffio",  # which anyio takes where it is there; the tests' SDKs bring it
    }
    assert loaded() - known == set()
