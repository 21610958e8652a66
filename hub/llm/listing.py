"""The list of models as a caller sees it: only what it may use, in the words of either family."""

from typing import Any

import orjson

from hub.call import Call, Caller, Reply
from hub.llm.catalogue import Catalogue, Model
from hub.llm.delivery import Served
from hub.llm.errors import Dialect
from hub.plan import Plan
from hub.policy.cedar import ENDPOINTS
from hub.policy.decide import Policy
from hub.refusal import NotFound

_JSON = ((b"content-type", b"application/json"),)
_EPOCH = "1970-01-01T00:00:00Z"


class Listing:
    """Resolves `GET /v1/models` and, with a name, `GET /v1/models/{name}` (`hub.plan.View`)."""

    def __init__(self, catalogue: Catalogue, policy: Policy, name: str, dialect: Dialect) -> None:
        self._catalogue = catalogue
        self._policy = policy
        self._name = name
        self._dialect = dialect

    def resolve(self, call: Call, caller: Caller) -> Plan:
        """Raises `NotFound` for a model that is not there, or not for this caller: the two look the same."""
        if not self._name:
            return Plan(call, answer=self._all)
        model = self._catalogue.find(self._name, caller)
        if model is None or not self._usable(model, caller):
            raise NotFound("there is no such model for this key", data={"param": "model"})
        return Plan(call, answer=self._one)

    async def _one(self, caller: Caller) -> Reply:
        model = self._catalogue.find(self._name, caller)
        assert model is not None  # it was there a moment ago, and a catalogue never changes
        return Served(result=orjson.dumps(self._entry(model)), headers=_JSON)

    async def _all(self, caller: Caller) -> Reply:
        shown = [self._entry(model) for model in self._catalogue.models.values() if self._there(model, caller)]
        if self._dialect == "messages":
            ends = {"first_id": shown[0]["id"], "last_id": shown[-1]["id"]} if shown else {"first_id": None, "last_id": None}
            return Served(result=orjson.dumps({"data": shown, "has_more": False, **ends}), headers=_JSON)
        return Served(result=orjson.dumps({"object": "list", "data": shown}), headers=_JSON)

    def _there(self, model: Model, caller: Caller) -> bool:
        return self._catalogue.find(model.name, caller) is not None and self._usable(model, caller)

    def _usable(self, model: Model, caller: Caller) -> bool:
        return any(self._policy.allows(caller, model.name, target, kind) for target in model.route.targets for kind in ENDPOINTS)

    def _entry(self, model: Model) -> dict[str, Any]:
        if self._dialect == "messages":
            return {"type": "model", "id": model.name, "display_name": model.name, "created_at": _EPOCH}
        return {"id": model.name, "object": "model", "created": 0, "owned_by": model.org}
