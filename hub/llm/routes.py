"""Every route of the model edge, and whether what is asked there costs money. A path that has no place here is not served.

A billable route is metered: its call is set aside for, settled, and one row of the usage ledger. No other route is. A test goes through
all of them (tests/journeys/test_meter.py).
"""

import re
from typing import Literal

from msgspec import Struct

from hub.llm.endpoints import ENDPOINTS


class Route(Struct, frozen=True):
    """`path` has a name in braces where anything may stand; of a model, slashes too (`provider/model`)."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    billable: bool = False


ROUTES: tuple[Route, ...] = (
    *(Route("POST", path, endpoint.billable) for path, endpoint in ENDPOINTS.items()),
    Route("GET", "/v1/responses/{response}"),
    Route("DELETE", "/v1/responses/{response}"),
    Route("POST", "/v1/responses/{response}/cancel"),
    Route("GET", "/v1/responses/{response}/input_items"),
    Route("GET", "/v1/models"),
    Route("GET", "/v1/models/{model}"),
    Route("GET", "/v1/messages"),
    Route("GET", "/v1/usage"),
    Route("GET", "/v1/usage/summary"),
)

_PATHS = frozenset(route.path for route in ROUTES if "{" not in route.path)
_WITH_NAMES = tuple(
    re.compile(path.replace("{model}", ".*").replace("{response}", "[^/]*"))
    for path in dict.fromkeys(route.path for route in ROUTES if "{" in route.path)
)


def placed(path: str) -> bool:
    """Whether there is such a route, by whatever method."""
    return path in _PATHS or any(one.fullmatch(path) for one in _WITH_NAMES)
