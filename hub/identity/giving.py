"""Nobody gives more than he has: which keys a caller may make, and which he may end. Pure; it knows no store and no wire.

Owners and administrators have all of their organisation (those of `default` all of the hub), but that an owner's key is an owner's
matter. A member has his own keys: those he makes stand for him, spend the same money, open no more and last no longer than the one he
makes them with.
"""

import msgspec
from msgspec import Struct

from hub.call import Caller, Grant
from hub.grants import within
from hub.identity.entry import KeyInfo, moment
from hub.identity.roles import Scope, scope
from hub.refusal import Denied, NotFound

_LIKE_ME = ("user", "app", "team", "project")
_MEMBERS = frozenset({"member", "service"})
"""Roles that a member may give."""


class Wanted(Struct, frozen=True, forbid_unknown_fields=True):
    """A key to be made: the body of `POST /admin/v1/keys`."""

    name: str
    org: str = ""
    subject: str = ""
    grants: tuple[Grant, ...] = ()
    roles: tuple[str, ...] = ()
    expires: str = ""
    user: str = ""
    app: str = ""
    team: str = ""
    project: str = ""


def given(caller: Caller, key: KeyInfo, wanted: Wanted) -> Wanted:
    """The key that is made where `caller` wants this one; `key` is the one he asks with.

    What was left open is filled in. Raises `Denied` where he may not give it, `ValueError` where its expiry is no time.
    """
    mine = scope(caller, "keys:write")
    wanted = msgspec.structs.replace(wanted, org=wanted.org or caller.org)
    if not mine.covers(wanted.org, mine.subject or ""):
        raise Denied("this key administers its own organisation only")
    if "owner" in wanted.roles and "owner" not in caller.roles:
        raise Denied("an owner's key is made by an owner")
    return wanted if mine.subject is None else _own(caller, key, wanted)


def ended(caller: Caller, mine: Scope, key: KeyInfo | None) -> KeyInfo:
    """The key `caller` may end. Raises `NotFound` where he cannot see it, `Denied` where he may not."""
    if key is None or not mine.covers(key.org, key.subject):
        raise NotFound("no live key has this name or id")
    if "owner" in key.roles and "owner" not in caller.roles:
        raise Denied("an owner's key is revoked by an owner")
    return key


def _own(caller: Caller, key: KeyInfo, wanted: Wanted) -> Wanted:
    """A member's key for himself."""
    if wanted.subject not in ("", caller.subject):
        raise Denied("a member makes keys for himself only")
    if not _MEMBERS.issuperset(wanted.roles):
        raise Denied("a member may give the roles member and service")
    if any(getattr(wanted, name) not in ("", getattr(caller, name)) for name in _LIKE_ME):
        raise Denied("a member's keys spend the money that his own does")
    if not within(wanted.grants, caller.grants):
        raise Denied("this would open more than the key it is asked with")
    expires = wanted.expires or key.expires
    if moment(expires) > moment(key.expires):
        raise Denied(f"this would last longer than the key it is asked with ({key.expires})")
    grants, like_me = _denying(wanted.grants, caller.grants), {name: getattr(key, name) for name in _LIKE_ME}
    return msgspec.structs.replace(wanted, subject=caller.subject, grants=grants, expires=expires, **like_me)


def _denying(grants: tuple[Grant, ...], mine: tuple[Grant, ...]) -> tuple[Grant, ...]:
    """What is denied to him is denied to the key he makes."""
    lacking = tuple(dict.fromkeys(one for grant in mine for one in grant.deny))
    if not grants or not lacking:
        return grants
    first = grants[0]
    return (msgspec.structs.replace(first, deny=tuple(dict.fromkeys((*first.deny, *lacking)))), *grants[1:])
