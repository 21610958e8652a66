"""A call that refers to what a provider keeps (a stored response, a conversation): it goes to that provider, and nowhere else.

Who keeps it stands in the database, which is asked only for a caller whom limits have let through and who may use the model at all.
"""

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from hub.call import Call, Caller
from hub.llm.dispatch import Errand, no_model
from hub.llm.references import Reference
from hub.plan import Plan, View


class Following(Struct, frozen=True):
    """How it resolves (`hub.plan.View`). `named` is what it refers to; `view` makes of an errand that knows where that is kept what the
    call resolves by then."""

    errand: Errand
    named: tuple[Reference, ...]
    view: Callable[[Errand], View]

    def resolve(self, call: Call, caller: Caller) -> Plan:
        """Raises `NotFound` for a model that is not there for this caller. Where policy allows none of its deployments, the call goes its
        ordinary way, on which it is denied."""
        errand = self.errand
        model = errand.catalogue.find(errand.head.model, caller)
        if model is None:
            raise no_model()
        if not any(errand.policy.allows(caller, model.name, one, errand.endpoint.kind) for one in model.route.targets):
            return self.view(errand).resolve(call, caller)

        async def locate() -> Plan:
            pin = await errand.rooms.stored.pin(caller, self.named)
            return self.view(replace(errand, pin=pin)).resolve(call, caller)

        return Plan(replace(call, door=model.name), locate=locate)
