"""Prices of one's own, from the text of `hub.yaml` to the price of a call."""

from pathlib import Path

import pytest

from hub.budget.price_book import PriceBook
from hub.budget.prices import FREE, PER, Long, Price, Rates, cost
from hub.call import Tokens
from hub.config.load import ConfigError, load

Y2026, Y2027, Y2028 = 1767225600, 1798761600, 1830297600


def book(folder: Path, text: str) -> PriceBook:
    (folder / "hub.yaml").write_text(text)
    return PriceBook(load(folder / "hub.yaml", environ={"RATE": "0.7"}).config.prices)


def rate(found: Price | None) -> int | None:
    return None if found is None else found.rates.input


def test_figures_are_read_exactly_however_they_are_written(tmp_path: Path) -> None:
    prices = book(
        tmp_path,
        """
prices:
  - model: exact
    input: 0.1
    output: "0.30"
    cache_read: 0.000000001
    cache_write: 3
    audio_in: 1.10
    reasoning: 123456.123456789
    call: 0.005
    search: "0.01"
    long: [{over: 200000, input: 0.2, output: "${RATE}"}]
""",
    )
    found = prices.find("any", "", "exact")
    rates = Rates(
        100_000_000,
        300_000_000,
        cache_read=1,
        cache_write=3_000_000_000,
        cache_write_1h=3_000_000_000,
        audio_in=1_100_000_000,
        reasoning=123_456_123_456_789,
    )
    assert found == Price(rates, (Long(200_000, Rates(200_000_000, 700_000_000)),), 5_000_000 * PER, 10_000_000 * PER)
    assert cost(found, Tokens(10, 10, requests=2)) == 1_000 + 3_000 + 5_000_000 + 20_000_000


def test_they_win_over_the_table_and_other_models_keep_its_prices(tmp_path: Path) -> None:
    prices = book(
        tmp_path, "prices: [{provider: openai, model: gpt-5-mini, input: 9, output: 9}, {provider: local-*, model: '*', free: true}]"
    )
    assert rate(prices.find("openai", "openai", "gpt-5-mini")) == 9_000_000_000
    assert rate(prices.find("openai", "openai", "gpt-5-mini", service="priority")) == 9_000_000_000
    assert rate(prices.find("openai", "openai", "gpt-5-nano")) == 50_000_000
    assert rate(prices.find("second", "openai", "gpt-5-mini")) == 250_000_000
    assert prices.find("local-gpu", "vllm", "llama-3") == FREE
    assert prices.find("localhost", "vllm", "llama-3") is None


def test_dates_are_the_history_of_one_pattern_and_the_first_pattern_that_has_begun_holds(tmp_path: Path) -> None:
    prices = book(
        tmp_path,
        """
prices:
  - {model: fast-1, input: 3, effective_from: "2028-01-01T00:00:00Z"}
  - {model: fast-1, input: 1, effective_from: "2026-01-01T00:00:00Z"}
  - {model: fast-1, input: 2, effective_from: "2027-01-01T01:00:00+01:00"}
  - {model: fast-*, input: 7}
  - {model: "*", input: 8}
""",
    )
    asked = [(Y2026 - 1, 7), (Y2026, 1), (Y2027 - 1, 1), (Y2027, 2), (Y2028 - 1, 2), (Y2028, 3)]
    assert [rate(prices.find("p", "", "fast-1", at=at)) for at, _ in asked] == [dollars * 10**9 for _, dollars in asked]
    assert rate(prices.find("p", "", "fast-2", at=Y2026)) == 7 * 10**9
    assert rate(prices.find("p", "", "slow", at=Y2026)) == 8 * 10**9


def test_those_of_an_organisation_come_first_and_are_its_own(tmp_path: Path) -> None:
    prices = book(
        tmp_path,
        """
orgs: {acme: {}}
prices:
  - {model: m, input: 1}
  - {model: m, input: 2, org: acme}
  - {model: m, input: 3, org: acme, service: batch}
  - {model: m, input: 4, service: standard, provider: other}
""",
    )
    assert rate(prices.find("p", "", "m")) == 10**9
    assert rate(prices.find("p", "", "m", org="acme")) == 2 * 10**9
    assert rate(prices.find("p", "", "m", org="acme", service="batch")) == 2 * 10**9  # the first that fits, as in the file
    assert rate(prices.find("p", "", "m", service="flex")) == 10**9


def test_a_class_of_service_has_a_price_of_its_own_where_it_stands_first(tmp_path: Path) -> None:
    prices = book(tmp_path, "prices: [{model: m, input: 3, service: batch}, {model: m, input: 4, service: standard}]")
    assert rate(prices.find("p", "", "m", service="batch")) == 3 * 10**9
    assert rate(prices.find("p", "", "m")) == 4 * 10**9
    assert rate(prices.find("p", "", "m", service="default")) == 4 * 10**9
    assert prices.find("p", "", "m", service="priority") is None


def test_an_edit_counts_from_the_next_question(tmp_path: Path) -> None:
    prices = book(tmp_path, "prices: [{model: m, input: 3}]")
    assert rate(prices.find("p", "", "m")) == 3 * 10**9
    prices.declare(load_prices(tmp_path, "prices: [{model: m, input: 4}]"))
    assert rate(prices.find("p", "", "m")) == 4 * 10**9
    prices.declare(())
    assert prices.find("p", "", "m") is None


def load_prices(folder: Path, text: str):
    (folder / "hub.yaml").write_text(text)
    return load(folder / "hub.yaml", environ={}).config.prices


@pytest.mark.parametrize(
    ("text", "path", "why"),
    [
        ("{model: m}", "prices[0]", "give `input`"),
        ("{input: 1}", "prices[0]", "`model` is missing"),
        ("{model: m, free: true, output: 1}", "prices[0].free", "no `output`"),
        ("{model: m, input: -1}", "prices[0].input", "not an amount"),
        ("{model: m, input: 1e-3}", "prices[0].input", "not an amount"),
        ("{model: m, input: 0.0000000001}", "prices[0].input", "not an amount"),
        ("{model: m, input: true}", "prices[0].input", "amount"),
        ("{model: m, input: 1, effective_from: 2026-01-01}", "prices[0].effective_from", "RFC 3339"),
        ("{model: m, input: 1, service: turbo}", "prices[0].service", "expected one of"),
        ("{model: m, input: 1, long: [{over: 5, input: 1}, {over: 5, input: 2}]}", "prices[0].long[1].over", "longer"),
        ("{model: m, input: 1, long: [{over: 5}]}", "prices[0].long[0]", "`input` is missing"),
        ("{model: m, input: 1, org: nobody}", "prices[0].org", "no organisation"),
    ],
)
def test_what_makes_no_price_is_refused_with_its_place(tmp_path: Path, text: str, path: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        book(tmp_path, f"orgs: {{acme: {{}}}}\nprices:\n  - {text}\n")
    (problem,) = caught.value.problems
    assert (problem.line, problem.path) == (3, path)
    assert why in problem.message


def test_an_own_price_is_in_the_hash_of_the_configuration(tmp_path: Path) -> None:
    hashes = set()
    for amount in ("1", "1.0", "2"):
        (tmp_path / "hub.yaml").write_text(f"prices: [{{model: m, input: {amount}}}]")
        hashes.add(load(tmp_path / "hub.yaml", environ={}).hash)
    assert len(hashes) == 2
