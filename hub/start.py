"""Bringing a hub up, in whichever process it serves: alone (`hub.alone`), or one of several (`hub.processes.worker`)."""

import gc
import logging
import sqlite3

from hub.app import Hub
from hub.config.load import Loaded, state_folder
from hub.policy.decide import PolicyInvalid
from hub.refusal import Refusal
from hub.store.base import LaterVersion, Locked
from hub.telemetry.logs import fields
from hub.welcome import Welcome

log = logging.getLogger("hub")

_COLLECT = (10_000, 20, 20)
"""Containers made beyond those freed until a collection: a call under way holds some hundred, which its end frees without one."""


def made(loaded: Loaded) -> Hub | None:
    """A hub that has not started; None where that cannot be, which is logged."""
    try:
        return Hub(loaded)
    except (OSError, ValueError) as error:  # the latter of a secret that cannot be used, whose sentence is safe to show
        log.error("the hub cannot start", extra=fields(reason=str(error)))
        return None


def welcome(hub: Hub, url: str) -> Welcome:
    """What is said at the start, and the first keys."""
    config = hub.loaded.config
    return Welcome(hub.identity, hub.journal, url, state_folder(config), list(config.virtual_servers), owned=config.master_key is not None)


async def brought_up(hub: Hub, greeting: Welcome | None) -> bool:
    """Start it, and say so. False where it cannot start: that is logged, and what had started is stopped."""
    try:
        await hub.start()
        if greeting is not None:
            await greeting.show()
    except (LaterVersion, Locked, PolicyInvalid, Refusal, ValueError, OSError, sqlite3.Error) as error:
        log.error("the hub cannot start", extra=fields(reason=str(error), detail=getattr(error, "detail", "")))
        await hub.stop()
        return False
    hub.edge.more = hub.more
    return True


def settled_down() -> None:
    """What was loaded stays: it is not to be walked again by every collection."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT)
