"""What reading a stream of typed events has in common, whoever's they are: each names its `type`, and one of them is the last. Pure."""

from abc import ABC, abstractmethod

import orjson

from hub import sse
from hub.call import Tokens
from hub.llm.canonical import Event, Failed, Fault
from hub.llm.fields import Members
from hub.refusal import UpstreamFault

_TRUNCATED = Fault("broken", "the provider's stream ended before its answer did")
_UNREADABLE = Fault("broken", "the provider's stream could not be read")


class TypedReader(ABC):
    """Feed it one stream's events, then say that it ended. After `Finished` or `Failed` nothing more comes."""

    def __init__(self) -> None:
        self._over = False
        self.usage: Tokens | None = None
        """What has been said so far of the consumption."""

    def feed(self, event: sse.Event) -> list[Event]:
        """`[DONE]`, with which gateways end what they do not know, says nothing."""
        if self._over or event.data.strip() == b"[DONE]":
            return []
        try:
            source = Members(orjson.loads(event.data), fails=UpstreamFault)
            return self._event(source, source.text("type", event.event))
        except (orjson.JSONDecodeError, UpstreamFault):
            return self._fail(_UNREADABLE)

    def end(self) -> list[Event]:
        """The bytes ended. After the dialect's own last event there is nothing to say; before it the answer was cut off."""
        return [] if self._over else self._fail(_TRUNCATED)

    def _fail(self, fault: Fault) -> list[Event]:
        self._over = True
        return [Failed(fault)]

    @abstractmethod
    def _event(self, source: Members, kind: str) -> list[Event]:
        """What an event of this type says. Raises `UpstreamFault` for one that cannot be read."""
