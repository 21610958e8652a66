"""Each front with each back, as files a person can read. `python -m tests.llm.matrix` writes them anew; the difference is then read."""

from pathlib import Path

import pytest

from tests.llm.matrix import GOLDEN, files

FILES = list(files())


@pytest.mark.parametrize(("path", "text"), [pytest.param(path, text, id=str(path.relative_to(GOLDEN))) for path, text in FILES])
def test_what_is_carried_is_what_the_golden_file_says(path: Path, text: str) -> None:
    assert path.read_text() == text


def test_no_golden_file_is_left_over() -> None:
    assert {path for path in GOLDEN.rglob("*") if path.is_file()} == {path for path, _ in FILES}
