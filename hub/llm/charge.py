"""What a model call may cost at most, and what it did cost: set aside before it is sent, settled when its answer is there.

The bound holds for any usage: a token is at least one byte, the output is at most what was asked for, else what the model can write.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import orjson
from msgspec import Struct

from hub.budget.budgets import Budgets, Left, Reservation, instant, shown
from hub.budget.price_book import PriceBook, Quote
from hub.budget.prices import MOST, Price, bound, cost
from hub.budget.usage import Facts
from hub.call import Call, Caller, Reply, Target, Tokens
from hub.config.values import Dollars
from hub.llm.amount import Amount
from hub.llm.carry import Stream
from hub.llm.delivery import Served
from hub.llm.due import Due
from hub.llm.endpoints import Kind
from hub.llm.head import MOST_OUTPUT, Head
from hub.llm.needs import BYTES_A_TOKEN, prompt_tokens
from hub.llm.providers import Place
from hub.llm.standing import Standing
from hub.llm.unpriced import Unpriced

MEDIUM = 8192
"""Tokens that one image or document in a request is taken for at most, beside an eighth of its base64."""

OUTPUT = 32_768
"""Tokens of output that a model is taken to write at most, where neither the request nor the price table says."""

WINDOW = 128_000
"""Tokens of a conversation that the provider has kept are at most, where the price table does not know the model's context window."""

FRAME = 512
"""Tokens that a provider may add to what it was sent: roles, the form of tools, its own instructions."""

_SILENT = frozenset({"embeddings", "moderations", "count_tokens"})
"""Kinds of calls that write nothing."""
_KEPT = ("previous_response_id", "conversation", "prompt")
"""What of a request for a response names text that the model reads and the provider has."""

_ABSENT = (b"", b"null")
_TAGS = 16


class Money(Struct, frozen=True):
    """What a call costs is found out, set aside and told by these."""

    budgets: Budgets
    prices: PriceBook
    standing: Standing
    unpriced: Unpriced


class Figure(Struct, frozen=True):
    """What a call to one deployment costs at most. `estimate` in nano-dollars, None without a price; `most`: tokens it is bounded by."""

    quote: Quote | None
    estimate: int | None
    most: Tokens


