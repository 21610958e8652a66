"""Which path asks for what: the kinds of model calls, the dialect each speaks, and where it is asked for at a provider. Pure."""

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from hub.llm.errors import Dialect

Kind = Literal["chat", "responses", "messages", "embeddings", "moderations", "completions", "count_tokens"]
Wire = Literal["openai", "anthropic"]


class Endpoint(Struct, frozen=True):
    """`wire` and `path` are of the providers that have it in the same form; `path` stands behind their `base_url`, with a query where the
    request has one that they know (`asked_with`)."""

    kind: Kind
    dialect: Dialect
    wire: Wire
    path: str
    billable: bool = True
    """Whether it costs money: counting tokens does not, at any provider."""


ENDPOINTS: dict[str, Endpoint] = {
    "/v1/chat/completions": Endpoint("chat", "chat", "openai", "/chat/completions"),
    "/v1/responses": Endpoint("responses", "responses", "openai", "/responses"),
    "/v1/completions": Endpoint("completions", "chat", "openai", "/completions"),
    "/v1/embeddings": Endpoint("embeddings", "chat", "openai", "/embeddings"),
    "/v1/moderations": Endpoint("moderations", "chat", "openai", "/moderations"),
    "/v1/messages": Endpoint("messages", "messages", "anthropic", "/v1/messages"),
    "/v1/messages/count_tokens": Endpoint("count_tokens", "messages", "anthropic", "/v1/messages/count_tokens", billable=False),
}
TALKS = {"chat": ENDPOINTS["/v1/chat/completions"], "responses": ENDPOINTS["/v1/responses"], "messages": ENDPOINTS["/v1/messages"]}
"""Those that can be had of a provider of another dialect, in translation."""


PARAMETERS: dict[Kind, frozenset[bytes]] = {"messages": frozenset({b"beta=true"}), "count_tokens": frozenset({b"beta=true"})}
"""Of a query, what goes on to a provider of the same dialect. Anthropic's SDKs up to the generation before the newest
say `beta=true` where a request is made by their `beta`."""


def asked_with(endpoint: Endpoint, query: bytes) -> Endpoint:
    """The endpoint as it is asked for with that query. What its dialect does not know is left out."""
    known = PARAMETERS.get(endpoint.kind, frozenset[bytes]())
    kept = dict.fromkeys(one for one in query.split(b"&") if one in known)
    return replace(endpoint, path=f"{endpoint.path}?{b'&'.join(kept).decode()}") if kept else endpoint


def dialect_of(path: str, headers: dict[bytes, bytes]) -> Dialect:
    """In whose words a request is answered. The list of models is asked for by both families: Anthropic's SDKs name their version."""
    if path.startswith("/v1/messages") or (path.startswith("/v1/models") and b"anthropic-version" in headers):
        return "messages"
    return "responses" if path.startswith("/v1/responses") else "chat"
