"""What holds of every price and every usage: more costs no less, a bound is one, parts add up, and no binary float is anywhere near."""

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

import hub.budget
from hub.budget.price_table import embedded
from hub.budget.prices import FREE, MOST, PER, Long, Price, Rates, bound, cost, covers
from hub.call import Tokens

IN, OUT = ("cache_read", "cache_write", "cache_write_1h", "audio_in", "image_in"), ("reasoning", "audio_out")

rate = some.integers(0, 10**12)
part = some.none() | rate
column = some.builds(Rates, rate, part, *[part] * 7)
longs = some.lists(some.tuples(some.integers(0, 3000), column), max_size=3, unique_by=lambda one: one[0])
prices = some.builds(
    lambda rates, long, call, search: Price(rates, tuple(Long(*one) for one in sorted(long, key=lambda one: one[0])), call, search),
    *(column, longs, rate, part),
)
flat = some.builds(lambda rates, call, search: Price(rates, (), call, search), column, rate, part)
count = some.integers(0, 4000)
usages = some.builds(Tokens, *[count] * 9, some.integers(0, 5))


@some.composite
def tidy(draw: some.DrawFn) -> Tokens:
    """A usage whose parts are apart from each other."""
    parts = {name: draw(some.integers(0, 800)) for name in (*IN, *OUT)}
    rest = draw(count), draw(count)
    return Tokens(
        sum(parts[name] for name in IN) + rest[0], sum(parts[name] for name in OUT) + rest[1], **parts, requests=draw(some.integers(0, 5))
    )


@given(prices, usages, count, count, some.integers(0, 3))
def test_no_usage_within_it_costs_more_than_the_bound(price: Price, usage: Tokens, spare_in: int, spare_out: int, more: int) -> None:
    at_most = bound(price, usage.input + spare_in, usage.output + spare_out, usage.requests + more)
    assert 0 <= cost(price, usage) <= at_most


@given(
    some.builds(lambda one, search, call: Price(Rates(one, one, *[one] * 7), (), call, search), *[some.integers(0, 10**24)] * 3),
    some.builds(Tokens, *[some.integers(0, 1 << 40)] * 10),
)
def test_whatever_a_provider_reports_and_an_operator_charges_the_sum_of_thousands_fits_64_bits(price: Price, usage: Tokens) -> None:
    assert 0 <= cost(price, usage) <= MOST
    assert 8000 * MOST < 1 << 63
    assert MOST < 1 << 53


@given(prices, usages, some.integers(1, 500))
def test_a_bound_of_more_is_no_less(price: Price, usage: Tokens, more: int) -> None:
    least = bound(price, usage.input, usage.output, usage.requests)
    assert least <= bound(price, usage.input + more, usage.output, usage.requests)
    assert least <= bound(price, usage.input, usage.output + more, usage.requests)
    assert least <= bound(price, usage.input, usage.output, usage.requests + more)


@given(flat, usages, some.integers(1, 500), some.sampled_from(("input", "output", "requests")))
def test_more_of_anything_costs_no_less(price: Price, usage: Tokens, more: int, what: str) -> None:
    counts = {name: getattr(usage, name) for name in Tokens.__struct_fields__}
    assert cost(price, usage) <= cost(price, Tokens(**counts | {what: counts[what] + more}))


@given(flat, tidy(), some.integers(1, 500), some.sampled_from((*IN, *OUT)))
def test_more_of_a_part_costs_no_less(price: Price, usage: Tokens, more: int, what: str) -> None:
    side = "input" if what in IN else "output"
    counts = {name: getattr(usage, name) for name in Tokens.__struct_fields__}
    grown = counts | {what: counts[what] + more, side: counts[side] + more}
    assert cost(price, usage) <= cost(price, Tokens(**grown))


@pytest.mark.parametrize("dearer", [1, 2])
@given(rates=column, usage=usages, more=some.integers(1, 4000))
def test_a_longer_input_costs_no_less_where_long_ones_are_dearer(dearer: int, rates: Rates, usage: Tokens, more: int) -> None:
    def times(factor: int) -> Rates:
        given = {name: getattr(rates, name) for name in Rates.__struct_fields__}
        return Rates(**{name: None if one is None else one * factor for name, one in given.items()})

    price = Price(rates, (Long(1000, times(dearer)), Long(2000, times(dearer + 1))))
    counts = {name: getattr(usage, name) for name in Tokens.__struct_fields__}
    assert cost(price, usage) <= cost(price, Tokens(**counts | {"input": counts["input"] + more}))


@given(flat, tidy())
def test_the_whole_is_the_sum_of_its_parts_rounded_once(price: Price, usage: Tokens) -> None:
    rates = price.rates
    total = price.call + usage.requests * (price.search or 0)
    for side, names, base in ((usage.input, IN, rates.input), (usage.output, OUT, rates.output or 0)):
        total += side * base
        for name in names:
            own = getattr(rates, name)
            total += getattr(usage, name) * ((base if own is None else own) - base)
    assert cost(price, usage) == (2 * total + PER) // (2 * PER)


def test_half_a_nano_dollar_is_rounded_up() -> None:
    assert [cost(Price(Rates(rate)), Tokens(input=1)) for rate in (0, 499_999, 500_000, 1_499_999, 1_500_000)] == [0, 0, 1, 1, 2]


def test_a_token_that_is_two_parts_at_once_is_charged_once_and_as_the_dearer() -> None:
    price = Price(Rates(5 * PER, cache_read=PER, audio_in=9 * PER))
    assert cost(price, Tokens(input=10, audio_in=4, cache_read=6)) == 4 * 9 + 6
    assert cost(price, Tokens(input=10, audio_in=4, cache_read=10)) == 4 * 9 + 6
    assert cost(price, Tokens(input=10, audio_in=12)) == 10 * 9
    assert cost(Price(Rates(5 * PER, cache_read=PER)), Tokens(input=10, image_in=8, cache_read=6)) == 6 + 4 * 5


def test_what_has_no_figure_is_said() -> None:
    embedding, chat = Price(Rates(PER)), Price(Rates(PER, PER))
    assert covers(embedding, Tokens(input=5))
    assert not covers(embedding, Tokens(input=5, output=1))
    assert not covers(chat, Tokens(requests=1))
    assert covers(Price(Rates(PER, PER), search=0), Tokens(output=2, requests=1))
    assert (cost(FREE, Tokens(9, 9, requests=9)), covers(FREE, Tokens(9, 9, requests=9))) == (0, True)


def test_the_bound_holds_of_every_price_that_comes_with_the_hub() -> None:
    table = embedded()
    for name in table.providers:
        for model in table.provider(name).models:
            for phase in (*model.phases, *(phase for phases in model.services.values() for phase in phases)):
                if phase.price is not None:
                    for size in (1, 99_999, 100_001, 272_001, 1_000_000):
                        usage = Tokens(size, 4096, cache_read=size // 2, cache_write=size // 3, reasoning=2000, requests=2)
                        assert cost(phase.price, usage) <= bound(phase.price, size, 4096, 2), (name, model.id)


@pytest.mark.parametrize(
    "path", sorted(p for p in Path(hub.budget.__path__[0]).glob("*.py") if "price" in p.name), ids=lambda path: path.name
)
def test_no_float_is_made_of_money(path: Path) -> None:
    """No float literal, no true division, no `float`, no `round`."""
    for node in ast.walk(ast.parse(path.read_text())):
        assert not (isinstance(node, ast.Constant) and isinstance(node.value, float))
        assert not isinstance(node, ast.Div)
        assert not (isinstance(node, ast.Name) and node.id in {"float", "round"})
