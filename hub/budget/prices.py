"""What a call to a model costs, in integers: rates, the price they make up, the cost of what was used, and a bound before it is known.

A rate is in nano-US-dollars per million of what it counts (tokens, calls, searches): one US dollar per million tokens is
1,000,000,000. An amount is in nano-US-dollars. Pure: it knows no model, no file and no clock.
"""

from functools import cached_property

from msgspec import Struct

from hub.call import Tokens

PER = 1_000_000
"""What rates count by."""

MOST = 1 << 50
"""Nano-dollars (a million US dollars) that a call is taken to cost at most, whatever a provider reports: 64 bits hold the sum of thousands
of such, and budgets, of which Redis counts below 2^53, have it exact."""

_HALF = PER // 2


class Rates(Struct, frozen=True, omit_defaults=True):
    """One column of a price list. A part that is None is not priced apart: its tokens cost what its side costs.

    `output` is None where a model has no price for output, as of embeddings.
    """

    input: int
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    audio_in: int | None = None
    image_in: int | None = None
    reasoning: int | None = None
    audio_out: int | None = None


class Long(Struct, frozen=True):
    """Rates of a call whose whole input is more than `over` tokens. They hold for all of its tokens, not for those beyond."""

    over: int
    rates: Rates


class Price(Struct, frozen=True, omit_defaults=True, dict=True):
    """What calls of one model cost. `long` ascends. `call` is charged once for each call, `search` for each of `Tokens.requests`."""

    rates: Rates
    long: tuple[Long, ...] = ()
    call: int = 0
    search: int | None = None

    @cached_property
    def dearest(self) -> tuple[int, int]:
        """What a token of input and of output costs at most, however long the call is not."""
        return _dearest_input(self.rates), _dearest_output(self.rates)


FREE = Price(Rates(0, 0), search=0)
"""A known price of nothing."""


def cost(price: Price, tokens: Tokens) -> int:
    """Nano-dollars of one call: every count times its rate, added up, then rounded once, halves upwards; at most `MOST`.

    The size of the whole input says which rates hold. Where parts of one side add up to more than the side has (a token may be
    both audio and read from the cache), the dearer part counts first, and no token is counted twice.
    """
    rates = price.rates
    if price.long and tokens.input > price.long[0].over:
        rates = next(long.rates for long in reversed(price.long) if tokens.input > long.over)
    total = price.call + tokens.requests * (price.search or 0)
    if tokens.cache_read or tokens.cache_write or tokens.cache_write_1h or tokens.audio_in or tokens.image_in:
        total += _input(tokens, rates)
    else:
        total += tokens.input * rates.input
    if tokens.reasoning or tokens.audio_out:
        total += _side(tokens.output, rates.output or 0, ((tokens.reasoning, rates.reasoning), (tokens.audio_out, rates.audio_out)))
    else:
        total += tokens.output * (rates.output or 0)
    return min((total + _HALF) // PER, MOST)


def bound(price: Price, input_upper: int, output_cap: int, requests: int = 0) -> int:
    """Nano-dollars that no call costs more than, if it has at most this input, output and so many searches: rounded up."""
    total = price.call + requests * (price.search or 0)
    read, written = price.dearest
    most = input_upper * read + output_cap * written
    for long in price.long:
        if input_upper > long.over:
            most = max(most, input_upper * _dearest_input(long.rates) + output_cap * _dearest_output(long.rates))
    return -(-(total + most) // PER)


def covers(price: Price, tokens: Tokens) -> bool:
    """Whether the price has a figure for all that was used. Where it has not, `cost` leaves out what has none."""
    return (price.search is not None or not tokens.requests) and (price.rates.output is not None or not tokens.output)


def _input(tokens: Tokens, rates: Rates) -> int:
    parts = (
        (tokens.cache_read, rates.cache_read),
        (tokens.cache_write, rates.cache_write),
        (tokens.cache_write_1h, rates.cache_write_1h),
        (tokens.audio_in, rates.audio_in),
        (tokens.image_in, rates.image_in),
    )
    return _side(tokens.input, rates.input, parts)


def _side(count: int, base: int, parts: tuple[tuple[int, int | None], ...]) -> int:
    """What one side of a call costs, before rounding."""
    rest, total = count, 0
    for part, rate in parts:
        if part and rate is not None:
            rest -= part
            total += part * rate
    return total + rest * base if rest >= 0 else _overlapping(count, parts)


def _overlapping(count: int, parts: tuple[tuple[int, int | None], ...]) -> int:
    total, left = 0, count
    for rate, part in sorted(((rate, part) for part, rate in parts if rate is not None), reverse=True):
        taken = min(part, left)
        total += taken * rate
        left -= taken
    return total


def _dearest_input(rates: Rates) -> int:
    return max(
        rate or 0 for rate in (rates.input, rates.cache_read, rates.cache_write, rates.cache_write_1h, rates.audio_in, rates.image_in)
    )


def _dearest_output(rates: Rates) -> int:
    return max(rate or 0 for rate in (rates.output, rates.reasoning, rates.audio_out))
