"""How reasoning that only its maker can read travels through another family's dialect and back. Pure.

A signature of Anthropic's, or OpenAI's encrypted reasoning, has to be given back unchanged to the provider that made it, and to no
other: that one would refuse the request. A client that speaks the other dialect gets it inside that dialect's own opaque field, under
a mark of the hub's; when it comes back, the mark says whose it is.
"""

from typing import Any, cast

from hub.llm.canonical import Origin, Reasoning

MARK = "hub-reasoning-1."
"""Stands in no provider's own signatures: base64 has no hyphen before a full stop."""


def foreign(body: bytes) -> bool:
    """Whether a request, as raw JSON, holds reasoning under the hub's mark: it cannot be passed through as it is (`purged`)."""
    return MARK.encode() in body


def purged(request: dict[str, Any]) -> dict[str, Any]:
    """A request of any dialect without the reasoning under the hub's mark: what may go to a provider of the client's own dialect.

    Where that was the thought behind calls of tools whose results are at hand now, Anthropic would refuse to think on without it.
    """
    found = dict(request)
    for name in ("messages", "input"):
        if isinstance(items := found.get(name), list):
            found[name] = [kept for item in cast("list[Any]", items) if (kept := _purged(item)) is not None]
    thinking: Any = found.get("thinking")
    if (
        isinstance(thinking, dict)
        and cast("dict[str, Any]", thinking).get("type") == "enabled"
        and _calls_without_thought(found.get("messages"))
    ):
        del found["thinking"]
    return found


def _purged(item: Any) -> Any:
    """A message or an item; None where nothing is left of it."""
    if not isinstance(item, dict):
        return item
    kept = dict(cast("dict[str, Any]", item))
    if _marked(kept.get("encrypted_content")):
        return None
    details, content = kept.get("reasoning_details"), kept.get("content")
    if isinstance(details, list) and any(_holds_mark(one) for one in cast("list[Any]", details)):
        for name in ("reasoning_details", "reasoning_content", "reasoning"):
            kept.pop(name, None)
    if isinstance(content, list):
        blocks = [block for block in cast("list[Any]", content) if not _holds_mark(block)]
        if content and not blocks:
            return None
        kept["content"] = blocks
    return kept


def _calls_without_thought(messages: Any) -> bool:
    last = next((one for one in reversed(_objects(messages)) if one.get("role") == "assistant"), None)
    kinds = [block.get("type") for block in _objects(last.get("content"))] if last else []
    return "tool_use" in kinds and "thinking" not in kinds and "redacted_thinking" not in kinds


def _objects(items: Any) -> list[dict[str, Any]]:
    return [cast("dict[str, Any]", one) for one in cast("list[Any]", items) if isinstance(one, dict)] if isinstance(items, list) else []


def _holds_mark(block: Any) -> bool:
    return isinstance(block, dict) and any(_marked(cast("dict[str, Any]", block).get(name)) for name in ("signature", "data"))


def _marked(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(MARK)


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
