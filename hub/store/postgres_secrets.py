"""That all hubs of one database have the same key material: with another master key one would refuse the keys the other has made, with
another log key both would sign one log, and no verifier could tell who is right.

The first to come leaves a mark of its secrets: a keyed hash, which says nothing of them.
"""

import hmac

from hub.store.postgres import Postgres
from hub.store.postgres_link import Connection
from hub.store.secrets import Secrets, UnusableSecret


async def agree(postgres: Postgres, secrets: Secrets) -> None:
    """Leave the mark, or compare with the one that is there. Raises `UnusableSecret` where it is of other secrets, `StoreDown`."""
    keys = {"master": secrets.derive("mark"), "log": secrets.log_seed}
    mine = {name: hmac.digest(key, b"mark", "sha256")[:8].hex() for name, key in keys.items()}

    async def compare(connection: Connection) -> list[str]:
        for name, mark in mine.items():
            await connection.execute("INSERT INTO hub_secret (name, mark) VALUES ($1, $2) ON CONFLICT DO NOTHING", name, mark)
        found = {row["name"]: row["mark"] for row in await connection.fetch("SELECT name, mark FROM hub_secret")}
        return [f"secrets.{name}" for name in mine if found[name] != mine[name]]

    if differ := await postgres.write(compare):
        raise UnusableSecret(
            f"not what this database was first used with: {' and '.join(differ)}; give every hub the same from outside, or bring "
            "the folder `secret` back (docs/postgresql.md says what to do where they are lost)"
        )
