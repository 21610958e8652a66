"""A small hub for policy tests: four upstreams, two virtual servers, two organisations."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hub.call import Call, Caller, Credential, Grant, Target
from hub.config.callers import Policies, PolicySpec
from hub.policy.decide import Places, Policy, ToolType

TOOLS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "bank/transfer": (
        {
            "type": "object",
            "properties": {
                "amount": {"type": "integer"},
                "currency": {"type": "string"},
                "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                "fee": {"type": "number"},
                "tags": {"type": "array", "items": {"type": "string"}},
                "to": {"$ref": "#/$defs/Account"},
                "extra": {},
            },
            "required": ["amount", "to"],
            "$defs": {
                "Account": {"type": "object", "properties": {"iban": {"type": "string"}, "own": {"type": "boolean"}}, "required": ["iban"]}
            },
        },
        {"openWorldHint": False},
    ),
    "bank/balance": ({"type": "object", "properties": {"account": {"type": "string"}}}, {"readOnlyHint": True, "openWorldHint": False}),
    "files/read_file": ({"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}, {"readOnlyHint": True}),
    "files/write_file": (
        {"type": "object", "properties": {"path": {"type": "string"}, "content": {"type": "string"}}, "required": ["path", "content"]},
        {},
    ),
    "web/fetch": ({"type": "object", "properties": {"url": {"type": "string"}}, "required": ["url"]}, {"readOnlyHint": True}),
    "crm/delete_customer": ({"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}, {}),
}


def target(name: str, kind: Any = "tool") -> Target:
    upstream, _, rest = name.partition("/")
    return Target(upstream, kind, rest)


@pytest.fixture(scope="session")
def targets() -> list[ToolType]:
    tools = [ToolType(target(name), json.dumps(schema).encode(), hints) for name, (schema, hints) in TOOLS.items()]
    prompt = ToolType(target("crm/summary", "prompt"), b'[{"name": "customer", "required": true}, {"name": "tone"}]')
    return [*tools, prompt]


@pytest.fixture(scope="session")
def compiled(targets: list[ToolType]) -> Callable[..., Policy]:
    def build(
        cedar: str = "", *, default: Any = "grants", org: str = "*", sets: dict[str, PolicySpec] | None = None, **more: Any
    ) -> Policy:
        specs = sets if sets is not None else {"main": PolicySpec(org=org, cedar=cedar)} if cedar else {}
        places = Places({"desk": "default", "lab": "acme"}, {"fast": "default", "theirs": "acme"}, {"openai": "default", "vault": "acme"})
        return Policy.compile(Policies(default=default, sets=specs), Path("/nowhere"), more.pop("targets", targets), places, **more)

    return build


@pytest.fixture(scope="session")
def caller() -> Callable[..., Caller]:
    def make(
        subject: str = "user:ann", org: str = "default", grants: tuple[Grant, ...] = (Grant(virtual_server="*"),), version: str = "1"
    ) -> Caller:
        return Caller(org, subject, "k1", grants, version)

    return make


@pytest.fixture(scope="session")
def call() -> Callable[..., Call]:
    def make(name: str, arguments: Any = None, *, kind: Any = "tool", door: str = "desk") -> Call:
        what = target(name, kind) if name else None
        return Call("1", "mcp.tools.call", "tools/call", door, b"", Credential(), 0.0, target=what, arguments=arguments)

    return make
