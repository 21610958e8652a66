"""What is wrong with a configuration, and where. It does not know how it was found."""

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

Keys = tuple[str | int, ...]
"""Where a value stands in the file: keys and list positions from the top."""


class Problem(Struct, frozen=True):
    """One fault. `line` and `column` count from 1 and are 0 where the fault has no place; `path` is dotted: `keys[0].name`."""

    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        place = f"{self.line}:{self.column}: " if self.line else ""
        return f"{place}{self.path}: {self.message}" if self.path else f"{place}{self.message}"


class ConfigError(Exception):
    """The configuration cannot be used. Carries every problem, in the order of the file."""

    def __init__(self, problems: Sequence[Problem], source: Path | None = None) -> None:
        self.problems = sorted(problems, key=lambda problem: (problem.line, problem.column))
        self.source = source
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """Each problem as `file:line:column: path: message`."""
        if self.source is None:
            return [str(problem) for problem in self.problems]
        return [f"{self.source}:{'' if problem.line else ' '}{problem}" for problem in self.problems]


def dotted(keys: Keys) -> str:
    """`("keys", 0, "name")` → `keys[0].name`."""
    text = ""
    for key in keys:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            text += f".{key}" if text else key
    return text


def suggestion(word: str, known: Sequence[str]) -> str:
    """` (did you mean `x`?)`, or nothing where no known word is near."""
    import difflib  # only a faulty file pays for it

    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean `{near[0]}`?" if near else ""
