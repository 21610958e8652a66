"""Identifiers as each dialect spells them. Pure: the same identifier in is the same identifier out."""

import re
from hashlib import sha256

_PREFIXES = ("chatcmpl-", "msg_", "resp_", "gen-", "cmpl-")
_ANTHROPIC = re.compile(r"[A-Za-z0-9_-]{1,128}")
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def answer_id(identity: str, prefix: str) -> str:
    """The id of an answer under the prefix its dialect wants: `msg_…`, `resp_…`, `chatcmpl-…`."""
    if identity.startswith(prefix):
        return identity
    bare = next((identity.removeprefix(known) for known in _PREFIXES if identity.startswith(known)), identity)
    return prefix + (re.sub(r"[^A-Za-z0-9_-]", "_", bare) or "0")


def item_id(answer: str, prefix: str, index: int) -> str:
    """The id of one item of a Responses answer: the answer's, with its place."""
    return f"{prefix}_{answer.removeprefix('resp_')}_{index}"


def given_id(answer: str, index: int) -> str:
    """An id for a tool call whose provider gave none: one that no other answer has."""
    return f"call_{sha256(answer.encode()).hexdigest()[:16]}_{index}"


def user_id(identity: str, longest: int) -> str:
    """A user's identifier as it is; one that is longer than the provider takes, as Claude Code's are, as its digest."""
    return identity if len(identity) <= longest else sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()


def anthropic_tool_id(identity: str) -> str:
    """Anthropic takes letters, digits, `_` and `-`; anything else becomes a digest, the same for call and result."""
    return identity if _ANTHROPIC.fullmatch(identity) else "toolu_" + sha256(identity.encode()).hexdigest()[:24]


def nine(identity: str) -> str:
    """Mistral takes exactly nine letters and digits."""
    if len(identity) == 9 and identity.isascii() and identity.isalnum():
        return identity
    number, found = int.from_bytes(sha256(identity.encode()).digest()[:8], "big"), ""
    for _ in range(9):
        number, digit = divmod(number, 62)
        found += _DIGITS[digit]
    return found
