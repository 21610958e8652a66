"""The policies shown to readers compile and decide as their own comments say, and the document shows them as they are."""

import json
import re
from pathlib import Path

import pytest

from hub.policy.rules import ANSWERS, BUILT_IN
from hub.policy.source import statements

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "demo" / "policies").glob("*.cedar"))
LINE = re.compile(r"^//\s+(\w+:\w+)\s+(tool|prompt|resource)\s+(\S+)(?:\s+(\{.*\}))?\s+-> (allow|deny)(?: (.+))?$", re.MULTILINE)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_example_decides_as_its_comment_says(compiled, call, caller, file):
    text = file.read_text(encoding="utf-8")
    claims = LINE.findall(text)
    assert len(claims) == text.count("-> "), "every claim is one the test can read"
    assert len(claims) >= 3
    policy = compiled(text, org="default", default="deny" if "// Default: deny" in text else "grants")
    for subject, kind, target, arguments, effect, reasons in claims:
        decision = policy.decide(call(target, json.loads(arguments or "null"), kind=kind), caller(subject))
        assert ("allow" if decision.allow else "deny", subject, target, arguments) == (effect, subject, target, arguments)
        if reasons:
            assert " ".join(decision.reasons) == reasons


def test_the_document_shows_the_examples_as_they_are():
    document = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
    written = {
        re.sub(r"^//.*\n|^\n", "", text, flags=re.MULTILINE).strip()
        for file in FILES
        for _, text in statements(file.read_text(encoding="utf-8"))
    }
    shown = [text for block in re.findall(r"```cedar\n(.*?)```", document, re.DOTALL) for _, text in statements(block)]
    assert len(shown) >= 6
    for text in shown:
        assert text.strip() in written
    for file in FILES:
        assert f"demo/policies/{file.name}" in document


def test_the_document_names_every_reason_and_every_part_of_the_entity_model(compiled):
    document = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
    for word in {*ANSWERS, BUILT_IN}:
        assert f"`{word}`" in document
    for entity in re.findall(r"^  entity (\w+)", compiled().schema_text, re.MULTILINE):
        assert f"Hub::{entity}" in document
    for attribute in ("readOnly", "destructive", "idempotent", "openWorld", "uri", "name", "door", "key", "args"):
        assert f"`{attribute}`" in document or f".{attribute}`" in document
