"""The pages as text, and what they refer to. It judges nothing."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))

_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_FENCES = re.compile(r"^ *```\w*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_TEST = re.compile(r"\b(tests/[\w/]+\.py)::(\w+)")
_PATH = re.compile(r"`((?:hub|virtual_servers|tests|demo|docs|requirements|scripts)/[\w./-]*|[A-Z][A-Za-z]*\.md|Makefile|pyproject\.toml)`")


def names() -> list[str]:
    return [str(page.relative_to(ROOT)) for page in PAGES]


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def fences(page: str, language: str) -> list[str]:
    """The blocks of one language, in order."""
    return [body for found, body in _FENCE.findall(text(page)) if found == language]


def links(page: str) -> list[str]:
    """Targets of Markdown links that stay in the repository, without their anchors."""
    prose = _FENCE.sub("", text(page))
    return [target for target in _LINK.findall(prose) if not re.match(r"[a-z]+:|#", target)]


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as they are made from their text."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", text(page)), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def tests(page: str) -> list[tuple[str, str]]:
    """(file, test function) of every test a page names."""
    return _TEST.findall(text(page))


def paths(page: str) -> list[str]:
    """Files and folders of the repository a page names in backticks."""
    return _PATH.findall(_FENCE.sub("", text(page)))


def invocations(page: str) -> list[list[str]]:
    """The words of every `hub …` command line a page shows, in blocks and in the text."""
    shown = re.findall(r"^ *(?:\$ )?(?:export \w+=\$\()?(hub [a-z].*)$", "\n".join(_FENCES.findall(text(page))), re.MULTILINE)
    shown += re.findall(r"`(hub [a-z][^`]*)`", _FENCE.sub("", text(page)))
    lines = [part.strip() for line in shown for part in re.split(r"&&|  #|\$\(|[|>)]", line)]
    return [line.split() for line in lines if line.startswith("hub ")]


def rows(page: str) -> list[list[str]]:
    """The cells of every table row, without the backticks."""
    lines = [line for line in _FENCE.sub("", text(page)).splitlines() if line.startswith("|")]
    return [[cell.strip().strip("`") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
