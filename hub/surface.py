"""The whole HTTP surface as one document: what each edge says of itself, put together. Loaded when somebody asks for it, not before."""

from functools import cache

import hub.admin.described
import hub.llm.described
import virtual_servers.described
from hub import __version__
from hub.openapi.document import document, text
from hub.openapi.operation import Operation

OPERATIONS: tuple[Operation, ...] = (
    *hub.llm.described.OPERATIONS,
    *virtual_servers.described.OPERATIONS,
    *hub.admin.described.OPERATIONS,
)
"""Every operation, in the order they are read."""

TAGS = {
    "OpenAI": 'As OpenAI\'s SDKs speak it: `OpenAI(base_url="http://localhost:8080/v1", api_key=hub_key)`.',
    "Anthropic": 'As Anthropic\'s SDKs speak it: `Anthropic(base_url="http://localhost:8080", api_key=hub_key)`.',
    "Models": "Which models a key may use.",
    "Usage": "What was used and what it cost. No prompt and no answer is in it.",
    "MCP": "Virtual servers, by the Model Context Protocol over streamable HTTP.",
    "Keys": "Who may call. For operators and for administrators of an organisation.",
    "Prices": "What models cost.",
    "Budgets": "What may be spent, and another amount for a while.",
    "Vault": "Providers' keys, encrypted.",
    "Contents": "What was said in calls, where an organisation has opted in to have it kept. Each reading is on record.",
    "Operations": "What runs, and how it fares.",
    "Health": "For load balancers and supervisors. No key is needed.",
    "Document": "This document, and the page that shows it. No key is needed.",
}
"""What operations are grouped by, in the order they are read."""

INFO = {
    "title": "Countersign",
    "version": __version__,
    "summary": "A governance hub for AI agents: one governed path for every call, and a record anyone can verify.",
    "description": """\
One address for models, in OpenAI's and Anthropic's own APIs, and for MCP servers. A hub key opens all of them, as its grants and roles
say; it is sent as a bearer, as `x-api-key` or as `hub-key`. Bodies that a provider or a protocol defines are described as far as the hub
reads them; whatever else they hold goes on as it came.

Refusals come in the words of whoever asked: RFC 9457 on operators' routes, OpenAI's and Anthropic's envelopes under `/v1`, JSON-RPC under
`/mcp`. Their stable codes are the same everywhere: `x-refusals` lists them. Where an operators' route answers GET, it answers HEAD.""",
    "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
}


@cache
def written() -> str:
    """The document as it is committed (docs/openapi.json), printed (`hub schema --openapi`) and served (`GET /openapi.json`)."""
    return text(document(OPERATIONS, TAGS, INFO))
