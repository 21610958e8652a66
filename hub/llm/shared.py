"""What OpenAI's two dialects have in common: hints under one name, files, efforts. Pure."""

from hub.llm.canonical import Document, Thinking
from hub.llm.fields import Members
from hub.llm.media import join, split

SHARED = (
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "safety_identifier",
    "store",
    "verbosity",
)
"""Hints both dialects take (`verbosity` stands under `text` in Responses). No other family has them."""

_EFFORTS = ((4096, "low"), (16384, "medium"))
_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 32768, "max": 65536}


def effort(thinking: Thinking) -> str:
    """The effort that was asked for, or the one a budget of tokens comes nearest to; empty where nobody asked."""
    if thinking.effort or thinking.budget is None:
        return thinking.effort
    return next((name for bound, name in _EFFORTS if thinking.budget < bound), "high")


def budget(thinking: Thinking) -> int:
    """The tokens that were asked for, or those an effort stands for."""
    return thinking.budget if thinking.budget is not None else _BUDGETS.get(thinking.effort, _BUDGETS["medium"])


def document(holder: Members) -> Document:
    """A file given inline or by URL. A file's id is known to its own provider alone."""
    if holder.any("file_id") is not None:
        holder.refuse("is known to its own provider alone", "file_id")
    name, url, data = holder.text("filename", ""), holder.text("file_url", ""), holder.text("file_data", "")
    if url:
        return Document(url=url, name=name)
    try:
        inline = split(data)
    except ValueError as error:
        holder.refuse(f"cannot be read: {error}", "file_data")
    if not data:
        holder.refuse("is missing", "file_data")
    return (
        Document(media_type=inline[0], data=inline[1], name=name)
        if inline
        else Document(media_type="application/pdf", data=data, name=name)
    )


def file_members(part: Document) -> dict[str, str]:
    """The members of a file that is given inline."""
    return {"filename": part.name or "document.pdf", "file_data": join(part.media_type or "application/pdf", part.data)}


def titled(part: Document) -> str:
    """A document that is plain text, as text."""
    return f"{part.name}\n\n{part.text}" if part.name else part.text
