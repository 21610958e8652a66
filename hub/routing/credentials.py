"""What a provider is shown to let the hub in, and what must be taken out of all it says. Values that change are found as they are now."""

from msgspec import Struct

from hub.config.models import ProviderSpec
from hub.config.values import Secret
from hub.http1_head import Fields
from hub.refusal import NoCredential
from hub.routing.scrub import Scrubber
from hub.routing.vault import Slot, Value

JSON, EVENTS = "application/json", "text/event-stream"


class Shown(Struct, frozen=True):
    """The headers of requests with one key, which stands in either of two; `scrubber` knows it and every other secret of the provider."""

    value: Value | None
    bearer: Fields
    named: Fields
    scrubber: Scrubber

    def __repr__(self) -> str:
        return "Shown(***)"


class Credentials:
    """Of one provider. `slot`: where its key is, if it is one of the vault's."""

    def __init__(self, spec: ProviderSpec, slot: Slot | None) -> None:
        own = {name: value.value if isinstance(value, Secret) else value for name, value in spec.headers.items()}
        self._base = Fields({"content-type": JSON, "accept": f"{JSON}, {EVENTS}"}).plus(own)
        self._secrets = [value.value for value in spec.headers.values() if isinstance(value, Secret)]
        self._slot = slot or Slot()
        self._needed = slot is not None
        if slot is None and spec.api_key is not None:
            self._slot.fill(Value(spec.api_key.value))
        self._made: tuple[Value | None, Value | None] | None = None
        self._shown: list[Shown] = []

    def present(self) -> Shown:
        """What to show now. Raises `NoCredential` where the vault has no value that can be used."""
        slot = self._slot
        made = self._made
        if made is None or made[0] is not slot.present or made[1] is not slot.before:
            self._make(slot.present, slot.before)
        return self._shown[0]

    def other(self, refused: Shown) -> Shown | None:
        """What else there is to show to a provider that did not take this: the newer one if there is one now, else the one before it."""
        self.present()
        return next((shown for shown in self._shown if shown.value is not refused.value), None)

    def _make(self, present: Value | None, before: Value | None) -> None:
        if present is None and self._needed:
            raise NoCredential("the hub has no usable key for this provider at the moment")
        values = [present, *([before] if before is not None else [])]
        scrubber = Scrubber(text.encode() for text in (*self._secrets, *(value.text for value in values if value is not None)) if text)
        self._shown = [self._with(value, scrubber) for value in values]
        self._made = (present, before)

    def _with(self, value: Value | None, scrubber: Scrubber) -> Shown:
        if value is None or not value.text:
            return Shown(value, self._base, self._base, scrubber)
        bearer = self._base.plus({"authorization": f"Bearer {value.text}"})
        return Shown(value, bearer, self._base.plus({"x-api-key": value.text}), scrubber)
