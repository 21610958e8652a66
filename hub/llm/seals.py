"""How reasoning that only its maker can read travels through another family's dialect and back. Pure.

A signature of Anthropic's, or OpenAI's encrypted reasoning, has to be given back unchanged to the provider that made it, and to no
other: that one would refuse the request. A client that speaks the other dialect gets it inside that dialect's own opaque field, under
a mark of the hub's; when it comes back, the mark says whose it is.
"""

from typing import cast

from hub.llm.canonical import Origin, Reasoning

MARK = "hub-reasoning-1."
"""Stands in no provider's own signatures: base64 has no hyphen before a full stop."""


def foreign(body: bytes) -> bool:
    """Whether a request, as raw JSON, holds reasoning under the hub's mark: it must then be read and written, not passed through."""
    return MARK.encode() in body


def seal(reasoning: Reasoning, home: Origin) -> str:
    """The opaque field of `home`'s dialect for this reasoning: its own seal bare, another's under the mark; empty where it has none."""
    if not reasoning.seal or reasoning.origin in ("", home):
        return reasoning.seal
    return f"{MARK}{reasoning.origin}.{'h' if reasoning.hidden else 's'}.{reasoning.id}.{reasoning.seal}"


def marked(reasoning: Reasoning, home: Origin) -> str:
    """The same, and never empty: what bears no seal is marked as nothing `home`'s provider made, who would refuse it bare."""
    return seal(reasoning, home) or f"{MARK}{reasoning.origin or 'openai'}.s.{reasoning.id}."


def unseal(field: str, home: Origin, *, text: str = "", identity: str = "", hidden: bool = False) -> Reasoning:
    """The reasoning behind an opaque field that arrived in `home`'s dialect."""
    if not field.startswith(MARK):
        return Reasoning(text, field, home if field else "", hidden, identity)
    origin, kind, original, inner = field[len(MARK) :].split(".", 3) if field.count(".") >= 4 else ("", "s", "", "")
    if origin not in ("openai", "anthropic"):
        return Reasoning(text, id=identity)
    return Reasoning(text, inner, cast("Origin", origin), kind == "h", original)
