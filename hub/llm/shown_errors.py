"""Refusals of the model edge as the document tells them: by the status they have in each family's words."""

from hub.llm.errors import Dialect, refused
from hub.openapi.operation import Errors
from hub.openapi.refusals import example, grouped, kinds
from hub.openapi.shapes import named

_ELSEWHERE = frozenset(
    {
        *("header_mismatch", "missing_capability", "unsupported_version", "session_not_found"),
        *("not_acceptable", "invalid_params", "host_refused"),
    }
)
"""Refusals that no model call meets: they are MCP's, or the server's before any edge is reached."""

_WAITS = ("retry-after", "retry-after-ms", "x-should-retry")
_PROVIDERS = "The provider's own error, with its own status, in the words of the dialect that was asked."


def _codes(dialect: Dialect) -> dict[str, tuple[str, ...]]:
    """The refusals by the status they have in a dialect. A budget may be configured to answer 402 or 403."""
    sent = [kind for kind in kinds() if kind.code not in _ELSEWHERE]
    pairs = [(refused(example(kind), dialect).status, kind.code) for kind in sent]
    return grouped([*pairs, (402, "budget_exceeded"), (403, "budget_exceeded")])


OPENAI = Errors("openai", named("OpenAIError"), _codes("chat"), headers=("x-request-id", "hub-receipt"), waits=_WAITS, otherwise=_PROVIDERS)
ANTHROPIC = Errors(
    "anthropic",
    named("AnthropicError"),
    _codes("messages"),
    headers=("x-request-id", "request-id", "hub-receipt"),
    waits=_WAITS,
    otherwise=_PROVIDERS,
)
EITHER = Errors(
    "either",
    (OPENAI.shape, ANTHROPIC.shape),
    grouped((int(status), code) for errors in (OPENAI, ANTHROPIC) for status, codes in errors.codes.items() for code in codes),
    headers=ANTHROPIC.headers,
    waits=_WAITS,
)
"""Where either family asks, and is answered in its own words."""
