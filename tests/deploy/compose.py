"""docker-compose.yml as Compose reads it: anchors merged, every variable resolved, short forms spelt out. It starts nothing."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.yml"

_VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>[A-Z][A-Z0-9_]*)(?P<default>:-[^{}$]*)?\}|(?P<bad>.?))")
_UNITS = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SECONDS = {"s": 1, "m": 60, "h": 3600}


class Mount(NamedTuple):
    """`source` is a folder of the repository, beginning with `./`, or the name of a volume."""

    source: str
    target: str
    read_only: bool

    @property
    def bound(self) -> bool:
        return self.source.startswith("./")


class _Strict(yaml.SafeLoader):
    """A key that stands twice is a fault. Merged keys (`<<`) may be overridden."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        own = [self.construct_object(key) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        assert len(own) == len(set(own)), f"a key stands twice in {own}"
        return super().construct_mapping(node, deep)


def resolved(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The whole file with these variables set, and no others."""
    return _resolved(yaml.load(FILE.read_text(encoding="utf-8"), _Strict), environ or {})


def variables() -> dict[str, str]:
    """Every variable the file names, with its default."""
    found: dict[str, str] = {}
    for match in _VARIABLE.finditer(re.sub(r"^ *#.*|\s#.*", "", FILE.read_text(encoding="utf-8"), flags=re.MULTILINE)):
        assert match["name"], f"what does {match[0]} mean?"
        assert match["default"] is not None, f"{match['name']} has no default: a plain `up` would not do"
        assert found.setdefault(match["name"], match["default"][2:]) == match["default"][2:], f"{match['name']} has two defaults"
    return found


def mounts(service: Mapping[str, Any]) -> list[Mount]:
    """What a service mounts. Options other than `ro`, `rw` and `z` are a fault."""
    found: list[Mount] = []
    for entry in service.get("volumes", []):
        source, target, *options = entry.split(":")
        given = set(options[0].split(",")) if options else set()
        assert given <= {"ro", "rw", "z"}, entry
        found.append(Mount(source, target, "ro" in given))
    return found


def memory(text: str) -> int:
    """Bytes of `640m`, `1g`, `256MB`."""
    number, unit = re.fullmatch(r"([0-9]+)([bkmg])b?", text.lower()).groups()  # type: ignore[union-attr]
    return int(number) * _UNITS[unit]


def seconds(text: str) -> int:
    """Of `60s`, `1m30s`."""
    assert re.fullmatch(r"([0-9]+[smh])+", text), text
    return sum(int(number) * _SECONDS[unit] for number, unit in re.findall(r"([0-9]+)([smh])", text))


def texts(value: Any) -> list[str]:
    """Every text in a value, keys left out."""
    if isinstance(value, dict):
        return [text for one in value.values() for text in texts(one)]
    if isinstance(value, list):
        return [text for one in value for text in texts(one)]
    return [str(value)]


def _resolved(value: Any, environ: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _resolved(one, environ) for key, one in value.items()}
    if isinstance(value, list):
        return [_resolved(one, environ) for one in value]
    return _VARIABLE.sub(lambda match: _value(match, environ), value) if isinstance(value, str) else value


def _value(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match[0] == "$$":
        return "$"
    assert match["name"], f"what does {match[0]} mean?"
    found = environ.get(match["name"], "") or (match["default"] or "").removeprefix(":-")
    assert found, f"{match['name']} resolves to nothing"
    return found
