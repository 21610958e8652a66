"""Whose calls a caller may see in the usage ledger. The one place that says so; what is not in sight does not exist."""

from msgspec import Struct

from hub.call import Caller
from hub.identity.roles import OPERATORS

_WIDE = frozenset({"owner", "admin", "auditor"})


class Sight(Struct, frozen=True):
    """Rows of one organisation (None: of all), and of one key (empty: of every key)."""

    org: str | None
    key: str = ""


def sight(caller: Caller) -> Sight:
    """Owners, administrators and auditors see their organisation, those of the hub's operators all; any other key sees its own calls."""
    if _WIDE.isdisjoint(caller.roles):
        return Sight(caller.org, caller.key_id)
    return Sight(None if caller.org == OPERATORS else caller.org)
