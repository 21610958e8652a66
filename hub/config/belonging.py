"""Which users, applications, teams and projects a key belongs to, and whether it may: pure, and the same for declared and stored keys."""

from collections.abc import Iterator, Mapping
from typing import Literal, Protocol

from msgspec import Struct

from hub.config.model import Config
from hub.config.problem import suggestion
from hub.config.units import ProjectSpec, UnitSpec

Kind = Literal["user", "app", "team", "project"]
KINDS: tuple[Kind, ...] = ("user", "app", "team", "project")


class Belongs(Protocol):
    """What is looked at of a key, however it is kept."""

    @property
    def org(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def user(self) -> str: ...
    @property
    def app(self) -> str: ...
    @property
    def team(self) -> str: ...
    @property
    def project(self) -> str: ...


class Units(Struct, frozen=True):
    """All that are declared, by name."""

    user: Mapping[str, UnitSpec] = {}
    app: Mapping[str, UnitSpec] = {}
    team: Mapping[str, UnitSpec] = {}
    project: Mapping[str, ProjectSpec] = {}

    def __bool__(self) -> bool:
        return bool(self.user or self.app or self.team or self.project)

    def closed(self, kind: Kind, org: str) -> bool:
        """Whether an organisation declares any of a kind, so that its keys may name no other."""
        return any(spec.org == org for spec in self._all(kind).values())

    def find(self, kind: Kind, org: str, name: str) -> UnitSpec | None:
        """The one of this name, if it is this organisation's."""
        spec = self._all(kind).get(name)
        return spec if spec is not None and spec.org == org else None

    def team_of(self, key: Belongs) -> str:
        """The key's team: its own, or that of its project."""
        project = self.find("project", key.org, key.project)
        return key.team or (project.team if isinstance(project, ProjectSpec) else "")

    def named(self, key: Belongs) -> dict[Kind, str]:
        """What a key belongs to. A user or application that nobody named is the subject, where that is one."""
        of, _, who = key.subject.partition(":")
        named: dict[Kind, str] = {
            "user": key.user or (who if of == "user" else ""),
            "app": key.app or (who if of == "app" else ""),
            "team": self.team_of(key),
            "project": key.project,
        }
        return {kind: name for kind, name in named.items() if name}

    def faults(self, key: Belongs) -> Iterator[tuple[Kind, str]]:
        """What a key names that it may not, each with a sentence."""
        for kind, name in self.named(key).items():
            if self.closed(kind, key.org) and self.find(kind, key.org, name) is None:
                known = [one for one, spec in self._all(kind).items() if spec.org == key.org]
                yield kind, f"no {kind} `{name}` is declared for organisation `{key.org}`{suggestion(name, known)}"
        project = self.find("project", key.org, key.project)
        if isinstance(project, ProjectSpec) and project.team and key.team not in ("", project.team):
            yield "team", f"the project `{key.project}` belongs to team `{project.team}`"

    def _all(self, kind: Kind) -> Mapping[str, UnitSpec]:
        return getattr(self, kind)


def units_of(config: Config) -> Units:
    """What a configuration declares."""
    return Units(config.users, config.apps, config.teams, config.projects)
