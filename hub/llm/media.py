"""Images and files as `data:` URLs (RFC 2397) and as base64 with a media type. Pure; the base64 is never decoded."""

import re

_DATA = re.compile(r"data:([a-zA-Z0-9.+-]+/[a-zA-Z0-9.+-]+)(?:;[a-zA-Z0-9=._-]+)*;base64,", re.ASCII)


def split(url: str) -> tuple[str, str] | None:
    """(media type, base64) of a `data:` URL; None for any other URL. Raises `ValueError` for a `data:` URL without base64."""
    if url[:5].lower() != "data:":
        return None
    found = _DATA.match(url)
    if found is None:
        raise ValueError("a data URL must have a media type and be base64")
    return found[1].lower(), url[found.end() :]


def join(media_type: str, data: str) -> str:
    return f"data:{media_type};base64,{data}"
