"""The composition root: the one file that names every part, puts them together, and takes them apart in order.

start: store → journal → identity → limits → egress → upstreams → virtual servers → HTTP.  stop: the same way back.
"""

import asyncio
import gc
import logging
import os
import resource
import sqlite3
import sys
from pathlib import Path
from typing import Any

import orjson
import uvloop

from hub import __version__
from hub.admin.routes import Admin
from hub.audit.checkpoint import Signer
from hub.audit.journal import Journal
from hub.budget.limits import Limits
from hub.config.load import ConfigError, Loaded, database_file, load, secret_folder
from hub.config.restart import changes_that_need_restart
from hub.egress import Egress
from hub.gate import Gate
from hub.generations import Generations
from hub.identity.authenticate import Identity
from hub.pipeline import Steps
from hub.policy.decide import PolicyInvalid
from hub.refusal import Refusal
from hub.rehearsal import dry_run
from hub.server import Server, bind, configure
from hub.store.secrets import KEY_PEPPER, Secrets, UnusableSecret
from hub.store.sqlite import Database, LaterVersion, Locked
from hub.telemetry.logs import fields, set_up
from hub.telemetry.metrics import Metrics
from hub.watch import Watch
from hub.welcome import Welcome
from virtual_servers.clients import Clients
from virtual_servers.door import Door
from virtual_servers.fleet import Fleet
from virtual_servers.greeting import Greeting
from virtual_servers.guard import Guard
from virtual_servers.legacy import Legacy
from virtual_servers.lists import Lists
from virtual_servers.newer import Newer
from virtual_servers.pages import Pages
from virtual_servers.serve import Edge
from virtual_servers.sessions import Sessions
from virtual_servers.shelf import Shelf
from virtual_servers.streams import Switchboard

__all__ = ["Hub", "dry_run", "serve"]

log = logging.getLogger("hub")

_COLLECT = (10_000, 20, 20)
"""Containers made beyond those freed until a collection: a call under way holds some hundred, which its end frees without one."""

FIRST_LOOK = 10.0
"""Seconds after the start during which an empty list, or an unknown name, waits for upstreams never seen; later nothing waits for them."""


