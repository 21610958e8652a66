"""A provider of models over HTTP: one attempt at an answer, bounded in number, time and size. It does not know what models say.

What a provider says of the hub's own credentials is between the two: it is never shown to who asked.
"""

import re
import time
from collections.abc import Mapping
from types import TracebackType

from hub.config.models import ProviderSpec
from hub.deadlines import NEVER, Deadlines, Watch
from hub.egress import Egress, Exchange, Response
from hub.refusal import UpstreamFault, UpstreamTimeout
from hub.routing.bulkhead import Bulkhead, Busy
from hub.routing.credentials import EVENTS, Credentials, Shown
from hub.routing.scrub import Stream
from hub.routing.vault import Slot

_SAYS = re.compile(rb"^data:", re.MULTILINE)
_BLANK = re.compile(rb"\n\r?\n|\r\r")
_ERROR = re.compile(rb'^(?:event: ?error|data: ?\{"error")', re.MULTILINE)

MOST_HELD = 64 * 1024
"""Bytes of a stream that are held back for its first event."""

MOST_KEYS = 3
"""How often a call is tried with one key or the other, where one was changed a moment ago: the new one, the old one and, should the
provider have gone over to the new one in between, that again."""

LATE = "the provider did not answer in time"


class Provider:
    """Made once for each generation of the configuration; used in one loop."""

    def __init__(self, name: str, spec: ProviderSpec, egress: Egress, deadlines: Deadlines, slot: Slot | None = None) -> None:
        """`slot`: where the key is, if it is one of the vault's."""
        self.name = name
        self.spec = spec
        self.room = Bulkhead(spec.concurrency)
        self.deadlines = deadlines
        self._egress = egress
        self._base = spec.base_url.rstrip("/")
        self.credentials = Credentials(spec, slot)

    def request(self, path: str, body: bytes, extra: bytes, shown: Shown, *, bearer: bool, method: str = "POST") -> Exchange:
        """`extra`: header lines of this request alone. `bearer`: which of the two headers bears the key.

        What a model is asked twice does no harm: providers close idle connections without a word, and their own SDKs ask again too.
        """
        headers = shown.bearer if bearer else shown.named
        return self._egress.request(method, self._base + path, headers=headers, extra=extra, body=body, harmless=True)


