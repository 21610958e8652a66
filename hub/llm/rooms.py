"""What model calls are made with: the same for all calls of a process."""

from msgspec import Struct

from hub.llm.background import Background
from hub.llm.charge import Money
from hub.llm.providers import Providers
from hub.llm.stored import Stored
from hub.routing.router import Router


class Rooms(Struct, frozen=True):
    """`keep_alive`: seconds of silence within a stream after which the client hears that it goes on; 0: never."""

    providers: Providers
    router: Router
    money: Money
    stored: Stored
    background: Background
    keep_alive: float
