"""The composition root: the one file that names every part, puts them together, and takes them apart in order.

start: store → journal → identity → limits → egress → upstreams → virtual servers → HTTP.  stop: the same way back.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import orjson

from hub import __version__
from hub.admin.routes import Admin
from hub.audit.checkpoint import Signer
from hub.audit.journal import Journal
from hub.budget.alerts import Alerts
from hub.budget.override_desk import OverrideDesk
from hub.budget.price_book import PriceBook
from hub.budget.price_desk import PriceDesk
from hub.budget.usage_roller import Roller
from hub.capture.keeper import Keeper
from hub.commons import Commons
from hub.config import stores
from hub.config.belonging import units_of
from hub.config.load import Loaded, secret_folder
from hub.config.model import Config
from hub.config.restart import changes_that_need_restart
from hub.edge.clients import Clients
from hub.egress import Egress
from hub.gate import Gate
from hub.generations import Generations
from hub.identity.authenticate import Identity
from hub.llm.background import Background
from hub.llm.catalogue import Catalogue, compiled
from hub.llm.charge import Money
from hub.llm.edge import Edge as ModelsEdge
from hub.llm.figures import Figures
from hub.llm.providers import Providers, known
from hub.llm.rooms import Rooms
from hub.llm.standing import Standing
from hub.llm.stored import Stored
from hub.llm.unpriced import Unpriced
from hub.medium import Medium
from hub.observe.ship import Shipping
from hub.on_memory import OnMemory
from hub.on_sqlite import OnSqlite
from hub.plan import Steps
from hub.policy.decide import Policy, PolicyInvalid
from hub.refusal import Refusal
from hub.rehearsal import dry_run
from hub.routing.router import Router
from hub.routing.vault import Vault
from hub.routing.vault_admin import VaultAdmin
from hub.store.keks import keks
from hub.store.secrets import KEY_PEPPER, Secrets
from hub.telemetry.logs import fields
from hub.telemetry.metrics import Metrics
from virtual_servers.door import Door
from virtual_servers.fleet import Fleet
from virtual_servers.greeting import Greeting
from virtual_servers.guard import Guard
from virtual_servers.legacy import Legacy
from virtual_servers.lists import Lists
from virtual_servers.newer import Newer
from virtual_servers.pages import Pages
from virtual_servers.serve import Edge
from virtual_servers.shelf import Shelf

__all__ = ["Hub", "dry_run"]

log = logging.getLogger("hub")

FIRST_LOOK = 10.0
"""Seconds after the start during which an empty list, or an unknown name, waits for upstreams never seen; later nothing waits for them."""


class Hub:
    """One process of the hub. `start`, then serve `app`, then `drain` and `stop`."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        config = loaded.config
        self.secrets = Secrets.load(secret_folder(config), _text(config.secrets.master), _text(config.secrets.log))
        self.medium = medium = _medium(config, self.secrets)
        self.metrics = Metrics()
        signer = Signer(self.secrets.log_seed)
        self.journal = Journal(
            medium.ledger,
            signer,
            origin=config.audit.origin,
            checkpoint_every=config.audit.checkpoint_every,
            build=f"countersign/{__version__}",
            config_hash=loaded.hash,
        )
        self.identity = Identity(medium.keys, self.secrets.derive(KEY_PEPPER))
        wrapping = keks(self.secrets, config.secrets.vault)
        self.vault = Vault(VaultAdmin(medium.vault, wrapping))
        self.keeper = Keeper(medium.contents, wrapping)
        self.commons = commons = _commons(config)
        commons.announce(self.identity)
        commons.compare(lambda: self.loaded.hash)
        self.egress = Egress(config.egress)
        self.alerts = Alerts(medium.usage, self.egress, config.budgets)
        self.limits = commons.limiter(medium.days, config.limits, self.metrics.alone)
        self.prices = PriceBook(config.prices)
        self.price_desk = PriceDesk(medium.prices, self.prices)
        self.budgets = commons.budgets(medium.usage, config, self.alerts.raised)
        self.roller = Roller(medium.usage, medium.hours)
        self.overrides = OverrideDesk(medium.overrides, self.budgets)
        self.overrides.configure(config.budgets, config.orgs)
        for following in (self.vault.following, self.overrides.following):
            self.identity.on_epochs(following.look)
            following.on_change(self.identity.announce)
        self.guard = Guard(self.journal.boot)
        self.shipping = Shipping(config, self.egress, known)
        self.steps = Steps(self.identity, self.limits, self.journal, self.metrics, self.shipping.watch)
        self.fleet = Fleet(self.egress, self.guard, Shelf(medium.catalogues))
        self.switchboard, self.sessions = commons.switchboard, commons.sessions
        self.clients = Clients(config.server.body_timeout)
        greeting = Greeting()
        lists = Lists(Pages(self.secrets.derive("cursors")), orjson.dumps(greeting.server_info))
        self.generations = Generations(loaded, self.fleet, lists, medium.snapshots, self.journal, self.switchboard)
        commons.follow(self.fleet, self.generations.changed)
        self.providers = Providers(self.egress, self.vault, self.secrets.derive("attribution"))
        figures = Figures(self.prices, lambda: self.loaded.config.providers)
        standing = Standing()
        self.router = Router(figures.price_of, figures.window_of, standing.left)
        self._catalogue: tuple[Config, Catalogue] | None = None
        money = Money(self.budgets, self.prices, standing, Unpriced(self.alerts.unpriced))
        self.stored = Stored(medium.stored)
        alone = not stores.several(config.stores)
        self.background = Background(lambda: self.providers.places, medium.background, self.budgets, alone=alone)
        rooms = Rooms(self.providers, self.router, money, self.stored, self.background, config.server.keep_alive)
        self.models = ModelsEdge(
            self.steps, self.clients, rooms, self._models, usage=medium.usage, keeper=self.keeper, max_body=config.server.max_model_body
        )
        self.edge = Edge(self.steps, self.generations.door, self.clients, config.server.max_body)
        self.edge.newer = Newer(self.edge, greeting, self.switchboard)
        self.edge.legacy = Legacy(self.edge, greeting, self.switchboard, self.sessions, commons.underway)
        seen = (self.whole_status, self.not_ready, self.standing)
        self.admin = Admin(self.steps, self.vault, *seen, self.price_desk, self.overrides, keeper=self.keeper, surface=_surface)
        self.app = Gate(self.edge, self.models, self.admin.app, config.server)
        self.among: Callable[[], dict[str, Any]] = dict
        """What is known of other processes that serve with this one."""
        self.generation = 1
        """Counts the configurations this process has had in force."""
        self.leaving = False
        """Whether it has been told to stop. It may serve for a while all the same (`server.notice`)."""
        self._first_look_ends = 0.0

    async def start(self) -> None:
        """Bring everything up. Raises what the first part that cannot start raises; what was started by then is stopped."""
        if self.fleet.host is None:
            self.guard.start()
        self._tell_metrics()
        await self.medium.open(self.identity.bar, self._seated_again)
        await self.commons.open()
        await self.journal.open()
        self.identity.on_revoke(self._revoked)
        if self.medium.shared:
            self.identity.on_silence(self.clients.cut_streams)
        self.identity.declare(self.loaded.config.declared, units_of(self.loaded.config))
        await self.vault.open()
        await self.identity.open()
        await self.limits.open()
        await self.price_desk.open(shared=self.medium.shared)
        await self.egress.open()
        self.shipping.start()
        await self.medium.usage.open()
        await self.budgets.open(await self.background.waiting())
        await self.overrides.open()
        await self.alerts.open()
        await self.roller.open()
        self.keeper.configure(self.loaded.config.orgs)
        await self.keeper.open()
        self.stored.start()
        await self.fleet.configure(self.loaded.config.upstreams)
        self._configure_models(self.loaded.config)
        self.background.start()
        await self.generations.swap()
        self.clients.start()
        self._first_look_ends = asyncio.get_running_loop().time() + FIRST_LOOK

    def leave(self) -> float:
        """Say that it is about to stop, to who asks whether it is ready; the seconds in which it is still to serve."""
        self.leaving = True
        return self.loaded.config.server.notice

    async def drain(self) -> None:
        """Take no new calls, let those under way finish, then cut them; their outcomes are recorded either way."""
        self.clients.draining = True
        self.switchboard.close()
        if not await self.clients.idle(self.loaded.config.server.drain):
            self.clients.cut_all()
            await self.clients.idle(2.0)

    async def stop(self) -> None:
        """Take everything down, whatever part of it was up."""
        before = (self.generations.close, self.clients.stop, self.keeper.close, self.fleet.close, self.stored.close)
        before += (self.background.close, self.roller.close, self.budgets.close, self.alerts.close)
        then = (self.shipping.close, self.egress.close, self.price_desk.close, self.identity.close, self.journal.close)
        for close in (*before, *then, self.limits.close, self.medium.usage.close, self.commons.close):
            try:
                await close()
            except Refusal as refusal:
                log.error("a part could not be closed", extra=fields(code=refusal.code, detail=refusal.detail))
            except Exception:  # the others are to be closed all the same, the journal above all
                log.exception("a part could not be closed")
        self.providers.close()
        await self.medium.close()
        await asyncio.to_thread(self.guard.close)

    async def more(self, name: str) -> bool:
        """Wait, within the first seconds of a run only, for what may show more at `name`: an upstream whose catalogue was never fetched, or
        the generation that one just fetched goes into."""
        door = self.generations.door(name)
        left = self._first_look_ends - asyncio.get_running_loop().time()
        if door is None or left <= 0:
            return False
        unseen = self.fleet.unseen(list(door.view.absent))
        if unseen:
            await self.fleet.one_more(unseen, left)
        elif not self.generations.changing:
            return False
        await self.generations.settled()
        return True

    async def reload(self, loaded: Loaded) -> None:
        """Take up an edited file, or refuse it whole, having changed nothing."""
        try:
            await self.check(loaded)
        except (PolicyInvalid, ValueError) as error:
            log.error("the edited configuration was refused; the one before it keeps running", extra=fields(reason=str(error)))
            return
        await self.adopt(loaded)
        await self.generations.settled()
        log.info("configuration reloaded", extra=fields(hash=loaded.hash))

    async def check(self, loaded: Loaded) -> None:
        """Whether it could be put in force. Raises `PolicyInvalid` or `ValueError` where it could not; changes nothing."""
        await self.generations.check(loaded)
        self.identity.vet(loaded.config.declared, units_of(loaded.config))

    async def adopt(self, loaded: Loaded) -> None:
        """Put in force what was checked. Who is revoked by it is refused at once; the rest follows when it is recorded (`generations`)."""
        self.identity.declare(loaded.config.declared, units_of(loaded.config))
        pinned = changes_that_need_restart(self.loaded.config, loaded.config)
        if pinned:
            log.warning("changed settings that take effect only at the next start", extra=fields(settings=pinned))
        self.loaded = self.generations.loaded = loaded
        self.generation += 1
        self.limits.configure(loaded.config.limits)
        self.shipping.configure(loaded.config)
        self.prices.declare(loaded.config.prices)
        self._configure_models(loaded.config)
        self.budgets.configure(loaded.config.budgets, loaded.config.limits)
        self.overrides.configure(loaded.config.budgets, loaded.config.orgs)
        self.alerts.configure(loaded.config.budgets)
        self.keeper.configure(loaded.config.orgs)
        await self.fleet.configure(loaded.config.upstreams)
        self.generations.changed()

    async def whole_status(self) -> dict[str, Any]:
        """What `/admin/v1/status` shows, with what other processes know."""
        await self.fleet.look()
        return self.status()

    def status(self) -> dict[str, Any]:
        """The same, as last known."""
        generation = self.generations.present
        host = self.fleet.host
        return {
            "version": __version__,
            "boot": self.journal.boot,
            "config": self.loaded.hash,
            "price_table": self.prices.hash,
            "policy_set": generation.policy.hash if generation else "",
            "problems": list(generation.problems) if generation else [],
            "upstreams": {upstream.name: upstream.status() for upstream in self.fleet.all()},
            **({} if host is None or not host.wanted else {"stdio_host": {"up": host.up, "pid": host.pid}}),
            "virtual_servers": {name: _summary(door) for name, door in (generation.doors.items() if generation else ())},
            "deployments": self.router.status(),
            "sessions": len(self.sessions),
            "streams": len(self.switchboard),
        }

    def not_ready(self) -> list[str]:
        """Reasons why this process should get no traffic."""
        reasons: list[str] = []
        if self.leaving or self.clients.draining:
            reasons.append("stopping")
        if not self.medium.up:
            reasons.append("the database is away")
        elif self.identity.barred:
            reasons.append("another hub may have this one's place on the database")
        elif not self.identity.fresh:
            reasons.append("keys cannot be checked")
        if self.generations.present is None:
            reasons.append("starting")
        return reasons

    def standing(self) -> dict[str, Any]:
        """What `/health/ready` shows beside the reasons."""
        return {
            "config": self.loaded.hash,
            "generation": self.generation,
            "database": {"kind": self.medium.kind, "up": self.medium.up},
            **self.commons.standing(),
            **self.among(),
        }

    def _models(self) -> tuple[Catalogue, Policy] | None:
        """What the models edge resolves by: of one generation, so that policy has checked every name that is there."""
        generation = self.generations.present
        if generation is None:
            return None
        if self._catalogue is None or self._catalogue[0] is not generation.config:
            self._catalogue = (generation.config, compiled(generation.config, self.router.route))
        return self._catalogue[1], generation.policy

    def _configure_models(self, config: Config) -> None:
        self.providers.configure(config.providers)
        self.router.configure(config.providers, config.models)

    def _tell_metrics(self) -> None:
        """What `/metrics` asks of the parts, each time somebody looks."""
        self.medium.on_commit(self.metrics.committed)
        self.metrics.config, self.metrics.configs = lambda: self.loaded.hash, self.commons.configs
        self.metrics.spans = self.shipping.tallies
        self.metrics.contents_lost = lambda: self.keeper.lost
        self.metrics.usage_aside = lambda: self.medium.usage.aside
        self.metrics.inflight(lambda: float(len(self.clients)))
        self.metrics.upstreams = lambda: [(u.name, u.state, u.status()["breaker"] != "closed") for u in self.fleet.own()]
        self.metrics.rooms = lambda: [(one.budget, one.scope, one.unit, one.left, one.reserved) for one in self.budgets.rooms()]
        self.metrics.budget_refusals = lambda: self.budgets.refusals.counts
        self.metrics.attempts, self.metrics.deployments = lambda: self.router.counts, self.router.breakers

    async def _seated_again(self) -> None:
        """Nobody is let in before what another hub counted meanwhile is counted here."""
        await self.limits.resume()
        await self.budgets.resume()
        self.background.resume()
        await self.identity.unbar()

    def _revoked(self, key_id: str) -> None:
        self.clients.cut_key(key_id)
        self.sessions.forget_key(key_id)


def _medium(config: Config, secrets: Secrets) -> Medium:
    """The database that is configured. What speaks to PostgreSQL is loaded only where it is."""
    at = stores.database(config.stores.database)
    if isinstance(at, stores.SqliteFile):
        return OnSqlite(at.file)
    from hub.on_postgres import OnPostgres

    return OnPostgres(at.address, secrets, alone=not stores.several(config.stores), wait=config.stores.wait)


def _commons(config: Config) -> Commons:
    """What processes that serve together share. What speaks to Redis is loaded only where there may be several."""
    if not stores.several(config.stores):
        return OnMemory()
    from hub.on_redis import OnRedis

    return OnRedis(config.stores.redis)


def _surface() -> str:
    """The OpenAPI document. Nothing of it is loaded before somebody asks."""
    from hub.surface import written

    return written()


def _text(secret: Any) -> str | None:
    return None if secret is None else secret.value


def _summary(door: Door) -> dict[str, Any]:
    view = door.view
    counts = {"tools": len(view.tools), "prompts": len(view.prompts), "resources": len(view.resources), "templates": len(view.templates)}
    return {"org": view.org, "shared": view.shared, "revision": view.revision, "absent": list(view.absent), **counts}
