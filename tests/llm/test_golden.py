"""Each front with each back, as files a person can read. `python -m tests.llm.matrix` writes them anew; the difference is then read."""

from pathlib import Path

import pytest

from tests.llm.matrix import GOLDEN, files
from tests.llm.table import BACKS, CARRIED, FRONTS, cells

FILES = list(files())


@pytest.mark.parametrize(("path", "text"), [pytest.param(path, text, id=str(path.relative_to(GOLDEN))) for path, text in FILES])
def test_what_is_carried_is_what_the_golden_file_says(path: Path, text: str) -> None:
    assert path.read_text() == text


def test_no_golden_file_is_left_over() -> None:
    assert {path for path in GOLDEN.rglob("*") if path.is_file()} == {path for path, _ in FILES}


def test_every_cell_of_the_product_has_its_file_and_every_file_its_cell() -> None:
    product = list(cells())
    assert len(product) == len(FRONTS) * sum(map(len, BACKS.values())) * len(CARRIED)
    for cell in product:
        assert cell.files, cell
        missing = [file for file in cell.files if not (GOLDEN / file).is_file()]
        assert missing == [], cell
    shown = {file for cell in product for file in cell.files}
    assert {str(path.relative_to(GOLDEN)) for path, _ in FILES} - shown == {"README.md"}
