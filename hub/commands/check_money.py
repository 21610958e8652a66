"""What `hub check` says of money and keys beyond the file: deployments without a price, names that the vault does not have."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from hub.budget.price_book import PriceBook
from hub.commands.output import Failed
from hub.commands.place import connected, database, reading
from hub.commands.prices_read import priced
from hub.config import stores
from hub.config.model import Config
from hub.config.values import KeptSecret
from hub.refusal import StoreDown


def unpriced(file: Path, config: Config, *, connect: bool) -> Iterator[str]:
    """Deployments that nobody knows the price of: by the table in force where the store may be looked at, else by this version's own."""
    book = PriceBook(config.prices, priced(file).table if _seen(config, connect=connect) else None)
    counted = " and budgets in money refuse it" if any(spec.usd is not None for spec in config.budgets) else ""
    told: set[tuple[str, str]] = set()
    for name, model in config.models.items():
        for one in chain(model.route, *(rule.route for rule in model.rules)):
            spec = config.providers.get(one.provider)
            if spec is None or (one.provider, one.model) in told:
                continue
            told.add((one.provider, one.model))
            kind = book.kind(one.provider, spec.like, spec.base_url)
            if book.find(one.provider, kind, one.model, org=model.org) is None:
                yield f"models.{name}: nobody knows the price of {one.provider}:{one.model}: what its calls cost is unknown{counted}"


async def unkept(file: Path, config: Config, *, connect: bool) -> list[str]:
    """Providers whose key is to be in the vault, and is not; nothing where the store may not be looked at."""
    wanted = [
        (name, spec.org, spec.api_key.vault)
        for name, spec in config.providers.items()
        if isinstance(spec.api_key, KeptSecret) and spec.api_key.vault
    ]
    if not wanted or not _seen(config, connect=connect):
        return []
    try:
        kept = await _kept(file)
    except (Failed, StoreDown):  # there is no database yet, or one of another version: nothing is known of it
        return []
    return [
        f"providers.{name}.api_key: the vault has no {secret!r} of {org}: hub vault set {secret}"
        for name, org, secret in wanted
        if (org, secret) not in kept
    ]


async def _kept(file: Path) -> set[tuple[str, str]]:
    """(organisation, name) of each secret."""
    at = database(file)
    if isinstance(at, stores.SqliteFile):
        from hub.routing.vault_sqlite import all_rows

        with reading(at) as connection:
            if not connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'vault_secret'").fetchone()[0]:
                return set()
            rows = all_rows(connection)[1]
    else:
        from hub.routing.vault_postgres import PostgresVault

        async with connected(at) as postgres:
            rows = (await PostgresVault(postgres).all())[1]
    return {(row.org, row.name) for row in rows}


def _seen(config: Config, *, connect: bool) -> bool:
    """Whether the store may be looked at: a file beside us, or, where it was asked for, a server."""
    return connect or isinstance(stores.database(config.stores.database), stores.SqliteFile)
