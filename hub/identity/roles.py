"""Who may do what on the hub's own API: one table of permissions and roles. Pure; it knows no route, no wire and no key's text.

What a key may *call* is a matter of its grants (`hub.grants`), not of its roles. A key without a role is as one with `service`.
"""

from typing import Literal

from msgspec import Struct

from hub.call import Caller
from hub.refusal import Denied

Role = Literal["owner", "admin", "member", "auditor", "service"]
ROLES: tuple[Role, ...] = ("owner", "admin", "member", "auditor", "service")

Permission = Literal[
    "budgets:read",
    "budgets:write",
    "contents:list",
    "contents:read",
    "contents:erase",
    "keys:read",
    "keys:write",
    "metrics:read",
    "prices:read",
    "prices:write",
    "status:read",
    "vault:read",
    "vault:write",
    "vault:rotate",
]

Reach = Literal["", "own", "org"]
"""How far a permission reaches: nowhere, over what belongs to the caller's subject, over all of its organisation."""

OPERATORS = "default"
"""The organisation whose owners and administrators run the hub: what reaches over an organisation reaches over all for them."""

TABLE: dict[Permission, tuple[Reach, Reach, Reach, Reach, Reach]] = {
    #                owner  admin  member auditor service
    "budgets:read": ("org", "org", "", "org", ""),
    "budgets:write": ("org", "org", "", "", ""),
    "contents:list": ("org", "org", "", "org", ""),
    "contents:read": ("", "", "", "org", ""),
    "contents:erase": ("org", "org", "", "", ""),
    "keys:read": ("org", "org", "own", "org", ""),
    "keys:write": ("org", "org", "own", "", ""),
    "metrics:read": ("org", "org", "", "org", ""),
    "prices:read": ("org", "org", "", "org", ""),
    "prices:write": ("org", "org", "", "", ""),
    "status:read": ("org", "org", "", "org", ""),
    "vault:read": ("org", "org", "", "org", ""),
    "vault:write": ("org", "org", "", "", ""),
    "vault:rotate": ("org", "org", "", "", ""),
}

HUB_WIDE: frozenset[Permission] = frozenset({"metrics:read", "prices:read", "prices:write", "status:read", "vault:rotate"})
"""About the whole hub: for keys of `OPERATORS` only."""


class Scope(Struct, frozen=True):
    """What a permission is about for one caller. `org` None: every organisation; `subject` None: whoever's it is."""

    org: str | None
    subject: str | None = None

    def covers(self, org: str, subject: str) -> bool:
        """Whether something of this organisation and subject lies in it."""
        return self.org in (None, org) and self.subject in (None, subject)


def reach(caller: Caller, permission: Permission) -> Reach:
    """The farthest that any of the caller's roles reaches."""
    found = {cell for role, cell in zip(ROLES, TABLE[permission], strict=True) if role in caller.roles}
    if not found or (permission in HUB_WIDE and caller.org != OPERATORS):
        return ""
    return "org" if "org" in found else "own" if "own" in found else ""


def may(caller: Caller, permission: Permission) -> bool:
    """Whether the caller may do this at all, be it with its own things only (`scope`)."""
    return reach(caller, permission) != ""


def scope(caller: Caller, permission: Permission) -> Scope:
    """What the caller may do this with. Raises `Denied` where there is nothing."""
    match reach(caller, permission):
        case "org":
            return Scope(None if caller.org == OPERATORS else caller.org)
        case "own":
            return Scope(caller.org, caller.subject)
        case _:
            raise Denied(why_not(caller, permission), data={"permission": permission})


def why_not(caller: Caller, permission: Permission) -> str:
    """One sentence for a caller who may not."""
    holders = [role for role, cell in zip(ROLES, TABLE[permission], strict=True) if cell]
    if permission in HUB_WIDE and caller.org != OPERATORS and set(holders) & set(caller.roles):
        return f"{permission} needs a key of the organisation {OPERATORS}: it is about the whole hub"
    return f"{permission} needs a key with the role {' or '.join(filter(None, (', '.join(holders[:-1]), holders[-1])))}"
