"""Holds an answer against what the document says of its operation: status, type, body, headers, code."""

import json
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

OWN = ("x-request-id", "request-id", "www-authenticate", "allow", "mcp-session-id", "x-should-retry")
"""Headers the hub adds, beside those that begin with `hub-`, `x-hub-` and `retry-after`."""


def documented(document: dict[str, Any], operation: dict[str, Any], status: int) -> dict[str, Any]:
    """The response of an operation with this status, its references resolved."""
    found = operation["responses"].get(str(status)) or operation["responses"].get("default")
    assert found is not None, f"{operation['operationId']} answers {status}, which is not documented"
    return resolved(document, found)


def resolved(document: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in value:
        return value
    _, kind, name = value["$ref"].removeprefix("#/").split("/")
    return document["components"][kind][name]


def hold(document: dict[str, Any], operation: dict[str, Any], status: int, headers: dict[str, str], body: bytes) -> None:
    """Fail unless the answer is one the document speaks of. `headers` by lower-case name."""
    named = operation["operationId"]
    response = documented(document, operation, status)
    for name in headers:
        if name in OWN or name.startswith(("hub-", "x-hub-", "retry-after")):
            assert name in response.get("headers", {}) or "default" in operation["responses"], f"{named} {status} has the header {name}"
    media = headers.get("content-type", "").partition(";")[0].strip()
    content = response.get("content", {})
    if not content:
        assert not body, f"{named} {status} is documented without a body"
        return
    assert media in content, f"{named} {status} is {media}, not one of {list(content)}: {body[:200]!r}"
    if media.endswith("json"):
        value = json.loads(body)
        validator(json.dumps(content[media]["schema"]), json.dumps(document["components"])).validate(value)
        code = code_of(value)
        if code and "x-codes" in response:
            assert code in response["x-codes"], f"{named} {status} bears the code {code}: {response['x-codes']}"


def code_of(value: Any) -> str:
    """The hub's own code in an error of any edge, empty where there is none."""
    if not isinstance(value, dict):
        return ""
    error = value.get("error")
    if not isinstance(error, dict):
        return value["code"] if "title" in value else ""
    return (error.get("hub") or error.get("data") or {}).get("code", "")


@cache
def validator(schema: str, components: str) -> Draft202012Validator:
    return Draft202012Validator({"components": json.loads(components), "allOf": [json.loads(schema)]})