class Charge:
    """The money of one call (`hub.plan.Charge`), with a reservation for the deployment that is asked."""

    def __init__(self, money: Money, places: Mapping[str, Place], kind: Kind, head: Head) -> None:
        self._budgets = money.budgets
        self._book = money.prices
        self._standing = money.standing
        self._unpriced = money.unpriced
        self._places = places
        self._kind: Kind = kind
        self.free = kind == "count_tokens"
        """Whether it costs nothing whoever is asked: then nothing is set aside, and no row is written."""
        self._head = head
        self._caller: Caller | None = None
        self._call: Call | None = None
        self._held: Reservation | None = None
        self._quote: Quote | None = None
        self._attempts = 0
        self._asked = False
        """Whether anything may have been sent."""
        self._tags = _tags(head.metadata) if head.metadata else {}
        self._stream: Stream | None = None
        self._amount: Amount | None = None
        self.estimate: int | None = None
        """Nano-dollars that were set aside; None for a model without a price."""

    async def reserve(self, call: Call, caller: Caller) -> None:
        """Set aside what the call costs at most at its first deployment. Raises `BudgetExceeded`, `Limited`, `Unpriced`, `StoreDown`."""
        assert call.target is not None
        self._call, self._caller = call, caller
        await self.move(call.target)

    async def move(self, target: Target) -> None:
        """The call is about to be sent to this deployment: what stood for another is given back. Raises as `reserve` does."""
        if self.free:
            return
        held = self._held
        if held is not None:
            if held.target == target:
                return
            held.refund()
        assert self._call is not None
        assert self._caller is not None
        self._attempts += 1
        figure = self.figure(target, self._caller)
        self._quote, self.estimate, most = figure.quote, figure.estimate, figure.most
        price = self._price
        name = self._call.id if self._attempts == 1 else f"{self._call.id}:{self._attempts}"
        reserved = self._budgets.reserve(name, self._caller, target, self.estimate, most)
        held = self._held = reserved if isinstance(reserved, Reservation) else await reserved
        least = Tokens(input=min(most.input, self._head.prompt_bytes // 8))
        waiting = held.dispatching(0 if price is None else cost(price, least), least, self._facts("unknown", 0))
        if waiting is not None:
            await waiting

    def figure(self, target: Target, caller: Caller) -> Figure:
        """What a call of this caller to this deployment would cost at most. Changes nothing."""
        if self.free:
            return Figure(None, 0, Tokens())
        spec = self._places[target.upstream].provider.spec
        listed = self._book.kind(target.upstream, spec.like, spec.base_url)
        quote = self._book.quote(target.upstream, listed, target.name, org=caller.org, service=self._service())
        most = self._most(listed, target)
        return Figure(quote, None if quote is None else min(bound(quote.price, most.input, most.output), MOST), most)

    @property
    def _price(self) -> Price | None:
        return None if self._quote is None else self._quote.price

    async def settle(self, reply: Reply, microseconds: int) -> Reply:
        """Spend what the answer cost; it bears that from then on. An answer that is the provider's error costs nothing. What is due later
        is settled then.
        """
        held, price = self._held, self._price
        if held is None:
            return reply
        assert self._call is not None
        assert isinstance(reply, Served)
        reported = tokens = self._reported(reply)
        status = "error" if reply.error or reply.is_error else "ok"
        facts = dict(reply.facts or {})
        if reply.error:
            spent, tokens = 0, Tokens()
        elif tokens is None:
            tokens, estimated = self._inferred(held, reply)
            spent, status = self._spent(tokens), "estimated" if estimated else status
            reported = None if estimated else tokens
            facts |= _told(spent, tokens, status)
        else:
            spent = None if price is None else cost(price, tokens)
        settling = held.settle(spent, tokens, self._facts(status, microseconds))
        if settling is not None:
            await settling
        usage = msgspec.structs.replace(reply.usage, tokens=reported, cost=spent)
        if spent is not None:
            facts["cost"] = spent
        if self._quote is not None and not reply.error:
            facts["price"] = self._quote.told()
        if self._quote is None and not reply.error:
            facts["unpriced"] = True
            self._unpriced.sent(self._call, held.caller, held.target)
        if held.left:
            self._standing.note(held.caller, held.left)
            facts["budgets"] = [_standing(left) for left in held.left]
        return msgspec.structs.replace(reply, usage=usage, facts=facts)

    def _reported(self, reply: Served) -> Tokens | None:
        """What the provider says that the answer consumed. Who streamed words and counts none of them has not said it."""
        tokens = reply.usage.tokens
        if tokens is not None and not tokens.output and self._amount is not None and self._amount.length:
            return None
        return tokens

    def due(self) -> Due:
        """What another process is to settle it by, should this one die."""
        assert self._held is not None
        return Due(self._held, self._price, self._facts("ok", 0))

    def defer(self) -> Due:
        """The answer is still being made when the call ends: what was set aside is handed over, to be settled later."""
        due, self._held = self.due(), None
        return due

    def asking(self) -> None:
        """From now on it may have been sent."""
        self._asked = True

    def unsent(self) -> None:
        """No model has worked for it: nothing is spent."""
        if self._held is not None:
            self._held.refund()

    def follow(self, stream: Stream, amount: Amount) -> None:
        """The answer has begun to stream: what is known of it should it not come to its end."""
        self._stream, self._amount = stream, amount

    def end(self, microseconds: int) -> dict[str, Any] | None:
        """The call is over, however it ended. What was sent and not settled is spent: of a stream by what came of it, else at what it
        cost at least. Where it never came to be sent, as without a durable intent, nothing is.
        """
        held = self._held
        if held is None or held.ended:
            return None
        if not self._asked:
            held.refund()
            return None
        if not held.sent or self._amount is None:
            with held:
                return None
        tokens, estimated = self._cut(held)
        spent, status = self._spent(tokens), "estimated" if estimated else "error"
        held.settle(spent, tokens, self._facts(status, microseconds))
        by: dict[str, Any] = {"unpriced": True} if self._quote is None else {"price": self._quote.told()}
        return _told(spent, tokens, status) | by

    @property
    def _seen(self) -> Tokens | None:
        """What was said of a stream's consumption while it came."""
        return None if self._stream is None else self._stream.tokens

    def _cut(self, held: Reservation) -> tuple[Tokens, bool]:
        """What a stream consumed that did not come to its end, or to a report at its end; whether that is an estimate.

        The output is what it reported, or what it had streamed by then if that is more; the input what it reported, else the least. It is
        never more than what was set aside.
        """
        assert self._amount is not None
        seen = self._seen
        known = seen or held.least_tokens
        came = min(self._amount.tokens, held.tokens.output)
        return msgspec.structs.replace(known, output=max(known.output, came)), seen is None or came > seen.output

    def _inferred(self, held: Reservation, reply: Served) -> tuple[Tokens, bool]:
        """What an answer consumed of whose end nothing was said; whether that is an estimate."""
        if self._amount is None or not (reply.is_error or self._seen is not None):
            return self._unsaid(held, reply), True
        tokens, estimated = self._cut(held)
        return tokens, estimated or not reply.is_error

    def _unsaid(self, held: Reservation, reply: Served) -> Tokens:
        """What an answer consumed whose provider does not say: both directions are estimated from their bytes."""
        came = self._amount.tokens if self._amount is not None else -(-len(reply.result) // BYTES_A_TOKEN)
        read = held.tokens.input if self._kept else prompt_tokens(self._head)
        return Tokens(input=min(read, held.tokens.input), output=min(came, held.tokens.output))

    def _spent(self, tokens: Tokens) -> int | None:
        """What estimated usage costs; never more than was set aside."""
        spent = None if self._price is None else cost(self._price, tokens)
        return spent if spent is None or self.estimate is None else min(spent, self.estimate)

    @property
    def caller(self) -> Caller:
        assert self._caller is not None  # known from `reserve` on
        return self._caller

    @property
    def target(self) -> Target:
        """The deployment it is sent to now."""
        assert self._held is not None
        return self._held.target

    @property
    def door(self) -> str:
        """The model as the caller named it."""
        assert self._call is not None
        return self._call.door

    @property
    def shown(self) -> str:
        """The estimate in US dollars, empty where there is none."""
        return "" if self.estimate is None else str(Dollars(self.estimate))

    def _most(self, listed: str, target: Target) -> Tokens:
        head = self._head
        taken = head.prompt_bytes + FRAME + head.media * MEDIUM + head.media_bytes // 8
        if self._kind in _SILENT:
            return Tokens(input=taken)
        known = self._book.facts(listed, target.name) if listed else None
        if self._kept:
            taken = max(taken, (known.window if known is not None else 0) or WINDOW)
        cap = head.max_tokens if head.max_tokens is not None else (known.max_output if known is not None else 0) or OUTPUT
        return Tokens(input=taken, output=min(cap * head.texts, MOST_OUTPUT))

    @property
    def _kept(self) -> bool:
        """Whether the model reads what only the provider has."""
        return self._kind == "responses" and any(self._head.value(name) not in _ABSENT for name in _KEPT)

    def _service(self) -> str:
        if "service_tier" not in self._head.spans:
            return ""
        raw = self._head.value("service_tier")
        return orjson.loads(raw) if raw[:1] == b'"' else ""

    def _facts(self, status: str, microseconds: int) -> Facts:
        call = self._call
        assert call is not None
        return Facts(call.kind, call.door, status, microseconds, self._attempts, self._tags)


def _tags(metadata: dict[str, Any]) -> dict[str, str]:
    return {name[:64]: value[:256] for name, value in list(metadata.items())[:_TAGS] if isinstance(value, str)}


def _told(spent: int | None, tokens: Tokens, status: str) -> dict[str, Any]:
    """The same, for the record of the outcome."""
    found: dict[str, Any] = {"usage": msgspec.to_builtins(tokens), "estimated": status == "estimated"}
    return found if spent is None else found | {"cost": spent}


def _standing(left: Left) -> dict[str, Any]:
    said = {"budget": left.budget, "scope": left.scope, "left": shown(left.unit, left.left)}
    if left.override is not None:
        said |= {"amount": shown(left.unit, left.cap), "override_until": instant(left.override)}
    return said
