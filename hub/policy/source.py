"""What a policy set is made of, as canonical bytes: its texts, the types of the targets, the doors. It compiles and judges nothing.

The bytes of a `Source` are the snapshot that a record's `policy_set` is the hash of: enough to decide again what was decided then.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from hub.call import Kind, Target
from hub.config.callers import Policies, PolicySpec
from hub.config.mcp import VirtualServerSpec
from hub.config.model import Config
from hub.config.models import ModelSpec, ProviderSpec
from hub.policy.cedar import traits
from hub.policy.shapes import EMPTY, Shape, of_schema


class PolicyInvalid(Exception):
    """Policies that cannot be used. `messages` has one sentence for each thing that is wrong, naming the set or the policy."""

    def __init__(self, messages: Sequence[str]) -> None:
        super().__init__("\n".join(messages))
        self.messages = tuple(messages)


class ToolType(Struct, frozen=True):
    """A tool, prompt or resource as policies see it.

    `schema`: for a tool its JSON input schema, for a prompt MCP's `arguments` array or a JSON schema, None where there is none.
    `annotations`: MCP's tool annotations, those of the operator included.
    """

    target: Target
    schema: bytes | None = None
    annotations: dict[str, Any] = {}


class SetText(Struct, frozen=True):
    """One set as the operator wrote it. `org` is whose calls it judges, `*` is all."""

    name: str
    org: str
    cedar: str


class TargetType(Struct, frozen=True, omit_defaults=True):
    """A tool or prompt with what policies may read of it."""

    upstream: str
    kind: Kind
    name: str
    args: Shape = EMPTY
    traits: dict[str, bool] = {}

    @property
    def target(self) -> Target:
        return Target(self.upstream, self.kind, self.name)


class Source(Struct, frozen=True):
    """Everything that decides. `doors` are the virtual servers with their organisations, `awaited` upstreams without a tool or prompt;
    `models` and `providers` are the aliases of models and their providers, with their organisations."""

    v: Literal[1]
    default: Literal["grants", "deny"]
    sets: tuple[SetText, ...]
    targets: tuple[TargetType, ...]
    doors: dict[str, str]
    awaited: tuple[str, ...] = ()
    models: dict[str, str] = {}
    providers: dict[str, str] = {}

    def encode(self) -> bytes:
        """Canonical JSON: keys sorted, targets in order."""
        return msgspec.json.encode(self, order="sorted")


def decode(snapshot: bytes) -> Source:
    """The source in a snapshot. Raises `PolicyInvalid` where the bytes are none."""
    try:
        return msgspec.json.decode(snapshot, type=Source)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PolicyInvalid([f"these bytes are no policy snapshot: {error}"]) from None


class Places(Struct, frozen=True):
    """What is declared beside policies, by name, each with its organisation."""

    virtual_servers: Mapping[str, str] = {}
    models: Mapping[str, str] = {}
    providers: Mapping[str, str] = {}

    @staticmethod
    def of(config: Config) -> "Places":
        return Places(_owners(config.virtual_servers), _owners(config.models), _owners(config.providers))


def _owners(declared: Mapping[str, VirtualServerSpec | ModelSpec | ProviderSpec]) -> dict[str, str]:
    return {name: spec.org for name, spec in declared.items()}


def collect(policies: Policies, base: Path, targets: Iterable[ToolType], places: Places, awaited: Iterable[str]) -> Source:
    """Read the policy files (relative to `base`) and type the targets. Raises `PolicyInvalid`."""
    problems: list[str] = []
    sets = [SetText(name, spec.org, _text(name, spec, base, problems)) for name, spec in sorted(policies.sets.items())]
    if problems:
        raise PolicyInvalid(problems)
    items = {item.target: item for item in targets}
    typed = [item for item in items.values() if item.target.kind != "resource"]
    ordered = sorted(typed, key=lambda item: (item.target.upstream, item.target.kind, item.target.name))
    silent = {*awaited, *(target.upstream for target in items)} - {item.target.upstream for item in typed}
    doors, models, providers = dict(places.virtual_servers), dict(places.models), dict(places.providers)
    return Source(1, policies.default, tuple(sets), tuple(map(_typed, ordered)), doors, tuple(sorted(silent)), models, providers)


def _typed(item: ToolType) -> TargetType:
    target = item.target
    hints = traits(item.annotations) if target.kind == "tool" else {}
    return TargetType(target.upstream, target.kind, target.name, of_schema(item.schema), hints)


def _text(name: str, spec: PolicySpec, base: Path, problems: list[str]) -> str:
    if bool(spec.cedar) == bool(spec.file):
        problems.append(f"policy set {name}: give either `cedar` or `file`")
        return ""
    if spec.cedar:
        return spec.cedar
    try:
        return (base / spec.file).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        problems.append(f"policy set {name}: {spec.file} is not UTF-8 text")
    except OSError as error:
        problems.append(f"policy set {name}: {spec.file} cannot be read: {error.strerror}")
    return ""


_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n]*|;', re.DOTALL)


def statements(cedar: str) -> list[tuple[int, str]]:
    """(line, text) of each policy of a Cedar text, comments before it included. A policy ends with `;` outside strings and comments."""
    found: list[tuple[int, str]] = []
    start = 0
    for token in _TOKEN.finditer(cedar):
        if token.group() == ";":
            found.append(_statement(cedar, start, token.end()))
            start = token.end()
    rest = cedar[start:]
    if re.sub(r"//[^\n]*", "", rest).strip():
        found.append(_statement(cedar, start, len(cedar)))
    return found


def _statement(cedar: str, start: int, end: int) -> tuple[int, str]:
    text = cedar[start:end]
    return cedar.count("\n", 0, start + len(text) - len(text.lstrip())) + 1, text.strip()
