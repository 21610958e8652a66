"""The Dockerfile as instructions by stage, and what .dockerignore lets through. It builds nothing."""

import json
import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "Dockerfile"

_KNOWN = {"ARG", "FROM", "ENV", "WORKDIR", "COPY", "RUN", "LABEL", "USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"}


class Instruction(NamedTuple):
    """`COPY --from=build a b` has the word `COPY` and the rest as its text."""

    word: str
    text: str

    @property
    def options(self) -> dict[str, str]:
        return dict(re.findall(r"^--([a-z-]+)=(\S+)", self.text)) | dict(re.findall(r"(?<=\s)--([a-z-]+)=(\S+)", self._flags))

    @property
    def words(self) -> list[str]:
        """Without options: as the list they are, or parted at spaces."""
        rest = self.text[len(self._flags) :].strip()
        return json.loads(rest) if rest.startswith("[") else rest.split()

    @property
    def _flags(self) -> str:
        found = re.match(r"(?:--\S+\s+)*", self.text)
        return found[0] if found else ""


class Stage(NamedTuple):
    name: str
    image: str
    instructions: list[Instruction]

    def all(self, word: str) -> list[Instruction]:
        return [one for one in self.instructions if one.word == word]

    def last(self, word: str) -> Instruction:
        return self.all(word)[-1]


def stages(arguments: dict[str, str] | None = None) -> list[Stage]:
    """The stages in order, with the arguments that stand before the first resolved."""
    given: dict[str, str] = {}
    found: list[Stage] = []
    for word, text in _instructions():
        assert word in _KNOWN, f"{word} has no place here"
        if word == "FROM":
            image, _, name = text.partition(" AS ")
            found.append(Stage(name, re.sub(r"\$\{(\w+)\}", lambda match: given[match[1]], image), []))
        elif not found:
            assert word == "ARG", f"{word} before the first stage"
            name, _, default = text.partition("=")
            given[name] = (arguments or {}).get(name, default)
        else:
            found[-1].instructions.append(Instruction(word, text))
    return found


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps a path of the repository from the builder: of the rules that fit, the last one counts."""
    out = False
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        rule = line.strip()
        if rule and not rule.startswith("#") and _fits(rule.removeprefix("!"), path):
            out = not rule.startswith("!")
    return out


def context() -> list[Path]:
    """The files of the repository that the builder sees, of those that a stage copies."""
    wanted = [source for stage in stages() for copy in stage.all("COPY") if "from" not in copy.options for source in copy.words[:-1]]
    files = [file for source in wanted for file in ([ROOT / source] if (ROOT / source).is_file() else sorted((ROOT / source).rglob("*")))]
    return [file for file in files if file.is_file() and not ignored(str(file.relative_to(ROOT)))]


def _instructions() -> list[tuple[str, str]]:
    lines = [line for line in FILE.read_text(encoding="utf-8").splitlines() if not re.match(r"\s*#", line)]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    return [(word, text.strip()) for word, _, text in (line.partition(" ") for line in joined.splitlines() if line.strip())]


def _fits(rule: str, path: str) -> bool:
    """As Go's `filepath.Match`, with `**`; a rule that fits a folder fits what is in it."""
    pattern = re.escape(rule).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
    return re.fullmatch(f"{pattern}(?:/.*)?", path) is not None
