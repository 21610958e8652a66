"""Sections of models: providers, and the routes that aliases take to them."""

from typing import Annotated, Literal

from msgspec import Meta, field

from hub.config.mcp import Breaker
from hub.config.values import Count, KeptSecret, Name, Owner, Part, Positive, Secret, Shared


class ProviderSpec(Part, frozen=True):
    """A provider of models, spoken to over HTTP."""

    wire: Annotated[Literal["openai", "anthropic"], Meta(description="The API it speaks: OpenAI's, which most copy, or Anthropic's.")]
    base_url: Annotated[str, Meta(description="Where its API begins, such as `https://api.openai.com/v1` or `https://api.anthropic.com`.")]
    org: Owner = "default"
    shared: Shared = False
    api_key: Annotated[
        KeptSecret | None,
        Meta(
            description="The hub's own key there: a reference such as `${NAME}`, or `vault:NAME` (docs/vault.md). No client ever sees it."
        ),
    ] = None
    like: Annotated[
        str, Meta(description="The known provider it behaves like, such as `groq` or `vllm`; unset: told by its name, then by the host.")
    ] = ""
    headers: Annotated[dict[str, str | Secret], Meta(description="Further headers of each request.")] = field(
        default_factory=dict[str, str | Secret]
    )
    timeout: Annotated[Positive, Meta(description="Seconds without a byte of the answer before an attempt is given up.")] = 120.0
    max_timeout: Annotated[Positive, Meta(description="Seconds an answer may take in all.")] = 1800.0
    max_reply: Annotated[int, Meta(ge=1024, description="Largest answer taken whole, in bytes.")] = 64 * 1024 * 1024
    concurrency: Annotated[Count, Meta(description="Calls in flight to this provider.")] = 1024
    breaker: Annotated[Breaker, Meta(description="When one of its deployments is left alone; each model is counted for itself.")] = (
        Breaker()
    )
    attribution: Annotated[
        bool, Meta(description="Whether it is told, hashed, whose call it is, where the client does not say (docs/observability.md).")
    ] = False


class Deployment(Part, frozen=True):
    """One place where a model is to be had."""

    provider: Annotated[Name, Meta(description="Name of the provider.")]
    model: Annotated[str, Meta(min_length=1, max_length=256, description="What the provider calls the model.")]
    weight: Annotated[int, Meta(ge=0, description="Its share with the strategy `weighted`; 0: only where the others fail.")] = 1
    context_window: Annotated[Count | None, Meta(description="Tokens it takes, question and answer; larger requests go elsewhere.")] = None
    lacks: Annotated[
        tuple[Literal["tools", "vision", "json_schema"], ...],
        Meta(description="What it cannot do: requests that need it go elsewhere."),
    ] = ()


class RouteRule(Part, frozen=True):
    """Other deployments for some requests. The first rule that fits counts; where both conditions are given both must hold."""

    route: Annotated[tuple[Deployment, ...], Meta(min_length=1, description="Where these requests go instead.")]
    prompt_over: Annotated[Count | None, Meta(description="For requests of more than about so many tokens.")] = None
    budget_under: (
        Annotated[int, Meta(ge=1, le=100, description="For callers with less than so many percent of their tightest budget left.")] | None
    ) = None


class Retry(Part, frozen=True):
    """Asking the same deployment again: where it could not be connected to, or says itself that it will soon be ready."""

    times: Annotated[int, Meta(ge=0, le=10, description="How often for one call, at each deployment.")] = 1
    within: Annotated[float, Meta(ge=0, description="Seconds one call may wait for that in all.")] = 2.0


class ModelSpec(Part, frozen=True):
    """A model as clients name it, and where calls of it go."""

    route: Annotated[tuple[Deployment, ...], Meta(min_length=1, description="Where it is to be had.")]
    org: Owner = "default"
    shared: Shared = False
    title: Annotated[str, Meta(description="Name for people.")] = ""
    strategy: Annotated[
        Literal["order", "weighted", "latency", "cost"],
        Meta(description="Who is asked first: the first of the route, one drawn by weight, the quickest, the cheapest."),
    ] = "order"
    sticky: Annotated[
        Literal["key", "user", "none"],
        Meta(description="With `weighted`: whose calls stay with one deployment: each key's, each user's (else the key's), nobody's."),
    ] = "key"
    explore: Annotated[Positive, Meta(description="With `latency`: seconds after which one that was not asked is tried again.")] = 30.0
    rules: Annotated[tuple[RouteRule, ...], Meta(description="Other deployments for some requests.")] = ()
    retry: Annotated[Retry, Meta(description="Asking the same deployment again.")] = Retry()
