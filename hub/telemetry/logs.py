"""Structured logs on stderr: one JSON object a line, or short text on a terminal. Keys, payloads and headers are never logged."""

import logging
import re
import sys
from typing import Any, Literal, cast

import orjson

from hub.call import timestamp

_KEY = re.compile(r"hub_[0-9A-Za-z]{4,}_[0-9A-Za-z]+")
_BEARER = re.compile(r"(?i)(bearer|basic)\s+[^\s\"']+")


def scrub(text: str) -> str:
    """Remove what looks like a credential. The hub logs none on purpose; this guards texts that came from elsewhere."""
    return _BEARER.sub(r"\1 ***", _KEY.sub("hub_***", text))


def _scrubbed(value: Any) -> Any:
    if isinstance(value, str):
        return scrub(value)
    return [_scrubbed(item) for item in cast("list[Any]", value)] if isinstance(value, list | tuple) else value


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "ts": timestamp(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": scrub(record.getMessage()),
            **{name: _scrubbed(value) for name, value in getattr(record, "fields", {}).items()},
        }
        if record.exc_info:
            entry["error"] = scrub(self.formatException(record.exc_info))
        return orjson.dumps(entry, default=str).decode()


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {k}={v}" for k, v in getattr(record, "fields", {}).items())
        error = "\n" + self.formatException(record.exc_info) if record.exc_info else ""
        return scrub(f"{timestamp()[11:23]} {record.levelname.lower():7} {record.getMessage()}{fields}{error}")


def set_up(level: str, form: Literal["auto", "text", "json"]) -> None:
    """Send all logging to stderr at `level`."""
    handler = logging.StreamHandler(sys.stderr)
    text = form == "text" or (form == "auto" and sys.stderr.isatty())
    handler.setFormatter(_Text() if text else _Json())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("uvicorn").setLevel("WARNING" if level != "debug" else "DEBUG")
    logging.getLogger("asyncio").setLevel("ERROR" if level != "debug" else "DEBUG")


def fields(**values: Any) -> dict[str, dict[str, Any]]:
    """`logger.info("…", extra=fields(upstream=name))`"""
    return {"fields": values}
