"""The document is what is served, generated and committed; it is valid, and it has every route there is and no other."""

import ast
import json
import re
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.routing import Route
from typer.testing import CliRunner

from hub import refusal, surface
from hub.admin.described import OPERATIONS as OPERATORS
from hub.app import Hub as Program
from hub.commands.app import app
from hub.config.load import load
from hub.llm.endpoints import ENDPOINTS
from hub.openapi.document import document
from hub.openapi.operation import Answer, Operation
from hub.openapi.refusals import kinds, table
from hub.openapi.shapes import BARE
from tests.support.hub import ROOT, Hub

COMMITTED = ROOT / "docs" / "openapi.json"
FOUND: dict[str, Any] = json.loads(COMMITTED.read_text(encoding="utf-8"))
EVERY = [(method.upper(), path, one) for path, there in FOUND["paths"].items() for method, one in there.items()]


def test_what_is_committed_printed_and_served_is_what_the_code_says(hub: Hub) -> None:
    committed = COMMITTED.read_text(encoding="utf-8")
    assert committed == surface.written(), "run: make docs"
    assert CliRunner().invoke(app, ["schema", "--openapi"]).stdout == committed
    with urlopen(hub.url + "/openapi.json", timeout=30) as answer:
        assert answer.headers["content-type"].partition(";")[0] == "application/json"
        assert answer.read().decode() == committed


def test_the_document_is_valid_openapi_3_1() -> None:
    assert FOUND["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(FOUND).validate()


def test_every_route_of_operators_is_described_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "hub.yaml").write_text(f"stores: {{database: 'sqlite:///{tmp_path}/hub.db'}}\n")
    program = Program(load(tmp_path / "hub.yaml", environ={}))
    routes = [route for route in program.admin.app.routes if isinstance(route, Route)]
    there = {
        (method, re.sub(r":\w+\}", "}", route.path)): program.admin.permissions.get(route.endpoint, "")
        for route in routes
        for method in (route.methods or ())
        if method != "HEAD"
    }
    assert there == {(one.method, one.path): one.permission for one in OPERATORS}, "each with the permission it needs"


async def test_a_fault_of_an_operators_route_is_a_problem_too(tmp_path: Path) -> None:
    (tmp_path / "hub.yaml").write_text(f"stores: {{database: 'sqlite:///{tmp_path}/hub.db'}}\n")
    program = Program(load(tmp_path / "hub.yaml", environ={}))

    def fault() -> list[str]:
        raise ZeroDivisionError

    program.admin._ready = fault
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    scope = {"type": "http", "method": "GET", "path": "/health/ready", "headers": [], "query_string": b""}
    with pytest.raises(ZeroDivisionError):  # it goes on to the server, which logs it
        await program.admin.app(scope, None, send)  # type: ignore[arg-type]
    assert said[0]["status"] == 500
    assert json.loads(said[1]["body"])["code"] == "internal"


def test_every_path_the_source_names_is_described() -> None:
    """The edges have no table of all their routes: each path that stands anywhere in their source must be one, or the beginning of one."""
    described = {one.path for one in surface.OPERATIONS}
    assert set(ENDPOINTS) <= described
    for file in (*ROOT.glob("hub/llm/**/*.py"), *ROOT.glob("hub/admin/*.py"), ROOT / "hub" / "gate.py"):
        for text in _texts(file):
            if re.fullmatch(r"/(v1|admin/v1|mcp|docs|health|openapi)[\w/{}.-]*", text):
                assert any(path.startswith(text) for path in described), f"{file.relative_to(ROOT)} has {text}, which nobody describes"


def _texts(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_every_refusal_is_told_with_its_numbers_and_stands_with_a_status_somewhere() -> None:
    rows = {row["code"]: row for row in FOUND["x-refusals"]}
    assert set(rows) == {kind.code for kind in kinds()} == set(FOUND["components"]["schemas"]["RefusalCode"]["enum"])
    assert all((row["http"], row["jsonrpc"]) == (kind.status, kind.rpc) for kind in kinds() for row in (rows[kind.code],))
    sent = {code for one in FOUND["components"]["responses"].values() for code in one.get("x-codes", ())}
    answers = {"method_not_found", "denied", "upstream_unavailable", "upstream_timeout", "upstream_fault"}
    assert set(rows) - sent <= answers


def test_a_refusal_without_a_meaning_is_not_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusal, "__doc__", (refusal.__doc__ or "").replace("too_large", "another"))
    with pytest.raises(LookupError, match="too_large"):
        table()


def test_operations_that_cannot_be_told_apart_or_hang_in_the_air_are_refused() -> None:
    one = Operation("GET", "/a", "a", "T", "A", (Answer("200", "It is."),), BARE)
    for other in (Operation("POST", "/b", "a", "T", "B", (), BARE), Operation("GET", "/a", "b", "T", "B", (), BARE)):
        with pytest.raises(ValueError, match="described twice"):
            document([one, other], {"T": "Things."}, {})
    with pytest.raises(LookupError, match="nobody describes"):
        document([one], {}, {})
    with pytest.raises(LookupError, match="x-odd"):
        document([Operation("GET", "/a", "a", "T", "A", (Answer("200", "It is.", headers=("x-odd",)),), BARE)], {"T": "Things."}, {})


@pytest.mark.parametrize(("method", "path", "one"), [pytest.param(*each, id=each[2]["operationId"]) for each in EVERY])
def test_each_operation_can_be_read_by_itself(method: str, path: str, one: dict[str, Any]) -> None:
    assert one["summary"]
    assert one["tags"][0] in {tag["name"] for tag in FOUND["tags"]}
    assert set(re.findall(r"\{(\w+)\}", path)) == {p["name"] for p in one.get("parameters", ()) if p["in"] == "path"}
    assert any(status.startswith("2") for status in one["responses"])
    if "requestBody" in one:
        assert "example" in one["requestBody"]["content"]["application/json"]
