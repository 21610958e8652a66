"""What is measured: how each target is started and what a call to it looks like. Knows nothing of how it is measured."""

import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen, TimeoutExpired

ROOT = Path(__file__).resolve().parents[2]
ECHO_STDIO = [sys.executable, "-m", "tests.bench.echo_stdio"]
PEERS = ROOT / ".cache" / "peers" / "bin" / "python"

READS_NOTHING = 'forbid(principal, action in Hub::Action::"call_tool", resource) when { resource.name == "other" };'
READS_ONE = 'forbid(principal, action == Hub::Action::"call_tool:echo/echo", resource) when { context.args.text like "*drop everything*" };'


@dataclass
class Target:
    """One row. `prepare` gets the folder the target lives in, its port and the echo server's URL, and returns what to run."""

    name: str
    prepare: Callable[[Path, int, str], Sequence[str]]
    path: str = "/mcp"
    era: str = "2026-07-28"
    tool: str = "echo"
    headers: dict[str, str] = field(default_factory=dict[str, str])
    env: dict[str, str] = field(default_factory=dict[str, str])
    after_start: Callable[["Target", str], None] | None = None
    """Gets the target and its base URL once it listens, to set up what can only be set up then; may set `path` and `headers`."""
    ready: str = ""
    """A path that answers 200 when the target is ready; empty: when a call is answered."""
    starts: int = 5
    """How many times the start is timed."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Programs started in the block stay on that core, with all their threads and children."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def running(argv: Sequence[str], folder: Path, core: int, env: dict[str, str] | None = None) -> Iterator[Popen[bytes]]:
    """A program pinned to a core, its output in `folder`/log, ended when the block is left."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
    with open(folder / "log", "ab") as log, on_core(core):
        process = Popen(argv, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except TimeoutExpired:
            process.kill()
            process.wait()


def python(module: str, *, interpreter: str | Path = sys.executable) -> Callable[[Path, int, str], Sequence[str]]:
    return lambda _folder, port, url: [str(interpreter), "-m", f"tests.bench.{module}", str(port), url]


class Missing(Exception):
    """A peer cannot be started as it is installed; says why, and what helps."""


def of_this_python(interpreter: Path) -> None:
    """A peer's environment must be there, and of the Python this runs on: how a Python was built changes every figure by a tenth or a third.
    Raises `Missing`."""
    folder = interpreter.parents[1].relative_to(ROOT)
    if not interpreter.exists():
        raise Missing(f"{folder} is not there; `make bench-peers` installs it")
    if interpreter.resolve() != Path(sys.executable).resolve():
        raise Missing(f"{folder} is of another Python than .venv; remove it, and `make bench-peers` makes it anew")


def must_match(interpreter: Path) -> None:
    """The same, ending the run."""
    try:
        of_this_python(interpreter)
    except Missing as error:
        sys.exit(f"bench: {error}")


def hub(upstream: str, policy: str) -> Callable[[Path, int, str], Sequence[str]]:
    """A hub with everything on: a declared key, a policy, limits, metrics, the journal."""

    def prepare(folder: Path, port: int, url: str) -> Sequence[str]:
        folder.mkdir(parents=True, exist_ok=True)
        source = upstream.format(url=url, python=sys.executable, root=ROOT)
        (folder / "hub.yaml").write_text(
            f"""\
stores: {{database: "sqlite:///{folder}/hub.db"}}
keys: [{{name: bench, secret: "${{HUB_BENCH_KEY}}", grants: [{{virtual_server: bench}}]}}]
limits:
  - {{name: rate, scope: key, per_minute: 100000000, burst: 1000000, concurrency: 10000}}
  - {{name: tool, scope: tool, per_minute: 100000000, burst: 1000000, concurrency: 10000}}
policies: {{sets: {{bench: {{cedar: '{policy}'}}}}}}
upstreams: {{echo: {source}}}
virtual_servers: {{bench: {{include: [{{from: echo}}]}}}}
"""
        )
        return [str(Path(sys.executable).parent / "hub"), "serve", "--config", "hub.yaml", "--port", str(port)]

    return prepare


def hubs() -> list[Target]:
    from hub.identity.keys import mint

    key = mint().text
    http = '{{url: "{url}"}}'
    stdio = '{{stdio: {{command: "{python}", args: [-m, tests.bench.echo_stdio], env: {{PYTHONPATH: "{root}"}}}}}}'
    rows = [
        ("hub, HTTP, policy reads no argument", http, READS_NOTHING),
        ("hub, HTTP, policy reads an argument", http, READS_ONE),
        ("hub, stdio, policy reads no argument", stdio, READS_NOTHING),
    ]
    return [
        Target(
            name,
            hub(upstream, policy),
            path="/mcp/bench",
            headers={"authorization": f"Bearer {key}"},
            env={"HUB_BENCH_KEY": key},
            ready="/health/ready",
        )
        for name, upstream, policy in rows
    ]


def targets(peers: bool) -> list[Target]:
    rows = [
        Target("direct", python("echo_http")),
        *hubs(),
        Target("SDK server (echo itself)", python("echo_sdk"), starts=3),
        Target("SDK Server + Client as a proxy", python("proxy_sdk"), starts=3),
    ]
    if peers:
        from tests.bench.contextforge import contextforge

        must_match(PEERS)
        rows.append(Target("FastMCP create_proxy", python("proxy_fastmcp", interpreter=PEERS), starts=3))
        rows.append(contextforge())
    return rows
