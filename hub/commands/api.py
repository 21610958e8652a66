"""The running hub's admin API, as the commands use it. It knows nothing of what is asked."""

import http.client
import json
import socket
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from hub.commands.output import Failed
from hub.commands.place import hub_url

TIMEOUT = 30.0


def attempt(method: str, path: str, key: str | None, url: str | None, config: Path | None, body: Any = None) -> Any:
    """Ask the hub. None where no admin key is at hand, or nothing listens at the configured address: then the database is the way.

    Raises `Failed` with the hub's own sentence where it refuses, and where a hub that was named by its URL does not answer.
    """
    if not key:
        if url:
            raise Failed("the hub wants its admin key: give --admin-key or HUB_ADMIN_KEY")
        return None
    address = url or hub_url(config)
    try:
        return _ask(method, address, path, key, body)
    except (OSError, http.client.HTTPException) as error:
        if url is None and isinstance(error, ConnectionRefusedError):
            return None
        reason = "it did not answer in time" if isinstance(error, socket.timeout) else f"it cannot be reached ({_reason(error)})"
        raise Failed(f"no answer from the hub at {address}: {reason}") from None


def _ask(method: str, address: str, path: str, key: str, body: Any) -> Any:
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise Failed(f"not an http or https URL: {address}", code=2)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=TIMEOUT)
    headers = {"authorization": f"Bearer {key}", "accept": "application/json"}
    if body is not None:
        headers["content-type"] = "application/json"
    try:
        connection.request(method, parts.path.rstrip("/") + path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        content = response.read()
    except ValueError:  # a key with a line break or the like; the message would hold it
        raise Failed("the admin key cannot be sent: it is not a hub key", code=2) from None
    finally:
        connection.close()
    return _answer(response.status, content)


def _answer(status: int, content: bytes) -> Any:
    try:
        value: Any = json.loads(content)
    except ValueError:
        raise Failed(f"what answers there is no hub (HTTP {status}, not JSON)") from None
    if status < 400:
        return value
    said = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    inner: Any = said.get("error")
    if isinstance(inner, dict):  # the words of the models edge
        error = cast("dict[str, Any]", inner)
        raise Failed(str(error.get("message") or f"HTTP {status}"), data={"code": error.get("code"), "status": status})
    data = {name: said[name] for name in ("code", "status") if name in said}
    raise Failed(str(said.get("detail") or said.get("title") or f"HTTP {status}"), data=data)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
