"""What of a model request matters for where it goes: its estimated size, what it needs, and with whose calls it stays.

Sizes decide between deployments only, never whether a request is taken: the provider counts for itself.
"""

import re

from hub.call import Caller
from hub.llm.endpoints import Kind
from hub.llm.head import Head
from hub.routing.plan import Question
from hub.routing.route import Need, Route, Sticky

BYTES_A_TOKEN = 4
"""Of JSON around English text. Other scripts have more bytes to a character and fewer characters to a token, which evens out."""

TOKENS_A_MEDIUM = 1000
"""An image, about."""

_IMAGE = re.compile(rb'"type"\s*:\s*"(?:image_url|input_image|image)"')
_SCHEMAS = ("response_format", "text", "output_format", "output_config")
_NOTHING: frozenset[Need] = frozenset()
_TALKS = frozenset({"chat", "responses", "messages"})


def question(head: Head, kind: Kind, caller: Caller, door: str, route: Route) -> Question:
    """Only what matters to this route is looked for."""
    needs = _needs(head) if route.needs and kind in _TALKS else _NOTHING
    sticky = _whose(head, caller, door, route.sticky) if route.strategy == "weighted" else ""
    return Question(prompt_tokens(head), head.max_tokens or 0, needs, head.stream, sticky)


def prompt_tokens(head: Head) -> int:
    """About as many as the request is."""
    return head.prompt_bytes // BYTES_A_TOKEN + head.media * TOKENS_A_MEDIUM


def _needs(head: Head) -> frozenset[Need]:
    found: set[Need] = set()
    if head.tools:
        found.add("tools")
    if head.media or _IMAGE.search(head.body):
        found.add("vision")
    if any(b'"json_schema"' in head.value(name) for name in _SCHEMAS):
        found.add("json_schema")
    return frozenset(found)


def _whose(head: Head, caller: Caller, door: str, sticky: Sticky) -> str:
    """Who keeps a variant, apart for each model. A user is whoever the key stands for, else whom the request names beside the key."""
    match sticky:
        case "none":
            return ""
        case "user":
            user = caller.user or (f"{caller.key_id}\0{head.user}" if head.user else caller.key_id)
            return f"{door}\0{caller.org}\0{user}"
        case "key":
            return f"{door}\0{caller.org}\0{caller.key_id}"
