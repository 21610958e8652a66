"""A file as a `Config`, with all that is wrong with it. It reads the file, the environment and `${file:…}` files, and starts nothing."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from msgspec import Struct, structs

from hub.config import rules, stores
from hub.config.canonical import digest
from hub.config.convert import convert
from hub.config.model import Config
from hub.config.problem import ConfigError, Problem
from hub.config.tree import MAX_BYTES, Node, Unreadable, parse

__all__ = ["ConfigError", "Loaded", "Problem", "load", "secret_folder", "state_folder"]


class Loaded(Struct, frozen=True):
    """A usable configuration.

    `hash` is `sha256:…` of its canonical content, in which secrets stand as the references they came from: it does not change when
    only a secret's value does, while `config` then compares unequal. `base` is the folder that relative policy and secret files count from.
    Policy files have been read into `config`; `files` names them.
    """

    config: Config
    hash: str
    source: Path | None
    base: Path
    warnings: tuple[Problem, ...] = ()
    files: tuple[Path, ...] = ()


def load(path: Path | None, *, environ: Mapping[str, str] | None = None, only: Collection[str] | None = None) -> Loaded:
    """Read `path`; None is the embedded defaults. Raises `ConfigError` with every problem.

    `only` names the top-level sections to look at, for commands that must work where the rest cannot be resolved.
    """
    variables = os.environ if environ is None else environ
    base = Path.cwd() if path is None else path.resolve().parent
    problems: list[Problem] = []
    root = None if path is None else _parsed(path, problems)
    if root is not None and only is not None:
        root.entries = [entry for entry in root.entries if entry[0].text in only]
    made = convert(root, Config, variables, base)
    problems += made.problems
    problems += rules.problems(made.value, made.places, base)
    if problems:
        raise ConfigError(problems, path)
    warnings = tuple(rules.warnings(made.value, made.places, base))
    config, files = _with_policies(made.value, base, path)
    return Loaded(config, digest(config, made.places), path, base, warnings, files)


def _with_policies(config: Config, base: Path, source: Path | None) -> tuple[Config, tuple[Path, ...]]:
    """The configuration with the text of its policy files in place of their names, so that one hash covers both, and those files."""
    files, problems, sets = list[Path](), list[Problem](), dict(config.policies.sets)
    for name, spec in config.policies.sets.items():
        if not spec.file:
            continue
        files.append(base / spec.file)
        try:
            sets[name] = structs.replace(spec, cedar=files[-1].read_text(encoding="utf-8"), file="")
        except UnicodeDecodeError:
            problems.append(Problem(0, 0, f"policies.sets.{name}.file", f"{spec.file} is not UTF-8 text"))
        except OSError as error:
            problems.append(Problem(0, 0, f"policies.sets.{name}.file", f"{spec.file} cannot be read: {error.strerror}"))
    if problems:
        raise ConfigError(problems, source)
    return structs.replace(config, policies=structs.replace(config.policies, sets=sets)), tuple(files)


def state_folder(config: Config) -> Path:
    """Where this machine keeps what is not in the database: beside the SQLite file, otherwise `.hub` in the working directory."""
    found = stores.database(config.stores.database)
    return found.file.parent if isinstance(found, stores.SqliteFile) else Path(".hub")


def secret_folder(config: Config) -> Path:
    """Where key material is kept that is not given from outside."""
    return state_folder(config) / "secret"


def _parsed(path: Path, problems: list[Problem]) -> Node | None:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise Unreadable(f"larger than {MAX_BYTES} bytes")
        return parse(content.decode("utf-8-sig"), problems)
    except OSError as error:
        raise ConfigError([Problem(0, 0, "", f"it cannot be read: {error.strerror}")], path) from None
    except UnicodeDecodeError:
        raise ConfigError([Problem(0, 0, "", "not UTF-8 text")], path) from None
    except Unreadable as error:
        raise ConfigError([*problems, error.problem], path) from None
