"""A collector of spans, and Langfuse, as scripted servers: they take OTLP over HTTP and are strict about it.

The shapes are those of opentelemetry-proto (collector/trace/v1, trace/v1, common/v1) in the JSON encoding of docs/specification.md; a
member that is not theirs is a fault. What Langfuse asks besides is from langfuse/langfuse, web/src/pages/api/public/otel/v1/traces, and
its page integrations/native/opentelemetry.
"""

import contextlib
import gzip
import json
import re
import threading
import traceback
from base64 import b64decode
from collections.abc import Generator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Annotated, Any

import msgspec

Hex32 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
Hex16 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]
Fixed64 = Annotated[str, msgspec.Meta(pattern="^[0-9]{19}$")]
Int64 = Annotated[str, msgspec.Meta(pattern="^-?[0-9]{1,19}$")]


class Strict(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    pass


class Array(Strict):
    values: list["AnyValue"]


class AnyValue(Strict):
    string_value: str | None = None
    int_value: Int64 | None = None
    double_value: float | None = None
    bool_value: bool | None = None
    array_value: Array | None = None

    def plain(self) -> Any:
        given = [value for value in (self.string_value, self.double_value, self.bool_value) if value is not None]
        given += [int(self.int_value)] if self.int_value is not None else []
        given += [[one.plain() for one in self.array_value.values]] if self.array_value is not None else []
        (value,) = given
        return value


class Pair(Strict):
    key: Annotated[str, msgspec.Meta(min_length=1)]
    value: AnyValue


class Status(Strict):
    code: int = 0
    message: str = ""


class Span(Strict):
    trace_id: Hex32
    span_id: Hex16
    name: str
    kind: Annotated[int, msgspec.Meta(ge=1, le=5)]
    start_time_unix_nano: Fixed64
    end_time_unix_nano: Fixed64
    attributes: list[Pair]
    status: Status
    flags: int
    parent_span_id: Hex16 = ""
    trace_state: str = ""

    @property
    def said(self) -> dict[str, Any]:
        found = {pair.key: pair.value.plain() for pair in self.attributes}
        assert len(found) == len(self.attributes), "a key stands once"
        return found

    @property
    def seconds(self) -> float:
        return (int(self.end_time_unix_nano) - int(self.start_time_unix_nano)) / 1e9


class Scope(Strict):
    name: str
    version: str


class ScopeSpans(Strict):
    scope: Scope
    spans: list[Span]


class Resource(Strict):
    attributes: list[Pair]


class ResourceSpans(Strict):
    resource: Resource
    scope_spans: list[ScopeSpans]


class Export(Strict):
    resource_spans: list[ResourceSpans]


_EXPORTS = msgspec.json.Decoder(Export)
"""Made once: msgspec works out a type when it meets it first, and crashes where two threads do so at a time."""


class Collector:
    """`spans` are all that came. `statuses` are answered first, one a request; while `shut` is set nothing is answered until `open`."""

    path = "/v1/traces"

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.raw: list[bytes] = []
        self.resources: list[dict[str, Any]] = []
        self.problems: list[str] = []
        self.statuses: list[int] = []
        self.asked = 0
        self.open = threading.Event()
        self.open.set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.asked += 1
                collector.open.wait(30)
                status = collector.statuses.pop(0) if collector.statuses else 200
                if status == 200:
                    try:
                        collector.take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                    except Exception as error:
                        collector.problems.append("".join(traceback.format_exception(error))[-700:])
                        status = 400
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    self.send_response(status)
                    self.send_header("content-type", "application/json")
                    self.send_header("content-length", "2")
                    self.end_headers()
                    self.wfile.write(b"{}")

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self.open.set()
        self._server.shutdown()
        self._server.server_close()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        assert path == self.path
        assert headers["content-type"] == "application/json"
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.raw.append(body)
        for resource in _EXPORTS.decode(body).resource_spans:
            self.resources.append({pair.key: pair.value.plain() for pair in resource.resource.attributes})
            for scoped in resource.scope_spans:
                for span in scoped.spans:
                    assert int(span.end_time_unix_nano) >= int(span.start_time_unix_nano)
                    self.check(span)
                    self.spans.append(span)

    def check(self, span: Span) -> None:
        pass

    def of(self, trace_id: str) -> list[Span]:
        return [span for span in self.spans if span.trace_id == trace_id]


class Langfuse(Collector):
    path = "/api/public/otel/v1/traces"

    def __init__(self, public: str, secret: str) -> None:
        super().__init__()
        self._keys = f"{public}:{secret}"

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        scheme, _, token = headers["authorization"].partition(" ")
        assert scheme == "Basic"
        assert b64decode(token).decode() == self._keys
        assert 0 < int(headers["x-langfuse-ingestion-version"]) <= 4
        super().take(path, headers, body)

    def check(self, span: Span) -> None:
        said = span.said
        assert said["langfuse.observation.type"] in ("span", "generation", "embedding", "tool")
        for key in ("langfuse.user.id", "langfuse.session.id"):
            assert re.fullmatch(r"[\x00-\x7f]{1,200}", said.get(key, "x"))
        assert all(isinstance(tag, str) for tag in said.get("langfuse.trace.tags", []))
        usage = json.loads(said.get("langfuse.observation.usage_details", "{}"))
        assert all(isinstance(count, int) and count >= 0 for count in usage.values())
        assert usage.get("total", 0) == sum(count for name, count in usage.items() if name != "total"), "parts are apart from their wholes"
        cost = json.loads(said.get("langfuse.observation.cost_details", "{}"))
        assert all(isinstance(amount, float) for amount in cost.values())
        if (first := said.get("langfuse.observation.completion_start_time")) is not None:
            assert datetime.fromisoformat(first).tzinfo is not None
        assert said.get("langfuse.observation.level", "DEFAULT") in ("DEBUG", "DEFAULT", "WARNING", "ERROR")


@contextlib.contextmanager
def served(collector: Collector) -> Generator[Collector]:
    try:
        yield collector
    finally:
        collector.close()
