"""Whom the Sentinels call the master of a set. It asks them one after the other, first the one that answered last.

Source: https://redis.io/docs/latest/develop/reference/sentinel-clients/. That the server agrees is checked when it is greeted.
"""

import ssl
from typing import Any, cast

from hub.config.redis_url import Address, Site
from hub.refusal import StoreDown
from hub.store.redis_dial import ask
from hub.store.redis_link import down


class Sentinels:
    """The Sentinels of one set; `site.seeds` are their addresses."""

    def __init__(self, site: Site, trust: ssl.SSLContext | None, patience: float) -> None:
        self._site, self._trust, self._patience = site, trust, patience
        self._known = list(site.seeds)

    async def master(self) -> Address:
        """Its address. Raises `StoreDown` where no Sentinel answers or none knows the set."""
        error = down("no Sentinel answers")
        for address in tuple(self._known):
            try:
                return await self._ask(address)
            except StoreDown as one:
                error = one
            self._known.append(self._known.pop(0))
        raise error

    async def _ask(self, address: Address) -> Address:
        question = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._site.service)
        reply = await ask(address, self._site.sentinel_login, self._trust, self._patience, *question)
        if reply is None:
            raise down("a Sentinel does not know the service")
        parts = cast(list[Any], reply) if isinstance(reply, list) else []
        if len(parts) != 2 or not all(isinstance(part, bytes) for part in parts) or not parts[1].isdigit():
            raise down("the answer of a Sentinel cannot be read")
        return parts[0].decode(errors="replace"), int(parts[1])
