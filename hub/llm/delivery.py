"""How the answer to a model call goes out: whole, or as the stream it is. Knows no dialect but for the shape of an error."""

import time

from hub.audit.journal import Receipt
from hub.call import Chunk, Reply
from hub.edge.exchange import Exchange
from hub.llm.errors import Answer, Dialect, in_band, refused
from hub.plan import Answer as Governed
from hub.refusal import Refusal, Unauthenticated

HEADERS = list[tuple[bytes, bytes]]
CSV: HEADERS = [(b"content-type", b"text/csv; charset=utf-8; header=present"), (b"cache-control", b"no-store")]


class Served(Reply, frozen=True):
    """What a provider answered: over HTTP with this status and these headers; of a stream, its last bytes."""

    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Delivery:
    """Implements `hub.plan.Delivery`. A stream begins with its first bytes; its last ones go out when its end is on record."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.first = 0
        """When the first bytes of a stream went out, by `time.perf_counter_ns`; 0: none did."""
        self._intent: Receipt | None = None

    def opened(self, receipt: Receipt) -> None:
        self._intent = receipt

    async def emit(self, chunk: Chunk) -> None:
        exchange = self.exchange
        if not exchange.streaming:
            self.first = time.perf_counter_ns()
            if self._intent is not None:
                exchange.extra.append((b"hub-receipt", self._intent.header().encode()))
            await exchange.start_stream()
        await exchange.part(chunk.params)

    async def finish(self, answer: Governed) -> None:
        exchange, reply = self.exchange, answer.reply
        if exchange.streaming:
            await exchange.last(b": hub-receipt: " + answer.receipt.header().encode() + b"\n\n" + reply.result)
            return
        assert isinstance(reply, Served)
        exchange.extra.append((b"hub-receipt", answer.receipt.header().encode()))
        await exchange.whole(reply.status, list(reply.headers), reply.error or reply.result)


class Lines(Delivery):
    """A file that goes out as it is read, such as CSV, or an answer that is whole. What fails within a file breaks it off."""

    def __init__(self, exchange: Exchange, name: str) -> None:
        super().__init__(exchange)
        self._name = name

    async def emit(self, chunk: Chunk) -> None:
        exchange = self.exchange
        if not exchange.streaming:
            exchange.framed = False
            if self._intent is not None:
                exchange.extra.append((b"hub-receipt", self._intent.header().encode()))
            told = b'attachment; filename="' + self._name.encode() + b'"'
            await exchange.start_stream([*CSV, (b"content-disposition", told)])
        await exchange.part(chunk.params)

    async def finish(self, answer: Governed) -> None:
        if self.exchange.streaming:
            await self.exchange.last(answer.reply.result)
            return
        await super().finish(answer)


async def refuse(exchange: Exchange, dialect: Dialect, refusal: Refusal, receipt: Receipt | None) -> None:
    """Answer with a refusal in the dialect; inside a stream it is the last event, and a stream that is not on record ends without one."""
    said = b": hub-receipt: " + receipt.header().encode() + b"\n\n" if receipt is not None else b""
    if exchange.streaming and not exchange.framed:
        await exchange.abort()
        return
    if exchange.streaming:
        unrecorded = refusal.code == "outcome_unrecorded"
        await exchange.last(b"" if unrecorded else said + in_band(refusal, dialect, request_id=exchange.request_id))
        return
    if receipt is not None:
        exchange.extra.append((b"hub-receipt", receipt.header().encode()))
    named = (b"request-id", exchange.request_id.encode())
    if dialect == "messages" and named not in exchange.extra:  # it was refused before it was known what it asks
        exchange.extra.append(named)
    if isinstance(refusal, Unauthenticated):
        exchange.extra.append((b"www-authenticate", b'Bearer realm="hub"'))
    answer = refused(refusal, dialect, exchange.request_id)
    await exchange.whole(answer.status, encoded(answer), answer.body)


def encoded(answer: Answer) -> HEADERS:
    return [(name.encode(), value.encode("latin-1", "replace")) for name, value in answer.headers]
