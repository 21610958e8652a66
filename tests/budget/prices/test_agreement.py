"""The hub and genai-prices itself say the same: 9,000 calls over every model there, answered by that package (`scripts/prices/answers.py`)."""

import gzip
import json
from collections import Counter
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

from hub.budget.price_book import PriceBook
from hub.budget.price_table import embedded
from hub.budget.prices import FREE, cost
from hub.call import Tokens

ANSWERS: dict[str, Any] = json.loads(gzip.decompress((Path(__file__).parent / "genai_answers.json.gz").read_bytes()))


def test_the_answers_are_of_the_version_the_table_was_made_of() -> None:
    assert ANSWERS["genai_prices"] == next(source.version for source in embedded().sources if source.name == "genai-prices")


def test_every_call_costs_what_genai_prices_says_to_the_nano_dollar() -> None:
    book, seen = PriceBook(), Counter[str]()
    for call in ANSWERS["calls"]:
        provider, model = call["provider"], call["model"]
        price = book.find(provider, provider, model, at=call["at"], service=call.get("service", ""))
        if not call["found"]:  # LiteLLM may know it
            seen["unknown there"] += 1
            assert price is None or book.facts(provider, model).source == "litellm", call
        elif not call.get("tells", True):  # priced by the hour or the page; by the image, which the hub takes all output for; or not at all
            seen["no price by tokens"] += 1
            assert price is None or call["makes"] or (call["empty"] and price == FREE), call
        else:
            seen["compared"] += 1
            assert price is not None, call
            exact = Fraction(call["nano"])
            made = cost(price, Tokens(**call["tokens"]))
            if call["exact"]:
                assert made == floor(exact + Fraction(1, 2)), call
            else:  # a figure there is the residue of a binary float
                seen["compared, of a rounded figure"] += 1
                assert abs(made - exact) <= 2, call
    assert seen["compared"] > 6000
    assert seen["compared, of a rounded figure"] < 100
    assert seen["unknown there"] < 500
