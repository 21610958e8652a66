"""The product of the translation matrix cell by cell: each front, each back, each thing that is carried, and the golden files that show it.

`python -m tests.llm.matrix` writes it as tests/llm/golden/README.md.
"""

from collections.abc import Iterator
from typing import NamedTuple

from tests.llm.answers import ERRORS

FRONTS = ("chat", "responses", "messages")
BACKS = {"OpenAI": ("chat", "responses"), "Anthropic": ("messages",)}
CARRIED: dict[str, tuple[str, ...]] = {
    "text": ("text.request.json", "text.reply.json"),
    "tools": ("tools.request.json", "tools.reply.json"),
    "parallel tools": ("parallel.request.json", "parallel.reply.json"),
    "images": ("images.request.json",),
    "reasoning": ("reasoning.request.json", "reasoning.reply.json"),
    "JSON schema": ("schema.request.json", "schema.reply.json"),
    "refusal": ("refusal.request.json", "refusal.reply.json"),
    "stop reasons": ("text.reply.json", "tools.reply.json", "length.reply.json", "filter.reply.json", "refusal.reply.json"),
    "limits and hints": ("limits.request.json",),
    "usage": ("usage.reply.json",),
    "errors": ("broken.sse",),
    "stream": tuple(f"{case}.sse" for case in ("text", "tools", "parallel", "reasoning", "schema", "refusal", "length", "filter", "usage")),
}
"""What is carried, and the files of one pair of dialects that show it. Errors have files of their own besides, one for each of a family."""

_INTRO = """\
# The translation matrix

Every front with every back, and the file that shows what becomes of each thing on the way. A `.request.json` holds what the client said and
what the provider is told, a `.reply.json` both sides of a whole answer, a `.sse` the exact bytes of the stream the client gets; files under
`errors` hold a provider's error and what each front is told. `python -m tests.llm.matrix` writes this folder, and `tests/llm/test_golden.py`
fails where a cell has no file, or a file no cell.\
"""


class Cell(NamedTuple):
    """`files` are paths in the golden folder."""

    front: str
    back: str
    family: str
    carried: str
    files: tuple[str, ...]


def cells() -> Iterator[Cell]:
    for front in FRONTS:
        for family, backs in BACKS.items():
            for back in backs:
                for carried, names in CARRIED.items():
                    files = tuple(f"{front}-on-{back}/{name}" for name in names)
                    if carried == "errors":
                        files += tuple(f"errors/{family.lower()}-{case}.json" for case in ERRORS[family.lower()])
                    yield Cell(front, back, family, carried, files)


def text() -> str:
    lines = [_INTRO]
    for front in FRONTS:
        pairs = [(family, back) for family, backs in BACKS.items() for back in backs]
        lines += ["", f"## Clients that speak {front}", ""]
        lines += ["| | " + " | ".join(f"{family}'s {back}" for family, back in pairs) + " |", "|---" * (len(pairs) + 1) + "|"]
        for carried in CARRIED:
            row = [cell for cell in cells() if cell.front == front and cell.carried == carried]
            lines.append(f"| {carried} | " + " | ".join(_links(cell) for cell in row) + " |")
    return "\n".join(lines) + "\n"


def _links(cell: Cell) -> str:
    return ", ".join(f"[{file.partition('/')[2]}]({file})" for file in cell.files)
