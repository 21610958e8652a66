"""Sections of what is told about calls: spans, Langfuse, metrics."""

from typing import Annotated, Literal

from msgspec import Meta, field

from hub.config.values import Count, Name, Part, Positive, Secret


class OtlpSpec(Part, frozen=True):
    """A collector of spans that takes OTLP over HTTP."""

    endpoint: Annotated[str, Meta(description="Its address, such as `http://collector:4318`; `/v1/traces` is put after it.")]
    headers: Annotated[dict[str, str | Secret], Meta(description="Headers of each request, such as an API key.")] = field(
        default_factory=dict[str, str | Secret]
    )
    protocol: Annotated[
        Literal["http/protobuf", "http/json"],
        Meta(description="Encoding, by OpenTelemetry's names: binary, which every collector takes, or JSON."),
    ] = "http/protobuf"
    timeout: Annotated[Positive, Meta(description="Seconds a request may take.")] = 10.0


class LangfuseSpec(Part, frozen=True):
    """A project of Langfuse."""

    public_key: Annotated[str, Meta(description="The project's public key, `pk-lf-…`.")]
    secret_key: Annotated[Secret, Meta(description="Its secret key, `sk-lf-…`.")]
    url: Annotated[str, Meta(description="Where Langfuse is: a region of its cloud, or your own.")] = "https://cloud.langfuse.com"
    environment: Annotated[
        str,
        Meta(pattern=r"^(?!langfuse)[a-z0-9_-]{0,40}$", description="Environment the traces are filed under; unset: Langfuse's default."),
    ] = ""
    timeout: Annotated[Positive, Meta(description="Seconds a request may take.")] = 10.0


class Telemetry(Part, frozen=True):
    """What the hub tells of itself: logs, and spans (docs/observability.md)."""

    log_level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="Least severe level written.")] = "info"
    log_format: Annotated[Literal["auto", "text", "json"], Meta(description="`auto`: text on a terminal, else JSON.")] = "auto"
    access_log: Annotated[bool, Meta(description="Whether each call is a line of the log, at level info.")] = False
    otlp: Annotated[dict[Name, OtlpSpec], Meta(description="Collectors that get the spans of sampled calls, by name.")] = field(
        default_factory=dict[str, OtlpSpec]
    )
    langfuse: Annotated[dict[Name, LangfuseSpec], Meta(description="Projects of Langfuse that get them, by name.")] = field(
        default_factory=dict[str, LangfuseSpec]
    )
    sample: Annotated[
        float,
        Meta(ge=0, le=1, description="Share of the traces that begin here which is sampled. A caller's own trace: as its header says."),
    ] = 1.0
    service: Annotated[str, Meta(description="`service.name` of the spans.")] = "countersign"
    queue: Annotated[Count, Meta(description="Spans that may wait for each target; more are dropped and counted.")] = 16384
    every: Annotated[Positive, Meta(description="Seconds between two batches.")] = 2.0
    grace: Annotated[float, Meta(ge=0, description="Seconds spared for the last batches when the hub stops.")] = 2.0