class Hub:
    """One process of the hub. `start`, then serve `app`, then `drain` and `stop`."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        config = loaded.config
        path = database_file(config)
        self.database = Database(path)
        self.secrets = Secrets.load(secret_folder(config), _text(config.secrets.master), _text(config.secrets.log))
        self.metrics = Metrics()
        signer = Signer(self.secrets.log_seed)
        self.journal = Journal(
            self.database,
            signer,
            origin=config.audit.origin,
            checkpoint_every=config.audit.checkpoint_every,
            build=f"countersign/{__version__}",
            config_hash=loaded.hash,
        )
        self.identity = Identity(self.database, self.secrets.derive(KEY_PEPPER))
        self.limits = Limits(self.database, config.limits)
        self.steps = Steps(self.identity, self.limits, self.journal, self.metrics)
        self.guard = Guard(self.journal.boot)
        self.egress = Egress(config.egress)
        self.fleet = Fleet(self.egress, self.guard, Shelf(self.database))
        self.switchboard = Switchboard()
        self.sessions = Sessions()
        self.clients = Clients(config.server.body_timeout)
        greeting = Greeting()
        lists = Lists(Pages(self.secrets.derive("cursors")), orjson.dumps(greeting.server_info))
        self.generations = Generations(loaded, self.fleet, lists, self.database, self.journal, self.switchboard)
        self.fleet.on_changed = self.generations.changed
        self.edge = Edge(self.steps, self.generations.door, self.clients, config.server.max_body)
        self.edge.newer = Newer(self.edge, greeting, self.switchboard)
        self.edge.legacy = Legacy(self.edge, greeting, self.switchboard, self.sessions)
        self.admin = Admin(self.steps, self.status, self.not_ready)
        self.app = Gate(self.edge, self.admin.app, config.server)
        self._first_look_ends = 0.0

    async def start(self) -> None:
        """Bring everything up. Raises what the first part that cannot start raises; what was started by then is stopped."""
        self.guard.start()
        self.database.on_commit(self.metrics.committed)
        self.metrics.inflight(lambda: float(len(self.clients)))
        self.metrics.upstreams = lambda: [(u.name, u.state, u.status()["breaker"] != "closed") for u in self.fleet.all()]
        self.database.open()
        await self.journal.open()
        self.identity.on_revoke(self._revoked)
        self.identity.declare(self.loaded.config.keys)
        await self.identity.open()
        await self.limits.open()
        await self.egress.open()
        await self.fleet.configure(self.loaded.config.upstreams)
        await self.generations.swap()
        self.clients.start()
        self._first_look_ends = asyncio.get_running_loop().time() + FIRST_LOOK

    async def drain(self) -> None:
        """Take no new calls, let those under way finish, then cut them; their outcomes are recorded either way."""
        self.edge.draining = True
        self.switchboard.close()
        if not await self.clients.idle(self.loaded.config.server.drain):
            self.clients.cut_all()
            await self.clients.idle(2.0)

    async def stop(self) -> None:
        """Take everything down, whatever part of it was up."""
        first = (self.generations.close, self.clients.stop, self.fleet.close, self.egress.close)
        for close in (*first, self.identity.close, self.journal.close, self.limits.close):
            try:
                await close()
            except Refusal as refusal:
                log.error("a part could not be closed", extra=fields(code=refusal.code, detail=refusal.detail))
        await self.database.close()
        await asyncio.to_thread(self.guard.close)

    async def more(self, name: str) -> bool:
        """Wait, within the first seconds of a run only, for one more upstream of `name` whose catalogue was never fetched."""
        door = self.generations.door(name)
        left = self._first_look_ends - asyncio.get_running_loop().time()
        unseen = self.fleet.unseen(list(door.view.absent)) if door is not None else []
        if not unseen or left <= 0:
            return False
        await self.fleet.one_more(unseen, left)
        await self.generations.settled()
        return True

    async def reload(self, loaded: Loaded) -> None:
        """Take up an edited file, or refuse it whole, having changed nothing."""
        try:
            await self.generations.check(loaded)
            self.identity.declare(loaded.config.keys)
        except (PolicyInvalid, ValueError) as error:
            log.error("the edited configuration was refused; the one before it keeps running", extra=fields(reason=str(error)))
            return
        pinned = changes_that_need_restart(self.loaded.config, loaded.config)
        if pinned:
            log.warning("changed settings that take effect only at the next start", extra=fields(settings=pinned))
        self.loaded = self.generations.loaded = loaded
        self.limits.configure(loaded.config.limits)
        await self.fleet.configure(loaded.config.upstreams)
        self.generations.changed()
        await self.generations.settled()
        log.info("configuration reloaded", extra=fields(hash=loaded.hash))

    def status(self) -> dict[str, Any]:
        """What `/admin/v1/status` shows."""
        generation = self.generations.present
        return {
            "version": __version__,
            "boot": self.journal.boot,
            "config": self.loaded.hash,
            "policy_set": generation.policy.hash if generation else "",
            "problems": list(generation.problems) if generation else [],
            "upstreams": {upstream.name: upstream.status() for upstream in self.fleet.all()},
            "virtual_servers": {name: _summary(door) for name, door in (generation.doors.items() if generation else ())},
            "sessions": len(self.sessions),
            "streams": len(self.switchboard),
        }

    def not_ready(self) -> list[str]:
        """Reasons why this process should get no traffic."""
        reasons: list[str] = []
        if self.edge.draining:
            reasons.append("stopping")
        if not self.identity.fresh:
            reasons.append("keys cannot be checked")
        if self.generations.present is None:
            reasons.append("starting")
        return reasons

    def _revoked(self, key_id: str) -> None:
        self.clients.cut_key(key_id)
        self.sessions.forget_key(key_id)


def serve(config_path: Path | None, host: str | None = None, port: int | None = None, workers: int | None = None) -> int:
    """Run the hub until SIGTERM or Ctrl-C. Returns the exit code: 0 stopped in order, 1 could not start, 2 unusable configuration."""
    try:
        loaded = load(config_path)
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201 (there is no log yet)
        return 2
    if workers is not None and workers > 1:
        print("more than one worker needs PostgreSQL and Redis, which this version does not have yet", file=sys.stderr)  # noqa: T201
        return 2
    set_up(loaded.config.telemetry.log_level, loaded.config.telemetry.log_format)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each client and each call under way takes a descriptor
    try:
        return uvloop.run(_serve(loaded, host, port))
    except KeyboardInterrupt:
        return 0


async def _serve(loaded: Loaded, host: str | None, port: int | None) -> int:
    settings = loaded.config.server
    host, port = host or settings.host, settings.port if port is None else port
    try:
        listener = bind(host, port)
        hub = Hub(loaded)
    except (OSError, UnusableSecret) as error:
        log.error("the hub cannot start", extra=fields(reason=str(error), address=f"{host}:{port}"))
        return 1
    url = f"http://{host}:{listener.getsockname()[1]}"
    try:
        await hub.start()
        await Welcome(hub.identity, hub.journal, url, database_file(loaded.config).parent, list(loaded.config.virtual_servers)).show()
    except (LaterVersion, Locked, PolicyInvalid, Refusal, ValueError, OSError, sqlite3.Error) as error:
        log.error("the hub cannot start", extra=fields(reason=str(error), detail=getattr(error, "detail", "")))
        await hub.stop()
        return 1
    hub.edge.more = hub.more
    watch = Watch(loaded, hub.reload)
    server = Server(
        configure(hub.app, header_timeout=settings.header_timeout, trusted_proxies=settings.trusted_proxies), hub.drain, hub.clients.cut_all
    )
    watch.start()
    gc.collect()
    gc.freeze()  # what was loaded stays: not to be walked again by every collection
    gc.set_threshold(*_COLLECT)
    for warning in loaded.warnings:
        log.warning("configuration", extra=fields(warning=str(warning)))
    try:
        log.info("serving", extra=fields(url=url, version=__version__, config=loaded.hash, pid=os.getpid()))
        await server.serve(sockets=[listener])
    finally:
        await watch.stop()
        await hub.stop()
    log.info("stopped")
    return 0


def _text(secret: Any) -> str | None:
    return None if secret is None else secret.value


def _summary(door: Door) -> dict[str, Any]:
    view = door.view
    counts = {"tools": len(view.tools), "prompts": len(view.prompts), "resources": len(view.resources), "templates": len(view.templates)}
    return {"org": view.org, "shared": view.shared, "revision": view.revision, "absent": list(view.absent), **counts}