class Attempt:
    """`async with` it for the answer: its head, and the whole body or, of an event stream, the bytes up to the
    first whole event at least.

    `status`, `headers` by lower-case name and `body` are there from then on; `streams` says that there is more, to be had by `more`.
    They hold no secret of the hub's. Where the key was changed a moment ago, one that the provider does not take (401) is followed by
    the other (`MOST_KEYS`). Raises `NoCredential`, `UpstreamDown`, `UpstreamTimeout`, `UpstreamFault`. Leaving it before the end closes
    the connection.
    """

    __slots__ = (
        "_exchange",
        "_extra",
        "_method",
        "_path",
        "_request",
        "_response",
        "_scrub",
        "_shown",
        "_silent_since",
        "_until",
        "_watch",
        "bearer",
        "body",
        "patient",
        "provider",
        "queued",
        "streams",
    )

    def __init__(
        self, provider: Provider, path: str, request: bytes, extra: bytes, *, bearer: bool, deadline: float, method: str = "POST"
    ) -> None:
        """`deadline`: in monotonic seconds, of the call."""
        self.provider = provider
        self.bearer = bearer
        self.body = b""
        self.streams = False
        self.patient = True
        """Whether there is nobody else to ask. If there is, it raises `Busy` where it would have to wait for room among the calls to its
        provider, and `UpstreamFault` where a stream begins with an error, which else goes on as it came.
        """
        self._method = method
        self.queued = 0
        """Microseconds it waited for room among the calls to its provider."""
        self._path = path
        self._request = request
        self._extra = extra
        self._until = min(deadline, time.monotonic() + provider.spec.max_timeout)
        self._exchange: Exchange | None = None
        self._response: Response | None = None
        self._watch: Watch | None = None
        self._silent_since: float | None = None
        self._shown: Shown | None = None
        self._scrub: Stream | None = None

    @property
    def response(self) -> Response:
        assert self._response is not None
        return self._response

    async def __aenter__(self) -> "Attempt":
        provider = self.provider
        self._shown = provider.credentials.present()
        now = time.monotonic()
        if provider.room.room:
            provider.room.room -= 1
        elif not self.patient:
            raise Busy("the server is busy with other calls")
        else:
            try:
                await provider.room.wait(min(self._until, now + provider.spec.timeout))
            finally:
                self.queued = int((time.monotonic() - now) * 1e6)
        self._watch = provider.deadlines.enter(self._due(now))
        try:
            await self._open()
        except BaseException as error:
            self._leave()
            if self._watch.ended():
                raise UpstreamTimeout(LATE) from None
            raise error
        self._watch.due = NEVER
        return self

    @property
    def headers(self) -> Mapping[str, str]:
        assert self._shown is not None
        headers, scrubber = self.response.headers, self._shown.scrubber
        joined = headers.joined()
        return headers if scrubber.whole(joined) is joined else scrubber.fields(headers)

    async def _open(self) -> None:
        assert self._shown is not None
        response = await self._ask(self._shown)
        for _ in range(MOST_KEYS - 1):
            if response.status != 401 or (other := self.provider.credentials.other(self._shown)) is None:
                break
            response.finish()
            await self._close()
            self._shown = other
            response = await self._ask(other)
        try:
            await self._take(response, self._shown)
        except BaseException as error:
            await self._close(error)
            raise

    async def _ask(self, shown: Shown) -> Response:
        exchange = self.provider.request(self._path, self._request, self._extra, shown, bearer=self.bearer, method=self._method)
        self._response = response = await exchange.__aenter__()
        self._exchange = exchange
        return response

    async def _take(self, response: Response, shown: Shown) -> None:
        if response.status == 200 and response.media_type == EVENTS:
            self.streams = True
            self._scrub = shown.scrubber.stream()
            self.body = self._scrub.feed(await self._first(response)) or await self._some(self._scrub)
        else:
            self.body = shown.scrubber.whole(await response.read(self.provider.spec.max_reply))

    async def _some(self, scrub: Stream) -> bytes:
        while chunk := await self.response.some():
            if out := scrub.feed(chunk):
                return out
        return scrub.finish()

    async def _first(self, response: Response) -> bytes:
        """What has arrived when the first event has: until then another provider can still be asked."""
        assert self._watch is not None
        body = await response.some()
        while not _whole_event(body) and len(body) < MOST_HELD:
            self._watch.due = self._due(time.monotonic())
            chunk = await response.some()
            if not chunk:
                raise UpstreamFault("the provider's stream ended before it began")
            body += chunk
        if not self.patient and _ERROR.match(body):
            raise UpstreamFault("the provider's stream began with an error")
        return body

    async def more(self, patience: float = NEVER) -> bytes | None:
        """What has arrived of the stream since the last time; nothing at its end; None where it was silent for `patience` seconds.

        Raises as entering does.
        """
        watch = self._watch
        assert watch is not None
        assert self._scrub is not None
        now = time.monotonic()
        due = self._due(now) if self._silent_since is None else min(self._until, self._silent_since + self.provider.spec.timeout)
        watch.due = min(due, now + patience)
        try:
            chunk = await self._some(self._scrub)
        except BaseException as error:
            if not watch.ended():
                raise error
            if time.monotonic() >= due:
                raise UpstreamTimeout(LATE) from None
            self._silent_since = now if self._silent_since is None else self._silent_since
            return None
        finally:
            watch.due = NEVER
        self._silent_since = None
        return chunk

    async def _close(self, error: BaseException | None = None) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            await exchange.__aexit__(type(error) if error is not None else None, error, error.__traceback__ if error is not None else None)

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._leave()
        if self._exchange is not None:
            await self._exchange.__aexit__(kind, error, trace)

    def _due(self, now: float) -> float:
        return min(self._until, now + self.provider.spec.timeout)

    def _leave(self) -> None:
        assert self._watch is not None
        self.provider.deadlines.leave(self._watch)
        self.provider.room.leave()


def _whole_event(body: bytes) -> bool:
    """Whether an event that says something is complete; comments do not count."""
    said = _SAYS.search(body)
    return said is not None and _BLANK.search(body, said.end()) is not None
