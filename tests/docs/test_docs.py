"""The pages say what the code does: codes, metrics, commands, tests, files, links and YAML are held against it."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import yaml

from hub import refusal
from hub.call import Tokens, Usage
from hub.config.load import load
from hub.identity.keys import mint
from hub.telemetry.exporter import Tally
from hub.telemetry.metrics import Metrics
from tests.docs import cli_reference, pages
from tests.docs.pages import ROOT

EVIDENCE = ["docs/failures.md", "docs/threat-model.md"]


def refusals() -> list[type[refusal.Refusal]]:
    """Every refusal there is, branches of the family included."""

    def family(kind: type[refusal.Refusal]) -> list[type[refusal.Refusal]]:
        found = [kind]
        for child in kind.__subclasses__():
            if child.__module__ == refusal.__name__:
                found += family(child)
        return found

    return family(refusal.Refusal)


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.code) for kind in refusals()])
def test_every_refusal_stands_in_the_table_of_errors_with_its_numbers(kind: type[refusal.Refusal]) -> None:
    if kind in (refusal.Refusal, refusal.Malformed, refusal.Unavailable):
        assert f"`{kind.code}` ({kind.status}, {kind.rpc})" in " ".join(pages.text("docs/errors.md").split())
        return
    (row,) = [row for row in pages.rows("docs/errors.md") if row[0] == kind.code]
    assert (row[1].split(" ")[0], row[2]) == (str(kind.status), str(kind.rpc))
    assert len(row) == 6
    assert all(row)


def test_the_table_of_errors_has_no_code_that_does_not_exist() -> None:
    codes = {kind.code for kind in refusals()}
    said = {row[0] for row in pages.rows("docs/errors.md") if len(row) == 6 and re.fullmatch(r"[a-z_]+", row[0])}
    assert said <= codes


def test_every_metric_stands_in_operations_with_its_type_and_labels_and_no_other_does() -> None:
    metrics = Metrics()
    metrics.upstreams = lambda: [("name", "ready", False)]
    metrics.configs = lambda: {"hash": 1}
    metrics.attempts = lambda: {("provider", "ok"): 1}
    metrics.deployments = lambda: [("provider", "model", False)]
    metrics.called("kind", "ok", 1)
    metrics.refused("code")
    metrics.message("ping")
    metrics.models.done("fast", "openai", 1, 1, Usage(tokens=Tokens(1, 1), cost=1))
    metrics.models.attempt("openai", "ok")
    metrics.models.unpriced("fast", "openai")
    metrics.rooms = lambda: [("all", "global", "usd", 1, 0)]
    metrics.budget_refusals = lambda: {("all", "global"): 1}
    metrics.spans = lambda: {"collector": Tally()}
    found: dict[str, tuple[str, set[str]]] = {}
    for family in metrics.registry.collect():
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        found[family.name + ("_total" if family.type == "counter" else "")] = (family.type, labels)
    said = {row[0]: (row[1], set(re.findall(r"\w+", row[2]))) for row in pages.rows("docs/operations.md") if row[0].startswith("hub_")}
    assert said == found


def test_the_command_reference_is_the_generated_one() -> None:
    assert pages.text("docs/cli.md") == cli_reference.reference(), "run: python -m tests.docs.cli_reference > docs/cli.md"


@pytest.mark.parametrize("name", [name for name, _ in cli_reference.every()])
def test_every_command_and_option_stands_in_the_command_reference(name: str) -> None:
    command = dict(cli_reference.every())[name]
    section = pages.text("docs/cli.md").split(f"\n## {name}\n")[1].split("\n## ")[0]
    for parameter in command.params:
        if parameter.param_type_name == "option" and parameter.name != "help":
            assert parameter.opts[0] in section


@pytest.mark.parametrize("page", pages.names())
def test_every_command_line_a_page_shows_is_one(page: str) -> None:
    known = dict(cli_reference.every())
    groups = {name.rsplit(" ", 1)[0] for name in known}
    for words in pages.invocations(page):
        name = next((found for found in (" ".join(words[:3]), " ".join(words[:2])) if found in known), "")
        if not name:
            assert " ".join(words[:2]) in groups, f"{page} shows {' '.join(words)}"
            continue
        options = {option for parameter in known[name].params for option in parameter.opts} | {"--help"}
        for word in words:
            if word.startswith("-") and word != "-":
                assert word.partition("=")[0] in options, f"{page} shows {' '.join(words)}"


@cache
def _functions(file: Path) -> frozenset[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("page", pages.names())
def test_every_test_a_page_names_exists(page: str) -> None:
    for file, name in pages.tests(page):
        assert (ROOT / file).is_file(), f"{page} names {file}"
        assert name in _functions(ROOT / file), f"{page} names {file}::{name}"


@pytest.mark.parametrize("page", EVIDENCE)
def test_each_row_of_what_is_promised_names_its_test(page: str) -> None:
    tables = [block for block in re.findall(r"(?:^\|.*\n)+", pages.text(page), re.MULTILINE) if "| test |" in block.splitlines()[0]]
    assert tables
    for table in tables:
        for line in table.splitlines()[2:]:
            assert "::test_" in line, f"{page}: no test in the row: {line}"


@pytest.mark.parametrize("page", pages.names())
def test_every_link_leads_somewhere(page: str) -> None:
    for link in pages.links(page):
        target, _, anchor = link.partition("#")
        found = (ROOT / page).parent / target
        assert found.exists(), f"{page} links to {target}"
        if anchor:
            assert anchor in pages.anchors(str(found.resolve().relative_to(ROOT))), f"{page} links to {link}"


@pytest.mark.parametrize("page", pages.names())
def test_every_file_a_page_names_exists(page: str) -> None:
    for path in pages.paths(page):
        found = list(ROOT.glob(path)) if "*" in path else [ROOT / path]
        assert found, f"{page} names {path}"
        assert all(one.exists() for one in found), f"{page} names {path}"


def test_pages_named_in_the_source_exist() -> None:
    for file in (*ROOT.glob("hub/**/*.py"), *ROOT.glob("virtual_servers/**/*.py")):
        for page in re.findall(r"\bdocs/[\w-]+\.md\b", file.read_text(encoding="utf-8")):
            assert (ROOT / page).is_file(), f"{file.relative_to(ROOT)} names {page}"


def test_the_index_links_to_every_page() -> None:
    linked = set(pages.links("docs/README.md"))
    assert {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")} - {"README.md"} <= linked


_YAML = [(page, number) for page in pages.names() for number, _ in enumerate(pages.fences(page, "yaml"))]


@pytest.mark.parametrize(("page", "number"), _YAML)
def test_yaml_in_the_pages_is_a_configuration_that_loads(page: str, number: int, tmp_path: Path) -> None:
    text = pages.fences(page, "yaml")[number]
    environment = {name: mint().text for name in re.findall(r"\$\{([A-Z_]+)", text)}
    sets = yaml.safe_load(text).get("policies", {}).get("sets", {})
    for name in (one["file"] for one in sets.values() if "file" in one):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((ROOT / "demo" / name).read_text(encoding="utf-8"))
    file = tmp_path / "hub.yaml"
    file.write_text(text)
    assert load(file, environ=environment).hash


def test_every_source_file_stands_in_the_tour_once() -> None:
    sources = {
        str(file.relative_to(ROOT))
        for room in ("hub", "virtual_servers")
        for file in (ROOT / room).rglob("*")
        if file.suffix in (".py", ".sql")
    }
    toured = [cells[0] for cells in pages.rows("docs/source-tour.md") if cells[0].endswith((".py", ".sql"))]
    assert sorted(toured) == sorted(sources)


def test_the_readme_has_one_place_for_figures_and_both_commands() -> None:
    readme = pages.text("README.md")
    assert readme.count("<!-- bench:start -->") == readme.count("<!-- bench:end -->") == 1
    assert readme.index("<!-- bench:start -->") < readme.index("<!-- bench:end -->")
    assert "make run" in readme
    assert "make test" in readme


def test_every_make_target_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in pages.names():
        for target in re.findall(
            r"\bmake ([a-z]+(?:-[a-z]+)*)\b(?=[`\s]|$)", "\n".join(re.findall(r"`make [^`]*`|^make .*$", pages.text(page), re.MULTILINE))
        ):
            assert target in targets, f"{page} names make {target}"
