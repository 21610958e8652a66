"""What keys may be and belong to: the master key, grants that name what there is, teams, projects, applications and users."""

import re
from collections.abc import Iterable, Iterator, Mapping

from hub.config.belonging import units_of
from hub.config.callers import KeySpec
from hub.config.checked import Checked, Fault
from hub.config.model import MASTER
from hub.config.problem import Keys, suggestion
from hub.config.units import UnitSpec

KEY_FORMAT = re.compile(r"hub_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}")
_SECRET_AT = slice(len("hub_") + 12 + 1, -6)
_LEAST = 16
"""Different digits among the 43 of a secret: of a minted one there are about 31, and fewer than this once in 10^13."""

UNITS = ("users", "apps", "teams", "projects")

_GLOB = frozenset("*?[")


def master(checked: Checked) -> Iterator[Fault]:
    """The one secret that owns the hub: nothing that a person made up will do."""
    master = checked.config.master_key
    if master is None or not master.value:  # one at fault already
        return
    if not KEY_FORMAT.fullmatch(master.value):
        yield ("master_key",), "its value is not a key: take one that `hub keys mint` prints, not a word of your own"
    elif len(set(master.value[_SECRET_AT])) < _LEAST:
        yield ("master_key",), "its value can be guessed: take one that `hub keys mint` prints"
    for index, key in enumerate(checked.config.keys):
        if key.name == MASTER:
            yield ("keys", index, "name"), f"the name `{MASTER}` is that of `master_key`"
        if key.secret.value == master.value:
            yield ("keys", index, "secret"), "it is the master key: each key has a secret of its own"


def belonging(checked: Checked) -> Iterator[Fault]:
    """Keys belong to what is declared, projects to teams of their organisation; ceilings open something."""
    declared = units_of(checked.config)
    for index, key in enumerate(checked.config.keys):
        for kind, sentence in declared.faults(key):
            yield ("keys", index, kind), sentence
    for name, project in checked.config.projects.items():
        if project.team and declared.find("team", project.org, project.team) is None:
            said = f"no team `{project.team}` is declared for organisation `{project.org}`"
            yield ("projects", name, "team"), f"{said}{suggestion(project.team, list(checked.config.teams))}"
    for section in UNITS:
        for name, unit in units(checked, section):
            yield from grants(checked, unit, (section, name))
            if unit.grants and not any(grant.virtual_server or grant.model or grant.agent for grant in unit.grants):
                yield (section, name, "grants"), "nothing could be used at all; to deny only, open everything beside it"


def units(checked: Checked, section: str) -> Iterable[tuple[str, UnitSpec]]:
    found: Mapping[str, UnitSpec] = getattr(checked.config, section)
    return found.items()


def grants(checked: Checked, key: KeySpec | UnitSpec, path: Keys) -> Iterator[Fault]:
    for index, grant in enumerate(key.grants):
        at = (*path, "grants", index)
        if not (grant.virtual_server or grant.model or grant.agent or grant.deny):
            yield at, "it opens nothing; name a `virtual_server`, `model` or `agent`"
        name = grant.virtual_server
        if name and not _GLOB & set(name):
            known = checked.declared("virtual_servers")
            spec = checked.config.virtual_servers.get(name)
            if name not in known:
                yield (*at, "virtual_server"), f"no virtual server `{name}` is declared{suggestion(name, known)}"
            elif spec and spec.org != key.org and not spec.shared:
                yield (*at, "virtual_server"), f"`{name}` belongs to organisation `{spec.org}` and is not shared with `{key.org}`"
        yield from _granted_model(checked, key, grant.model, (*at, "model"))


def _granted_model(checked: Checked, key: KeySpec | UnitSpec, name: str, path: Keys) -> Iterator[Fault]:
    if not name or _GLOB & set(name):
        return
    provider, colon, _ = name.partition(":")
    section, sought = ("providers", provider) if colon else ("models", name)
    known = checked.declared(section)
    spec = checked.config.providers.get(provider) if colon else checked.config.models.get(name)
    if sought not in known:
        yield path, f"no {section.removesuffix('s')} `{sought}` is declared{suggestion(sought, known)}"
    elif spec and spec.org != key.org and not spec.shared:
        yield path, f"`{sought}` belongs to organisation `{spec.org}` and is not shared with `{key.org}`"
