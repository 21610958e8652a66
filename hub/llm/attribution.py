"""A hashed word for whose call it is, put into a request for a provider where the client gave none. Pure; off unless switched on.

Sources: OpenAI's API reference (`safety_identifier`, which took the place of `user`: a hashed, stable identifier of the end user, at most
64 characters), Anthropic's (`metadata.user_id`: an opaque identifier, a hash, no name).
"""

import hmac
from typing import Any

import orjson

from hub.call import Caller
from hub.llm.head import Head, read
from hub.llm.quirks import Quirks

_USER = frozenset({"/chat/completions", "/responses", "/completions", "/embeddings"})
_SAFE = frozenset({"/chat/completions", "/responses"})
_ANTHROPIC = "/v1/messages"
_THEIRS = frozenset({"user", "safety_identifier"})


def pseudonym(key: bytes, caller: Caller) -> str:
    """32 hexadecimal digits, the same for the same user of an organisation; for the same key where no user is known."""
    who = caller.user or (caller.subject if caller.subject.startswith("user:") else f"key:{caller.key_id}")
    return hmac.digest(key, orjson.dumps([caller.org, who]), "sha256").hex()[:32]


def attributed(body: bytes, path: str, wire: str, quirks: Quirks, name: str) -> bytes:
    """`body`, a request as it would go to `path` of a provider, with `name` as a member; every other byte stays.

    As it came where the client says who it is for, or where the provider has no member for it.
    """
    path = path.partition("?")[0]
    if wire == "anthropic":
        return _in_metadata(read(body, "messages"), name) if path == _ANTHROPIC else body
    member = "safety_identifier" if quirks.shared and path in _SAFE else "user" if quirks.user and path in _USER else ""
    if not member or not _THEIRS.isdisjoint(read(body).spans):
        return body
    return _first(body, member, name)


def _in_metadata(head: Head, name: str) -> bytes:
    value, body = head.value("metadata"), head.body
    if not value:
        return _first(body, "metadata", {"user_id": name})
    _, start, end = head.spans["metadata"]
    if head.metadata and head.metadata.get("user_id") is not None:
        return body
    rest = {name: member for name, member in (head.metadata or {}).items() if name != "user_id"}
    return body[:start] + orjson.dumps({**rest, "user_id": name}) + body[end:]


def _first(body: bytes, member: str, value: Any) -> bytes:
    """As the first member of an object that has others."""
    at = body.index(b"{") + 1
    return b"%b%b:%b,%b" % (body[:at], orjson.dumps(member), orjson.dumps(value), body[at:])
