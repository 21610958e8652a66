"""A provider's stream on its way to the client, event by event as it comes, with a sign of life where it is silent."""

from collections.abc import Awaitable, Callable
from hashlib import sha256

from hub import sse
from hub.call import Chunk, Emit, Usage
from hub.deadlines import NEVER
from hub.llm.amount import Amount
from hub.llm.announced import Announced, Announcement
from hub.llm.carry import Stream
from hub.llm.delivery import Served
from hub.llm.errors import Dialect
from hub.refusal import UpstreamFault
from hub.routing.provider import Attempt

KEEP_ALIVE: dict[Dialect, bytes] = {
    "chat": b": keep-alive\n\n",
    "responses": b": keep-alive\n\n",
    "messages": b'event: ping\ndata: {"type": "ping"}\n\n',
}
"""What a client gets while its provider is silent. Only between whole events."""

_ENDS = (b"\n\n", b"\n\r\n", b"\r\r")

Keep = Callable[[Announced], Awaitable[None]]
"""Writes whose a stored answer is."""


async def streamed(
    attempt: Attempt,
    stream: Stream,
    emit: Emit,
    dialect: Dialect,
    keep_alive: float,
    *,
    amount: Amount | None = None,
    keep: Keep | None = None,
) -> Served:
    """Carry it to its end; its last bytes are in what is returned. `keep_alive` in seconds, 0: never.

    `amount` is fed what the provider says. `keep` is awaited before the event that bears the answer's id goes out.
    """
    digest, size = sha256(), 0
    announcement = None if keep is None else Announcement()
    silence = keep_alive or NEVER
    alive = KEEP_ALIVE[dialect]
    whole_events = True
    chunk: bytes | None = attempt.body
    while chunk != b"":
        if chunk is None:
            out = alive if whole_events else b""
        else:
            size += len(chunk)
            if amount is not None:
                amount.feed(chunk)
            out = stream.feed(chunk)
            if announcement is not None and keep is not None:
                out = _heard(announcement, out)
                if announcement.said is not None:
                    await keep(announcement.said)
                    announcement = None
        if out:
            whole_events = out.endswith(_ENDS)
            digest.update(out)
            await emit(Chunk("", out))
        chunk = await attempt.more(silence)
    stream.finish()
    last = stream.last if announcement is None else announcement.rest() + stream.last
    digest.update(last)
    whole = b"sha256:" + digest.hexdigest().encode()
    return Served(result=last, is_error=stream.failed, usage=Usage(0, size, stream.tokens if stream.told else None), committed=whole)


def _heard(announcement: Announcement, out: bytes) -> bytes:
    try:
        return announcement.feed(out)
    except sse.Overflow:
        raise UpstreamFault("an event of the provider's stream is too long") from None
