"""What of a model request matters for where it goes: its estimated size, what it needs, and with whose calls it stays.

Sizes decide between deployments only, never whether a request is taken: the provider counts for itself.
"""

import re

from hub.call import Caller
from hub.llm.endpoints import Kind
from hub.llm.head import Head
from hub.routing.plan import Question
from hub.routing.route import Need, Sticky

BYTES_A_TOKEN = 4
"""Of JSON around English text. Other scripts have more bytes to a character and fewer characters to a token, which evens out."""

TOKENS_A_MEDIUM = 1000
"""An image, about."""

_IMAGE = re.compile(rb'"type"\s*:\s*"(?:image_url|input_image|image)"')
_SCHEMAS = ("response_format", "text", "output_format", "output_config")
_TALKS = frozenset({"chat", "responses", "messages"})


def question(head: Head, kind: Kind, caller: Caller, door: str, sticky: Sticky) -> Question:
    prompt = head.prompt_bytes // BYTES_A_TOKEN + head.media * TOKENS_A_MEDIUM
    needs: set[Need] = set()
    if kind in _TALKS:
        if head.tools:
            needs.add("tools")
        if head.media or _IMAGE.search(head.body):
            needs.add("vision")
        if any(b'"json_schema"' in head.value(name) for name in _SCHEMAS):
            needs.add("json_schema")
    return Question(prompt, head.max_tokens or 0, frozenset(needs), head.stream, _whose(head, caller, door, sticky))


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
