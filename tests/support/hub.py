"""Runs the real hub as a process of its own with its state in a folder of the test, and speaks to it by raw HTTP."""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Self
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from hub.identity.keys import mint

ROOT = Path(__file__).resolve().parents[2]
START = 30.0
"""Seconds a hub may take to be ready, on a machine that is busy with other things."""

PATIENCE = 30.0
"""Seconds for anything else that is waited for, where no promise of the hub's says how soon it must come."""


class Reached:
    """A hub as it is spoken to at its address, however many processes serve there. `keys` are its keys by name, `log` is what it has said."""

    url: str
    keys: dict[str, str]
    log: Path

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").partition(":")
        return host, int(port)

    def status(self, key: str = "root") -> dict[str, Any]:
        return self.admin("GET", "/admin/v1/status", key=key)

    def standing(self) -> dict[str, Any]:
        """What `/health/ready` says, ready or not, whoever answers."""
        try:
            with urlopen(self.url + "/health/ready", timeout=10) as answer:
                return json.loads(answer.read())
        except HTTPError as error:
            with contextlib.closing(error):
                return json.loads(error.read())

    def admin(self, method: str, path: str, body: Any = None, *, key: str = "root") -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {self.keys.get(key, key)}", "content-type": "application/json"}
        with urlopen(Request(self.url + path, data, headers, method=method), timeout=10) as answer:
            text = answer.read()
        return text.decode() if path == "/metrics" else json.loads(text)

    def total(self, metric: str) -> float:
        """The value of a metric, over all its labels."""
        found = re.findall(rf"^{metric}(?:\{{.*\}})? (\S+)$", self.admin("GET", "/metrics"), re.MULTILINE)
        return sum(map(float, found))

    def settled(self, *upstreams: str) -> Self:
        """Wait until the catalogues of these upstreams are there: none of the virtual servers lacks them any more."""

        def there() -> bool:
            try:
                doors = self.status()["virtual_servers"].values()
            except HTTPError as error:
                if error.code != 503:  # nobody is let in at the moment: it has not heard from its database for a second
                    raise
                return False
            return not {name for door in doors for name in door["absent"]} & set(upstreams)

        try:
            wait_for(there, START)
        except AssertionError:
            raise AssertionError(f"no catalogue of one of {upstreams}:\n{self.log.read_text()[-4000:]}") from None
        return self


class Hub(Reached):
    """`config` is what goes into hub.yaml. Keys named in it as `{"name": …}` get a secret minted here; `keys` has them by name.

    `postgres` and `redis` are the addresses of its stores; the hub gets them by its environment. Without, it has SQLite in its folder.
    """

    started: Callable[[], None] | None = None
    """What the process does before it becomes the hub."""

    def __init__(self, folder: Path, config: dict[str, Any], *, postgres: str = "", redis: str = "") -> None:
        self.folder = folder
        self.cwd = folder
        self.stores = {name: url for name, url in (("database", postgres), ("redis", redis)) if url}
        self.environment: dict[str, str] = {f"TEST_{name.upper()}": url for name, url in self.stores.items()}
        self.keys: dict[str, str] = {}
        self.file = folder / "hub.yaml"
        self.log = folder / "hub.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self.configure(config)

    def configure(self, config: dict[str, Any]) -> None:
        """Write hub.yaml; a hub that runs takes it up by itself."""
        config = json.loads(json.dumps(config))
        for key in config.get("keys", []):
            name = key["name"]
            (self.folder / "keys").mkdir(exist_ok=True)
            secret = self.folder / "keys" / name
            if name not in self.keys:
                self.keys[name] = mint().text
                secret.write_text(self.keys[name])
            key["secret"] = f"${{file:{secret}}}"
        if self.stores:
            config["stores"] = {name: f"${{TEST_{name.upper()}}}" for name in self.stores}
        aside = self.file.with_suffix(".new")
        aside.write_text(json.dumps(config, indent=1))
        aside.rename(self.file)

    @property
    def database(self) -> Path | str:
        return self.stores.get("database") or self.folder / ".hub" / "hub.db"

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> "Hub":
        """Start it and wait until it is ready."""
        return self.await_ready(self.launch())

    def await_ready(self, at: int) -> "Hub":
        """Wait until one that was launched is ready. `at`: where in its log it begins.

        One that ends because its stores do not answer in time, as on a machine that is very busy, is started again, as a supervisor does.
        """
        again = time.monotonic() + START
        while not isinstance(found := wait_for(lambda at=at: self._announced(at) or self._ended(), START), re.Match):
            unheard = bool(self.stores) and time.monotonic() < again and "it does not answer" in self.log.read_text()[at:]
            assert unheard, f"the hub did not start:\n{self.log.read_text()[-4000:]}"
            at = self.launch()
        self.url = found[1]
        wait_for(lambda: self._ready() or self._ended(), START)
        return self

    def refused(self) -> str:
        """Start it where it is to be refused; what it says."""
        at = self.launch()
        assert self.process is not None
        assert self.process.wait(START) == 1
        return self.log.read_text()[at:]

    def launch(self) -> int:
        """Start it; how much of its log was there before."""
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        environment.update({"PYTHONPATH": str(ROOT), **self.environment})
        at = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hub.cli", "serve", "--config", str(self.file), "--port", "0"],
                cwd=self.cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=self.started,  # noqa: PLW1509 (at most one call into libc, which takes no lock)
            )
        return at

    def stop(self, *, patience: float = 20.0) -> int:
        """Stop it as an operator does; its exit code."""
        self.terminate()
        return self.await_end(patience=patience)

    def terminate(self) -> None:
        """Ask it to stop."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def await_end(self, *, patience: float = 20.0) -> int:
        """Wait until it has ended; its exit code."""
        assert self.process is not None
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the hub did not stop:\n{self.log.read_text()[-4000:]}") from None

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def _announced(self, at: int) -> re.Match[str] | None:
        return re.search(r"Countersign is at (http://[0-9.:]+)", self.log.read_text()[at:])

    def _ready(self) -> bool:
        with contextlib.suppress(OSError), urlopen(self.url + "/health/ready", timeout=5) as answer:
            return answer.status == 200
        return False

    def _ended(self) -> bool:
        assert self.process is not None
        return self.process.poll() is not None


@contextlib.contextmanager
def running(folder: Path, config: dict[str, Any], **stores: str) -> Generator[Hub]:
    """A hub for the length of a block. It must have stopped in order at the end, without an error in its log."""
    hub = Hub(folder, config, **stores)
    try:
        yield hub.start()
    finally:
        code = hub.stop()
    assert code == 0, f"exit code {code}:\n{hub.log.read_text()[-4000:]}"
    assert "Traceback" not in hub.log.read_text(), hub.log.read_text()[-8000:]


def wait_for(look: Callable[[], Any], seconds: float = PATIENCE, every: float = 0.02) -> Any:
    """Ask `look` until what it says is true; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, "what was waited for did not come"
        time.sleep(every)
    return found


async def eventually(look: Callable[[], Any], seconds: float = PATIENCE, every: float = 0.02) -> Any:
    """The same inside a loop. What `look` returns may be awaitable."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < end, "what was waited for did not come"
        await asyncio.sleep(every)
