"""One span of a trace as a value. Knows no wire and no convention of names.

Source: OpenTelemetry specification, trace/api (span kinds, status).
"""

from typing import Literal

from msgspec import Struct, field

Value = str | int | float | bool | list[str]

SERVER: Literal["server"] = "server"
CLIENT: Literal["client"] = "client"


class Span(Struct):
    """Times are nanoseconds since 1970. `error` is what went wrong in one word, empty where nothing did; it is the span's `error.type`."""

    name: str
    kind: Literal["server", "client"]
    trace_id: str
    span_id: str
    parent_id: str
    start: int
    end: int
    attributes: dict[str, Value] = field(default_factory=dict[str, Value])
    error: str = ""
    state: str = ""
