"""What a model thought, in chat completions: a convention of providers, not of OpenAI's. Pure.

The text stands in `reasoning_content` (DeepSeek, xAI, Fireworks, llama.cpp, vLLM) or `reasoning` (Groq, OpenRouter, Together, Vercel,
Ollama). `reasoning_details` (OpenRouter) also holds what only its maker can read, so that a conversation with tools can go on.
"""

from typing import Any, cast

from hub.llm.canonical import Reasoning
from hub.llm.fields import Members
from hub.llm.seals import seal, unseal


def read_thoughts(message: Members) -> list[Reasoning]:
    details = message.any("reasoning_details")
    text = thought(message)
    found: list[Reasoning] = []
    if isinstance(details, list):
        for index, item in enumerate(cast("list[Any]", details)):
            found += _detail(Members(item, f"{message.place('reasoning_details')}[{index}]", message.fails))
    if not found and text:
        found.append(Reasoning(text))
    return found


def thought(holder: Members) -> str:
    """The text under whichever name it stands, once."""
    for name in ("reasoning_content", "reasoning"):
        value = holder.any(name)
        if isinstance(value, str) and value:
            holder.any("reasoning")
            return value
    return ""


def _detail(item: Members) -> list[Reasoning]:
    kind = item.text("type", "")
    if kind == "reasoning.encrypted":
        return [unseal(item.text("data", ""), "", hidden=True)]
    text = item.text("text", "") or item.text("summary", "")
    return [unseal(item.text("signature", ""), "", text=text)] if text or item.any("signature") else []


def details(thoughts: list[Reasoning]) -> list[dict[str, Any]]:
    """`reasoning_details` for what has a seal; empty where nothing has."""
    if not any(one.seal for one in thoughts):
        return []
    return [detail(one, index) for index, one in enumerate(thoughts)]


def detail(one: Reasoning, index: int) -> dict[str, Any]:
    if one.hidden:
        return {"type": "reasoning.encrypted", "data": seal(one, ""), "index": index}
    return {"type": "reasoning.text", "text": one.text, "signature": seal(one, ""), "index": index}
