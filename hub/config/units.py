"""Sections of who keys stand for and spend for: teams, projects, applications, users."""

from typing import Annotated

from msgspec import Meta

from hub.config.callers import GrantSpec
from hub.config.values import Owner, Part

UnitName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.@-]{1,128}$", description="Letters, digits, `_`, `.`, `@` and `-`.")]

_CEILING = "The most that its keys may use, whatever their own grants; unset: no bound. What it denies is denied."


class UnitSpec(Part, frozen=True):
    """A team, an application or a user. Where an organisation declares any of a kind, its keys may name declared ones only."""

    org: Owner = "default"
    title: Annotated[str, Meta(description="Name for people.")] = ""
    grants: Annotated[tuple[GrantSpec, ...], Meta(description=_CEILING)] = ()


class ProjectSpec(UnitSpec, frozen=True):
    """A project. A key of a project that belongs to a team is that team's as well."""

    team: Annotated[str, Meta(description="Team it belongs to.")] = ""
