"""Which `x-mcp-header` annotations are taken, and which make a tool unfit (MCP 2026-07-28, streamable HTTP, Schema Extension)."""

from typing import Any

import pytest
from mcp.shared.inbound import find_invalid_x_mcp_header

from virtual_servers.headers import Misplaced, table

MARK = {"type": "string", "x-mcp-header": "Region"}


def under(**members: Any) -> dict[str, Any]:
    return {"type": "object", **members}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (under(), {}),
        (under(properties={"region": MARK}), {"region": (("region",), "string")}),
        (under(properties={"a": {"properties": {"b": {"type": "integer", "x-mcp-header": "X-Y"}}}}), {"x-y": (("a", "b"), "integer")}),
        (under(properties={"x-mcp-header": {"type": "string"}}), {}),
        (under(default=MARK, examples=[MARK], properties={"a": {"const": MARK, "enum": [MARK]}}), {}),
    ],
)
def test_annotations_reached_by_properties_alone_are_taken(schema: Any, expected: Any) -> None:
    assert table(schema) == expected
    assert find_invalid_x_mcp_header(schema) is None


@pytest.mark.parametrize(
    "schema",
    [
        MARK,
        under(properties={"a": {"items": MARK}}),
        under(properties={"a": {"prefixItems": [MARK]}}),
        under(anyOf=[under(properties={"a": MARK})]),
        under(**{"$defs": {"a": MARK}}),
        under(**{"if": under(properties={"a": MARK})}),
        under(patternProperties={"a": MARK}),
        under(additionalProperties=MARK),
        under(properties={"a": {**MARK, "type": "number"}}),
        under(properties={"a": {**MARK, "type": ["string", "null"]}}),
        under(properties={"a": {"x-mcp-header": "Region"}}),
        under(properties={"a": {**MARK, "x-mcp-header": ""}}),
        under(properties={"a": {**MARK, "x-mcp-header": "a\r\nb"}}),
        under(properties={"a": {**MARK, "x-mcp-header": "a b"}}),
        under(properties={"a": {**MARK, "x-mcp-header": "é"}}),
        under(properties={"a": {**MARK, "x-mcp-header": 1}}),
        under(properties={"a": MARK, "b": {**MARK, "x-mcp-header": "REGION"}}),
    ],
)
def test_any_other_annotation_is_refused_as_the_sdk_refuses_it(schema: Any) -> None:
    with pytest.raises(Misplaced):
        table(schema)
    assert find_invalid_x_mcp_header(schema) is not None
