"""The places spans go to, made of the configuration, each with an exporter of its own; they are reached by the hub's one HTTP client."""

import asyncio
import os
import platform
from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from hub import __version__
from hub.config.model import Config
from hub.config.models import ProviderSpec
from hub.config.telemetry import LangfuseSpec, OtlpSpec, Telemetry
from hub.config.values import Secret
from hub.egress import Egress
from hub.http1_head import Fields
from hub.observe.watch import Watch
from hub.refusal import Refusal
from hub.telemetry import langfuse, otlp, otlp_protobuf
from hub.telemetry.ended import Ended
from hub.telemetry.exporter import Exporter, Post, Posted, Tally
from hub.telemetry.peers import Peer, peers
from hub.telemetry.span import Span, Value
from hub.telemetry.trace import threshold
from hub.telemetry.tree import tree

_MOST_ANSWER = 64 * 1024
_LONGEST_WAIT = 60.0


class Shipping:
    """`start` it when the way out is open, `close` it before that is closed. `watch` is None where nothing is to be told."""

    def __init__(self, config: Config, egress: Egress, known: Callable[[str, ProviderSpec], str]) -> None:
        spec = config.telemetry
        self._known = known
        self._peers: Mapping[str, Peer] = {}
        self._spec = spec
        resource = _resource(spec)
        self._exporters = [
            *(_collector(name, one, egress, resource, spec) for name, one in spec.otlp.items()),
            *(_langfuse(name, one, egress, resource, spec) for name, one in spec.langfuse.items()),
        ]
        self.watch = self._watch(spec)
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Take up who is spoken to downstream."""
        if self._exporters:
            self._peers = peers(config, self._known)

    def start(self) -> None:
        for exporter in self._exporters:
            exporter.start()

    async def close(self) -> None:
        await asyncio.gather(*(exporter.close(self._spec.grace) for exporter in self._exporters))

    def tallies(self) -> dict[str, Tally]:
        """What became of the spans, by the names of the targets."""
        return {exporter.name: exporter.tally for exporter in self._exporters}

    def _watch(self, spec: Telemetry) -> Watch | None:
        if not self._exporters:
            return Watch(0, None, access_log=True) if spec.access_log else None
        return Watch(threshold(spec.sample), self._tell, access_log=spec.access_log)

    def _tell(self, ended: Ended) -> None:
        spans = tree(ended, self._peers)
        for exporter in self._exporters:
            exporter.offer(spans)


def _resource(spec: Telemetry) -> dict[str, Value]:
    return {
        "service.name": spec.service,
        "service.version": __version__,
        "service.instance.id": f"{platform.node()}:{os.getpid()}",
    }


def _collector(name: str, spec: OtlpSpec, egress: Egress, resource: dict[str, Value], whole: Telemetry) -> Exporter:
    url = spec.endpoint.rstrip("/")
    url = url if url.endswith(otlp.PATH) else url + otlp.PATH
    headers = {header: value.value if isinstance(value, Secret) else value for header, value in spec.headers.items()}

    form = otlp if spec.protocol == "http/json" else otlp_protobuf

    def encode(spans: Sequence[Span]) -> bytes:
        return form.encoded(spans, resource, __version__)

    post = _post(egress, url, headers, spec.timeout, form.MEDIA_TYPE)
    return Exporter(name, post, encode, form.rejected, room=whole.queue, every=whole.every)


def _langfuse(name: str, spec: LangfuseSpec, egress: Egress, resource: dict[str, Value], whole: Telemetry) -> Exporter:
    headers = langfuse.headers(spec.public_key, spec.secret_key.value)
    named: dict[str, Value] = {**resource, **({"langfuse.environment": spec.environment} if spec.environment else {})}

    def encode(spans: Sequence[Span]) -> bytes:
        return otlp.encoded((replace(span, attributes=langfuse.dressed(span)) for span in spans), named, __version__)

    post = _post(egress, spec.url.rstrip("/") + langfuse.PATH, headers, spec.timeout, otlp.MEDIA_TYPE)
    return Exporter(name, post, encode, otlp.rejected, room=whole.queue, every=whole.every)


def _post(egress: Egress, url: str, headers: Mapping[str, str], timeout: float, media_type: str) -> Post:
    sent = Fields({"content-type": media_type, "content-encoding": "gzip"}).plus(headers)

    async def post(body: bytes) -> Posted:
        try:
            async with asyncio.timeout(timeout), egress.request("POST", url, headers=sent, body=body) as response:
                answer = await response.read(_MOST_ANSWER)
                return Posted(response.status, answer, _seconds(response.headers.get("retry-after", "")))
        except (Refusal, TimeoutError):
            return Posted(0)

    return post


def _seconds(text: str) -> float:
    """A `Retry-After` in seconds; a date, which nobody sends here, counts as none."""
    return min(float(text), _LONGEST_WAIT) if text.isascii() and text.isdigit() else 0.0
