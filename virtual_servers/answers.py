"""How an answer or a refusal is put on the wire: JSON-RPC inside, HTTP outside. Knows no MCP method."""

import math
from typing import Any

import orjson

from hub.audit.journal import Receipt
from hub.call import Chunk
from hub.plan import Answer
from hub.refusal import Refusal, Unauthenticated
from virtual_servers.eras import MODERN
from virtual_servers.wire import Exchange

NULL = b"null"
_PROGRESS = "notifications/progress"
_IN_STATUS_400 = (-32020, -32021, -32022)


class Delivery:
    """The answer to one request under way (`hub.plan.Delivery`): it becomes a stream when something precedes the reply."""

    def __init__(self, exchange: Exchange, message_id: bytes) -> None:
        self.exchange = exchange
        self.id = message_id
        self._stream = exchange.takes_stream
        self._intent: Receipt | None = None

    def opened(self, receipt: Receipt) -> None:
        self._intent = receipt

    async def emit(self, chunk: Chunk) -> None:
        """Progress is passed on; other notifications were not asked for (logging is not offered)."""
        if self._stream and chunk.method == _PROGRESS:
            await self.send(notification(chunk.method, chunk.params))

    async def start(self) -> None:
        """Begin the stream, if that has not been done; the intent's receipt stands in its headers."""
        if self.exchange.streaming:
            return
        if self._intent is not None:
            self.exchange.extra.append((b"hub-receipt", self._intent.header().encode()))
        await self.exchange.start_stream()

    async def send(self, data: bytes) -> None:
        await self.start()
        await self.exchange.event(data)

    async def finish(self, answer: Answer, version: str) -> None:
        reply = answer.reply
        if self.exchange.streaming:
            last = error_body(self.id, reply.error) if reply.error else result_body(self.id, reply.result)
            await self.exchange.end_stream(last if reply.error or reply.result else None, f"hub-receipt: {answer.receipt.header()}")
            return
        self.exchange.extra.append((b"hub-receipt", answer.receipt.header().encode()))
        if reply.error:
            await self.exchange.json(_status_of(reply.error, version), error_body(self.id, reply.error))
        else:
            await self.exchange.json(200, result_body(self.id, reply.result))


def result_body(message_id: bytes, result: bytes) -> bytes:
    return b'{"jsonrpc":"2.0","id":' + message_id + b',"result":' + result + b"}"


def error_body(message_id: bytes, error: bytes) -> bytes:
    return b'{"jsonrpc":"2.0","id":' + message_id + b',"error":' + error + b"}"


def notification(method: str, params: bytes) -> bytes:
    body = b'{"jsonrpc":"2.0","method":' + orjson.dumps(method)
    return body + b',"params":' + params + b"}" if params else body + b"}"


def refusal_error(refusal: Refusal) -> bytes:
    """The JSON-RPC error object of a refusal: its stable code stands in `data.code`, the time to wait in `data.retryAfterMs`."""
    data: dict[str, Any] = {"code": refusal.code, **refusal.data}
    if refusal.retry_after is not None:
        data["retryAfterMs"] = math.ceil(refusal.retry_after * 1000)
    return orjson.dumps({"code": refusal.rpc, "message": refusal.message, "data": data})


def status_of(refusal: Refusal, version: str) -> int:
    if refusal.code == "method_not_found" and version == MODERN:
        return 404
    return refusal.status


async def refuse(exchange: Exchange, message_id: bytes, refusal: Refusal, receipt: Receipt | None, version: str) -> None:
    """Answer with a refusal; inside a stream it is the last frame."""
    body = error_body(message_id or NULL, refusal_error(refusal))
    if exchange.streaming:
        unrecorded = refusal.code == "outcome_unrecorded"  # then the stream ends without its last frame
        await exchange.end_stream(None if unrecorded else body, f"hub-receipt: {receipt.header()}" if receipt else "")
        return
    if receipt is not None:
        exchange.extra.append((b"hub-receipt", receipt.header().encode()))
    if refusal.retry_after is not None:
        exchange.extra.append((b"retry-after", str(max(1, math.ceil(refusal.retry_after))).encode()))
    if isinstance(refusal, Unauthenticated):
        exchange.extra.append((b"www-authenticate", b'Bearer realm="hub"'))
    await exchange.json(status_of(refusal, version), body)


def _status_of(error: bytes, version: str) -> int:
    """An upstream's own error keeps the status the newer era fixes for its code; all others are answers (200)."""
    if version != MODERN:
        return 200
    code = orjson.loads(error).get("code")
    return 400 if code in _IN_STATUS_400 else 200
