"""The JSON Schema and the reference that are made from the classes."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from msgspec import inspect as types

from hub.config.convert import shape, unwrapped
from hub.config.load import load
from hub.config.model import Config
from hub.config.reference import reference
from hub.config.schema import described, json_schema, secret_fields

ROOT = Path(__file__).parents[2]


def valid(document: object) -> bool:
    return jsonschema.Draft202012Validator(json_schema()).is_valid(document)


def test_the_schema_is_a_schema_and_plain_json() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    assert json.loads(json.dumps(json_schema())) == json_schema()


def test_the_demo_fits_the_schema_and_loads() -> None:
    path = ROOT / "demo" / "hub.yaml"
    jsonschema.validate(yaml.safe_load(path.read_text()), json_schema(), jsonschema.Draft202012Validator)
    assert set(load(path, environ={}).config.virtual_servers) == {"demo"}


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"server": None, "keys": None},
        {"server": {"port": "${PORT:-8080}", "drain": 1.5}},
        {"keys": [{"name": "a", "secret": "${K}", "roles": ["${ROLE}"]}]},
        {"upstreams": {"a": {"url": "http://x", "headers": {"Authorization": "Bearer ${T}"}}}},
        {"upstreams": {"a": {"stdio": {"command": "x"}, "shared": "${S}"}}},
    ],
)
def test_what_may_be_written_fits_the_schema(document: object) -> None:
    assert valid(document)


@pytest.mark.parametrize(
    "document",
    [
        {"servre": {}},
        {"server": {"port": 70000}},
        {"server": {"port": "http"}},
        {"keys": [{"name": "a", "secret": "literal"}]},
        {"keys": [{"secret": "${K}"}]},
        {"upstreams": {"A B": {"url": "http://x"}}},
        {"upstreams": {"a": {"url": "http://x", "stdio": {"command": "x"}}}},
        {"upstreams": {"a": {}}},
        {"policies": {"default": "allow"}},
    ],
)
def test_what_may_not_be_written_does_not_fit_the_schema(document: object) -> None:
    assert not valid(document)


def test_the_committed_reference_is_the_generated_one() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text() == reference(), "run: hub schema --reference > docs/configuration.md"


def test_every_key_is_described_and_stands_in_the_reference() -> None:
    text = reference()

    def walk(kind: types.Type) -> None:
        kind = unwrapped(kind)
        inner: list[types.Type] = []
        if isinstance(kind, types.StructType) and kind.cls.__name__ not in ("Secret", "KeptSecret", "Address", "Dollars"):
            for field in kind.fields:
                assert described(field.type), f"{kind.cls.__name__}.{field.name} has no description"
                assert f"| `{field.encode_name}` |" in text
                inner.append(field.type)
        elif isinstance(kind, types.DictType):
            inner.append(kind.value_type)
        elif isinstance(kind, types.VarTupleType):
            inner.append(kind.item_type)
        elif isinstance(kind, types.UnionType):
            inner.extend(kind.types)
        for each in inner:
            walk(each)

    walk(shape(Config))


def test_secret_fields_are_listed() -> None:
    vault = ["secrets.vault.accepted[*]", "secrets.vault.key"]
    providers, upstreams = ["providers.*.api_key", "providers.*.headers.*"], ["upstreams.*.headers.*", "upstreams.*.stdio.env.*"]
    telemetry = ["telemetry.langfuse.*.secret_key", "telemetry.otlp.*.headers.*"]
    own = ["keys[*].secret", "master_key", *providers, "secrets.log", "secrets.master", *vault]
    assert secret_fields() == ["budgets[*].alerts.headers.*", *own, *telemetry, *upstreams]
    assert re.search(r"## Secret fields\n\n- `budgets", reference())
