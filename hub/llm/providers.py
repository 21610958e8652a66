"""The providers of one process, as the configuration has them now. One that stays as it was keeps its connections and its bulkhead."""

from collections.abc import Callable, Mapping
from functools import partial
from urllib.parse import urlsplit

from msgspec import Struct

from hub.call import Caller
from hub.config.models import ProviderSpec
from hub.deadlines import Deadlines
from hub.egress import Egress
from hub.llm.attribution import pseudonym
from hub.llm.quirks import PROVIDERS, Quirks, quirks_of
from hub.routing.provider import Provider
from hub.routing.vault import Vault


class Place(Struct, frozen=True):
    """A provider and how it differs from the one that made its dialect. `pseudonym` is what it is told of a caller; None: nothing."""

    provider: Provider
    quirks: Quirks
    pseudonym: Callable[[Caller], str] | None = None


class Providers:
    """`configure` it, then look up `places` by name."""

    def __init__(self, egress: Egress, vault: Vault, key: bytes) -> None:
        """`key`: under which callers are hashed for providers."""
        self.places: dict[str, Place] = {}
        self._egress = egress
        self._vault = vault
        self._pseudonym = partial(pseudonym, key)
        self._deadlines = Deadlines()

    def configure(self, specs: Mapping[str, ProviderSpec]) -> None:
        """Calls under way keep the provider they began with."""
        before = self.places
        self.places = {
            name: before[name] if name in before and before[name].provider.spec == spec else self._place(name, spec)
            for name, spec in specs.items()
        }

    def close(self) -> None:
        self._deadlines.close()

    def _place(self, name: str, spec: ProviderSpec) -> Place:
        told = self._pseudonym if spec.attribution else None
        kept = spec.api_key.vault if spec.api_key is not None else ""
        slot = self._vault.slot(spec.org, kept) if kept else None
        return Place(Provider(name, spec, self._egress, self._deadlines, slot), quirks_of(known(name, spec)), told)


def known(name: str, spec: ProviderSpec) -> str:
    """Which of the known providers it is: as configured, else by its name, else by a part of its host's name. Empty: none of them."""
    if spec.like or name in PROVIDERS:
        return spec.like or name
    parts = (urlsplit(spec.base_url).hostname or "").replace("-", ".").split(".")
    return next((part for part in parts if part in PROVIDERS), "")
