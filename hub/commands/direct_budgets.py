"""Overrides of budgets in the database, changed by a command: on SQLite of a stopped hub, on PostgreSQL also beside running ones."""

import time
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from hub.audit.deed import Deed
from hub.budget.override_desk import MOST_LISTED, end, named, shown_budgets
from hub.budget.override_desk import give as given
from hub.budget.override_vet import Giver, Wish, told, vetted
from hub.budget.overrides import ALL, Override
from hub.budget.tiers import rules_of
from hub.cli import default_config
from hub.commands.direct import ACTOR, declared_keys, opened, say_so, secrets_of
from hub.commands.output import Failed
from hub.commands.place import connected, located, reading
from hub.config import stores
from hub.config.load import ConfigError, Loaded, load
from hub.identity.admin import Admin
from hub.store.secrets import KEY_PEPPER

_SECTIONS = ("server", "stores", "secrets", "audit", "orgs", "budgets")

_OPERATOR = Giver(None, ACTOR["id"], ACTOR["sub"])


async def give(config: Path | None, budget: str, body: dict[str, Any]) -> dict[str, Any]:
    """As `POST /admin/v1/budgets/{budget}/overrides` answers. Raises `Failed`, `Refusal`."""
    try:
        wish = msgspec.convert(body, Wish)
    except msgspec.ValidationError as error:
        raise Failed(f"this does not fit: {error}", code=2) from None
    loaded = _whole(config)
    rules = rules_of(loaded.config.budgets)
    async with opened(config) as (rooms, journal):
        org = wish.org or "default"
        if wish.who != ALL and org != ALL and any(rule.name == budget and rule.scope == "key" for rule in rules):
            admin = Admin(rooms.keys, secrets_of(loaded).derive(KEY_PEPPER))
            key = await admin.find(org, wish.who, declared=declared_keys(config))
            if key is None:
                raise Failed("no live key of the organisation has this name or id")
            wish = replace(wish, who=key.id)
        one = vetted(rules, budget, wish, _OPERATOR, _now(), loaded.config.orgs)
        async with Deed(journal, ACTOR) as deed:
            change = await given(rooms.overrides, one, deed.begin)
            await deed.done(change.record)
        await say_so(loaded)
    return {"override": change.shown}


async def restore(config: Path | None, name: str) -> dict[str, Any]:
    """As `DELETE /admin/v1/budgets/overrides/{override}` answers. Raises `Failed`, `Refusal`."""
    async with opened(config) as (rooms, journal):
        async with Deed(journal, ACTOR) as deed:
            now = _now()
            one = await named(rooms.overrides, name, _OPERATOR, now)
            change = await end(rooms.overrides, one, _OPERATOR, now, deed.begin)
            await deed.done(change.record)
        await say_so(located(config))
    return {"ended": change.shown}


async def overrides(config: Path | None, org: str | None, *, ended: bool) -> dict[str, Any]:
    """As `GET /admin/v1/budgets/overrides` answers."""
    return {"overrides": [told(one) for one in await _listed(config, org, None if ended else _now())]}


async def budgets(config: Path | None, org: str | None) -> dict[str, Any]:
    """As `GET /admin/v1/budgets` answers."""
    specs = _whole(config).config.budgets
    found = shown_budgets(rules_of(specs), {spec.name: spec for spec in specs}, org, await _listed(config, org, _now()))
    return {"budgets": found}


async def _listed(config: Path | None, org: str | None, since: int | None) -> list[Override]:
    at = stores.database(located(config).config.stores.database)
    if isinstance(at, stores.SqliteFile):
        from hub.budget.override_sqlite import listed

        with reading(at) as connection:
            return listed(connection, org, since, MOST_LISTED)
    from hub.budget.override_postgres import PostgresOverrides

    async with connected(at) as postgres:
        return await PostgresOverrides(postgres).listed(org, since=since, limit=MOST_LISTED)


def _whole(config: Path | None) -> Loaded:
    """The configuration with its budgets. Raises `Failed` where it is at fault."""
    try:
        return load(config or default_config(), only=_SECTIONS)
    except ConfigError as error:
        raise Failed("; ".join(error.lines())) from None


def _now() -> int:
    return time.time_ns() // 1000
