"""Which models there are, and where each is to be had: aliases of the configuration, and `provider:model`. Immutable; decides nothing."""

from collections.abc import Callable, Mapping

from msgspec import Struct

from hub.call import Caller, Target
from hub.config.model import Config
from hub.config.models import ModelSpec
from hub.grants import may_enter
from hub.routing.route import Deployed, Route

LONGEST = 256
"""Characters of a provider's name of a model. Clients say it, and it stands in the ledger, which holds no NUL and indexes no long texts."""


class Model(Struct, frozen=True):
    """A model as a client names it, under its one spelling, and where it is to be had."""

    name: str
    org: str
    shared: bool
    route: Route


class Owner(Struct, frozen=True):
    org: str
    shared: bool


class Catalogue(Struct, frozen=True):
    """Of one generation of the configuration."""

    models: Mapping[str, Model]
    providers: Mapping[str, Owner]

    def find(self, name: str, caller: Caller) -> Model | None:
        """The model of that name, if it is there for this caller at all. `provider/model` is `provider:model`."""
        model = self.models.get(name) or self._direct(name)
        return model if model is not None and may_enter(caller, model.org, model.shared) else None

    def _direct(self, name: str) -> Model | None:
        for sign in ":/":
            provider, found, model = name.partition(sign)
            owner = self.providers.get(provider)
            if found and owner is not None and model and len(model) <= LONGEST and model.isprintable():
                return Model(f"{provider}:{model}", owner.org, owner.shared, Route((Deployed(Target(provider, "model", model)),)))
        return None


def compiled(config: Config, route: Callable[[ModelSpec], Route]) -> Catalogue:
    return Catalogue(
        {name: Model(name, spec.org, spec.shared, route(spec)) for name, spec in config.models.items()},
        {name: Owner(spec.org, spec.shared) for name, spec in config.providers.items()},
    )
