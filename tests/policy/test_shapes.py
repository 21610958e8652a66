"""JSON Schema to Cedar types, and values to context."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.call import Target
from hub.config.callers import Policies
from hub.policy.context import Reading, Wanted
from hub.policy.decide import Places, Policy, ToolType
from hub.policy.shapes import DEPTH, EMPTY, Shape, of_schema


def field(schema: object, **root: object) -> Shape | None:
    return of_schema(json.dumps({"type": "object", "properties": {"x": schema}, **root}).encode()).fields.get("x")


@pytest.mark.parametrize(
    ("schema", "shape"),
    [
        ({"type": "string"}, Shape("string")),
        ({"type": "integer"}, Shape("long")),
        ({"type": "number"}, Shape("long")),
        ({"type": "boolean"}, Shape("bool")),
        ({"type": ["string", "null"]}, Shape("string", nullable=True)),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, Shape("long", nullable=True)),
        ({"oneOf": [{"type": "null"}, {"type": "boolean"}]}, Shape("bool", nullable=True)),
        ({"allOf": [{"type": "string"}]}, Shape("string")),
        ({"enum": ["a", "b"]}, Shape("string")),
        ({"enum": ["a", None]}, Shape("string", nullable=True)),
        ({"const": 3}, Shape("long")),
        ({"type": "string", "anyOf": [{"minLength": 1}, {"maxLength": 0}]}, Shape("string")),
        ({"$ref": "#/$defs/N"}, Shape("long")),
        ({"type": "array", "items": {"type": "string"}}, Shape("set", element=Shape("string", required=True))),
        ({"type": "object"}, Shape("record")),
        ({"properties": {"y": {"type": "boolean"}}, "required": ["y"]}, Shape("record", fields={"y": Shape("bool", required=True)})),
    ],
)
def test_what_cedar_can_hold_has_a_type(schema, shape):
    assert field(schema, **{"$defs": {"N": {"type": "integer"}}}) == shape


@pytest.mark.parametrize(
    "schema",
    [
        {},
        True,
        {"type": "null"},
        {"type": ["string", "integer"]},
        {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        {"allOf": [{"type": "string"}, {"minLength": 3}]},
        {"enum": ["a", 1]},
        {"enum": [1.5]},
        {"enum": []},
        {"type": "array"},
        {"type": "array", "items": {}},
        {"type": "array", "prefixItems": [{"type": "string"}], "items": {"type": "string"}},
        {"$ref": "https://example.org/x"},
        {"$ref": "#/$defs/missing"},
        {"$ref": "#/properties/x"},
        {"$ref": 7},
        {"type": {"odd": 1}},
    ],
)
def test_what_cedar_cannot_hold_has_no_attribute(schema):
    assert field(schema) is None


@pytest.mark.parametrize(
    "schema", [None, b"", b"{", b"7", b'"x"', b'{"type":"string"}', b'{"type":"object","properties":7,"required":3}', b'{"a":"\\ud800"}']
)
def test_a_schema_that_says_nothing_usable_gives_an_empty_record(schema):
    assert of_schema(schema) == EMPTY


def test_conditionals_beside_the_properties_do_not_hide_them():
    assert field({"type": "string"}, allOf=[{"if": {}, "then": {}}, {"required": ["x"]}]) == Shape("string")


def test_a_recursive_schema_ends_at_the_depth_bound():
    shape = of_schema(b'{"type":"object","properties":{"next":{"$ref":"#"}}}')
    depth = 0
    while "next" in shape.fields:
        shape, depth = shape.fields["next"], depth + 1
    assert depth == DEPTH


def test_a_schema_of_very_many_attributes_is_taken_up_to_a_bound():
    wide = {"type": "object", "properties": {f"p{number}": {"type": "string"} for number in range(5000)}}
    assert 1900 < len(of_schema(json.dumps(wide).encode()).fields) <= 2000


def taken(arguments, *paths, schema=None):
    shape = of_schema(json.dumps(schema).encode())
    wanted = Wanted()
    for path in paths:
        wanted.add(tuple(path.split(".")) if path else (), True)
    reading = Reading()
    return reading.arguments(arguments, shape, wanted), reading.problems


PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "nick": {"type": ["string", "null"]},
        "tags": {"type": "array", "items": {"type": ["string", "null"]}},
        "home": {"type": "object", "properties": {"city": {"type": "string"}, "zip": {"type": "integer"}}},
    },
}


def test_only_what_is_wanted_is_taken():
    given = {"name": "a", "nick": 7, "home": {"city": "b", "zip": 1.5}, "other": None}
    assert taken(given, "home.city", schema=PERSON) == ({"home": {"city": "b"}}, [])
    assert taken(given, "name", schema=PERSON) == ({"name": "a"}, [])


def test_null_is_absent_where_the_schema_allows_it_but_has_no_place_in_a_set():
    assert taken({"nick": None}, "nick", schema=PERSON) == ({}, [])
    assert taken({"tags": ["a", None]}, "tags", schema=PERSON) == ({}, ["args.tags[] is null"])


@pytest.mark.parametrize("arguments", [7, "x", [], True, 1.5])
def test_arguments_that_are_no_object_are_a_problem(arguments):
    assert taken(arguments, "name", schema=PERSON) == ({}, ["args is not an object"])


def test_no_arguments_are_the_empty_object():
    assert taken(None, "name", schema=PERSON) == ({}, [])


ANY_SCHEMA = st.recursive(
    st.sampled_from(["string", "integer", "number", "boolean", "null", "object", "array", 7, None]).map(lambda kind: {"type": kind}),
    lambda inner: st.one_of(
        inner.map(lambda each: {"type": "array", "items": each}),
        st.lists(inner, max_size=3).map(lambda each: {"anyOf": each}),
        st.dictionaries(st.text(max_size=4), inner, max_size=4).map(
            lambda each: {"type": "object", "properties": each, "required": sorted(each)[:2]}
        ),
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(properties=st.dictionaries(st.text(max_size=6), ANY_SCHEMA, max_size=5), name=st.text(max_size=8))
def test_no_tool_however_it_is_named_or_typed_keeps_the_others_from_having_policies(properties, name):
    schema = json.dumps({"type": "object", "properties": properties, "$defs": properties}).encode()
    policy = Policy.compile(Policies(), Path(), [ToolType(Target("odd", "tool", name), schema)], Places())
    assert Policy.from_snapshot(policy.snapshot()).hash == policy.hash
