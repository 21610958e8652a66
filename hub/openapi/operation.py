"""One operation of the HTTP surface as a value. The edge that answers it describes it; `hub.openapi.document` writes it down."""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

Schema = Any
"""What a body looks like: a type that msgspec can write a schema of, or a JSON Schema as it is, or a tuple of either for any of them."""


class Parameter(Struct, frozen=True):
    """One parameter of a path, a query or the headers."""

    name: str
    where: Literal["path", "query", "header"]
    description: str
    schema: Schema = str
    required: bool = False
    example: Any = None


class Body(Struct, frozen=True):
    """The JSON body of a request. `example` is one that can be sent as it is."""

    schema: Schema
    example: Any = None
    required: bool = True


class Answer(Struct, frozen=True):
    """An answer that is no refusal. `media` are its bodies by their types, none where it has no body; `headers` are names of `HEADERS`."""

    status: str
    description: str
    media: Mapping[str, Schema] = {}
    headers: tuple[str, ...] = ()


class Errors(Struct, frozen=True):
    """How one edge refuses. `codes` are the refusals that may come with each status, `shape` the body they come in.

    `headers` come with all of them, `waits` with those of load and of outages. `otherwise`: what any other status means.
    """

    name: str
    shape: Schema
    codes: Mapping[str, tuple[str, ...]]
    media: str = "application/json"
    headers: tuple[str, ...] = ()
    waits: tuple[str, ...] = ()
    otherwise: str = ""


class Operation(Struct, frozen=True):
    """What is asked for by one method at one path.

    `path` is written as OpenAPI does, `{name}` for what varies. `permission` is needed, which `roles` have; `open`: no key is needed.
    `reference` points to whoever defined the body, where that is not the hub.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    id: str
    tag: str
    summary: str
    answers: tuple[Answer, ...]
    errors: Errors
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    permission: str = ""
    roles: tuple[str, ...] = ()
    open: bool = False
    reference: str = ""
    python: str = ""
    """How it is asked in Python, where there is a better way than plain HTTP."""
