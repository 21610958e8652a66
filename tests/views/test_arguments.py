"""The argument check: what fits passes, what does not is named without its value, and no schema makes it run away."""

import json
import socket
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.refusal import InvalidParams
from virtual_servers.arguments import SchemaRefused, Validator

SMALL = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 5}, "days": {"type": "integer", "minimum": 1}, "unit": {"enum": ["c", "f"]}},
    "required": ["city"],
    "additionalProperties": False,
}


def validator(schema: Any) -> Validator:
    return Validator(json.dumps(schema).encode())


@pytest.mark.parametrize("arguments", [{"city": "Rome"}, {"city": "Rome", "days": 3.0, "unit": "c"}])
def test_arguments_that_fit_pass(arguments: Any) -> None:
    check = validator(SMALL)
    assert check.check(arguments) is None
    check(arguments)


@pytest.mark.parametrize(
    ("arguments", "place", "rule"),
    [
        ({"city": "secret-value"}, "arguments.city: ", "maxLength"),
        ({"city": 31337}, "arguments.city: ", "type"),
        ({"city": "Rome", "unit": "secret-value"}, "arguments.unit: ", "enum"),
        ({"city": "Rome", "days": 0}, "arguments.days: ", "minimum"),
        ({"city": "Rome", "other": "secret-value"}, "arguments: ", "additionalProperties"),
        ({}, "arguments: ", "required"),
        ([], "arguments: ", "type"),
    ],
)
def test_the_refusal_names_place_and_rule_but_no_value(arguments: Any, place: str, rule: str) -> None:
    refusal = validator(SMALL).check(arguments)
    assert isinstance(refusal, InvalidParams)
    assert refusal.message.startswith(place)
    assert refusal.message.endswith(f"({rule})")
    assert "secret" not in refusal.message
    assert "31337" not in refusal.message


def test_calling_it_raises_the_refusal() -> None:
    with pytest.raises(InvalidParams, match="city"):
        validator(SMALL)({})


def test_missing_arguments_are_an_empty_object() -> None:
    assert validator({"type": "object"}).check(None) is None
    assert validator(SMALL).check(None) is not None


def test_messages_are_bounded() -> None:
    refusal = validator(SMALL).check({"city": "Rome", **{"k" * 500 + str(number): 1 for number in range(200)}})
    assert refusal is not None
    assert len(refusal.message) < 350


@given(st.integers() | st.sampled_from([2**63, 2**64, -(2**64), 2**2000, 1e308, -0.0]))
@settings(max_examples=80, deadline=None)
def test_numbers_of_any_size_are_judged(number: float) -> None:
    check = validator({"type": "object", "properties": {"n": {"type": "integer", "maximum": 10}}})
    assert (check.check({"n": number}) is None) == (number <= 10 and number == number // 1)


def test_a_lone_surrogate_is_a_refusal_not_a_crash() -> None:
    assert isinstance(validator({"type": "object", "additionalProperties": False}).check({"\ud800": 1}), InvalidParams)


@pytest.mark.parametrize(
    "schema",
    [
        None,
        [],
        True,
        {},
        {"type": "array"},
        {"type": "object", "properties": 3},
        {"type": "object", "properties": {"a": {"type": "objct"}}},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/missing"}}},
        {"type": "object", "properties": {"a": {"pattern": "("}}},
        {"type": "object", "$schema": "https://schemas.example/unknown"},
        {"type": "object", "properties": {"a": {"pattern": "(a{1000}){1000}"}}},
        {"type": "object", "description": "d" * 300_000},
    ],
)
def test_what_is_no_usable_schema_is_refused(schema: Any) -> None:
    with pytest.raises(SchemaRefused):
        validator(schema)


def test_a_schema_with_a_key_twice_is_refused() -> None:
    with pytest.raises(SchemaRefused, match="twice"):
        Validator(b'{"type":"object","type":"object"}')


@pytest.mark.parametrize("where", ["http://127.0.0.1:{port}/s.json", "file://{path}"])
def test_no_reference_leaves_the_document(where: str, tmp_path: Any) -> None:
    (tmp_path / "s.json").write_text("{}")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        target = where.format(port=listener.getsockname()[1], path=tmp_path / "s.json")
        with pytest.raises(SchemaRefused):
            validator({"type": "object", "properties": {"a": {"$ref": target}}})
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_the_draft_follows_the_schema_keyword() -> None:
    tuples = {"items": [{"type": "string"}], "additionalItems": False}
    older = validator({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "properties": {"a": tuples}})
    assert older.check({"a": [1]}) is not None
    newer = validator({"type": "object", "properties": {"a": {"prefixItems": [{"type": "string"}]}}})
    assert newer.check({"a": [1]}) is not None


def test_local_references_anchors_and_lookarounds_work() -> None:
    check = validator(
        {
            "type": "object",
            "$defs": {"n": {"$anchor": "here", "type": "string", "pattern": "^(?!bad)"}},
            "properties": {"a": {"$ref": "#/$defs/n"}, "b": {"$ref": "#here"}},
        }
    )
    assert check.check({"a": "good", "b": "good"}) is None
    assert check.check({"a": "bad"}) is not None
    assert check.check({"b": 1}) is not None


def timed(check: Validator, arguments: Any) -> InvalidParams | None:
    started = time.process_time()
    refusal = check.check(arguments)
    assert time.process_time() - started < 2.0
    return refusal


def test_a_pattern_that_backtracks_gives_up() -> None:
    check = validator({"type": "object", "properties": {"a": {"pattern": "(?=x)(x+x+)+y"}}})
    assert timed(check, {"a": "x" * 100_000}) is not None


def test_references_that_multiply_are_refused() -> None:
    definitions: dict[str, Any] = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
    with pytest.raises(SchemaRefused, match="multiply"):
        validator({"type": "object", "$defs": {**definitions, "d40": {}}, "allOf": [{"$ref": "#/$defs/d0"}]})


@pytest.mark.parametrize("word", ["anyOf", "oneOf", "allOf"])
def test_recursive_schemas_judge_deep_arguments_in_time(word: str) -> None:
    branch = {"required": ["x"], "properties": {"x": {"$ref": "#"}}}
    check = validator({"type": "object", word: [branch, {**branch, "minProperties": 1}]})
    arguments: dict[str, Any] = {}
    for _ in range(60):
        arguments = {"x": arguments}
    refusal = timed(check, arguments)
    assert refusal is not None
    assert refusal.message == "the arguments do not fit the input schema of this tool"


def test_a_heavy_schema_is_not_run_on_a_heavy_value() -> None:
    check = validator({"type": "object", "properties": {"a": {"items": {"allOf": [{"minimum": n} for n in range(5000)]}}}})
    assert timed(check, {"a": [1] * 3}) is not None
    refusal = timed(check, {"a": [10_000] * 500_000})
    assert refusal is not None
    assert "too large" in refusal.message


def test_schemas_may_be_recursive_and_still_say_yes() -> None:
    tree = {"type": "object", "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}, "value": {"type": "integer"}}}
    assert validator(tree).check({"left": {"right": {"value": 1}}}) is None
    assert validator(tree).check({"left": {"right": {"value": "x"}}}) is not None
