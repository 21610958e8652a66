"""Operations as one OpenAPI 3.1 document, always in the same order. Pure. Source: spec.openapis.org/oas/v3.1.1."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hub.openapi.operation import Answer, Body, Errors, Operation, Parameter
from hub.openapi.refusals import table
from hub.openapi.schemas import Schemas
from hub.openapi.shapes import BARE, HEADERS, SECURITY

VERSION = "3.1.1"


def document(operations: Sequence[Operation], tags: Mapping[str, str], info: Mapping[str, Any]) -> dict[str, Any]:
    """The whole document.

    Raises `LookupError` where an operation names a tag or a header that is not described, `ValueError` where two have one id or one place.
    """
    _check(operations, tags)
    schemas = Schemas(operations)
    found = {one.errors.name: one.errors for one in operations}
    responses = {f"{errors.name}-{status}": _refusal(schemas, errors, status) for errors in found.values() for status in _statuses(errors)}
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(schemas, one)
    return {
        "openapi": VERSION,
        "info": dict(info),
        "servers": [{"url": "/", "description": "The hub that serves this document."}],
        "security": [{name: []} for name in SECURITY],
        "tags": [{"name": name, "description": text} for name, text in tags.items()],
        "paths": paths,
        "components": {
            "schemas": schemas.components(),
            "responses": dict(sorted(responses.items())),
            "headers": {name: {"description": text, "schema": schema} for name, (text, schema) in sorted(HEADERS.items())},
            "securitySchemes": SECURITY,
        },
        "x-refusals": table(),
    }


def text(found: Mapping[str, Any]) -> str:
    """The document as it is kept, printed and served."""
    return json.dumps(found, ensure_ascii=False, indent=1) + "\n"


def _check(operations: Sequence[Operation], tags: Mapping[str, str]) -> None:
    ids, places = set[str](), set[tuple[str, str]]()
    for one in operations:
        if one.tag not in tags:
            raise LookupError(f"{one.method} {one.path} has the tag {one.tag!r}, which nobody describes")
        if one.id in ids or (one.method, one.path) in places:
            raise ValueError(f"{one.method} {one.path} ({one.id}) is described twice")
        ids.add(one.id)
        places.add((one.method, one.path))


def _operation(schemas: Schemas, one: Operation) -> dict[str, Any]:
    needs = f"Needs the permission `{one.permission}`, which these roles have: {', '.join(one.roles)}." if one.permission else ""
    description = "\n\n".join(part for part in (one.description, needs) if part)
    made: dict[str, Any] = {"operationId": one.id, "tags": [one.tag], "summary": one.summary}
    if description:
        made["description"] = description
    if one.reference:
        made["externalDocs"] = {"url": one.reference, "description": "Whoever defined it says it all here."}
    if one.open:
        made["security"] = []
    if one.parameters:
        made["parameters"] = [_parameter(schemas, parameter) for parameter in one.parameters]
    if one.body is not None:
        made["requestBody"] = _body(schemas, one.body)
    made["responses"] = _responses(schemas, one)
    if one.permission:
        made["x-permission"], made["x-roles"] = one.permission, list(one.roles)
    if one.python:
        made["x-python"] = one.python
    return made


def _parameter(schemas: Schemas, one: Parameter) -> dict[str, Any]:
    made: dict[str, Any] = {"name": one.name, "in": one.where, "description": one.description, "schema": schemas.of(one.schema)}
    if one.where == "path" or one.required:
        made["required"] = True
    return made if one.example is None else {**made, "example": one.example}


def _body(schemas: Schemas, body: Body) -> dict[str, Any]:
    media = {"schema": schemas.of(body.schema)} | ({} if body.example is None else {"example": body.example})
    return {"required": body.required, "content": {"application/json": media}}


def _responses(schemas: Schemas, one: Operation) -> dict[str, Any]:
    made = {answer.status: _answer(schemas, answer) for answer in one.answers}
    for status in _statuses(one.errors):
        if status in made:
            raise ValueError(f"{one.method} {one.path} answers {status} both as an answer and as a refusal")
        made[status] = {"$ref": f"#/components/responses/{one.errors.name}-{status}"}
    return dict(sorted(made.items()))


def _answer(schemas: Schemas, answer: Answer) -> dict[str, Any]:
    made: dict[str, Any] = {"description": answer.description}
    if answer.headers:
        made["headers"] = _headers(answer.headers)
    if answer.media:
        made["content"] = {media: {"schema": schemas.of(schema)} for media, schema in answer.media.items()}
    return made


def _statuses(errors: Errors) -> list[str]:
    return sorted({*errors.codes, *BARE.codes}) + (["default"] if errors.otherwise else [])


def _refusal(schemas: Schemas, errors: Errors, status: str) -> dict[str, Any]:
    """One status of an edge's refusals, with what the server itself refuses with the same."""
    if status == "default":
        return {"description": errors.otherwise, "content": {"application/json": {"schema": {}}}}
    meanings = {row["code"]: row["meaning"] for row in table()}
    shapes: dict[str, list[Any]] = {}
    for one in (errors, BARE):
        if status in one.codes:
            shape = schemas.of(one.shape)
            shapes.setdefault(one.media, []).extend(shape["anyOf"] if set(shape) == {"anyOf"} else [shape])
    codes = dict.fromkeys((*errors.codes.get(status, ()), *BARE.codes.get(status, ())))
    made: dict[str, Any] = {"description": "\n".join(f"- `{code}`: {meanings[code]}" for code in codes), "x-codes": list(codes)}
    headers = [*errors.headers, *(errors.waits if status in ("429", "503") else ()), *_WITH.get(status, ())]
    if headers:
        made["headers"] = _headers(headers)
    made["content"] = {media: {"schema": _any(found)} for media, found in shapes.items()}
    return made


_WITH = {"401": ("www-authenticate",), "403": ("x-request-id",)}
"""Headers of a status on every path."""


def _any(found: Iterable[Any]) -> Any:
    listed = list(found)
    different = [one for at, one in enumerate(listed) if one not in listed[:at]]
    return different[0] if len(different) == 1 else {"anyOf": different}


def _headers(names: Sequence[str]) -> dict[str, Any]:
    unknown = [name for name in names if name not in HEADERS]
    if unknown:
        raise LookupError(f"no header is described that is called {unknown[0]}")
    return {name: {"$ref": f"#/components/headers/{name}"} for name in dict.fromkeys(names)}
