"""The tree of YAML nodes, and interpolation: properties."""

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hub.config.interpolate import OUTSIDE, expand
from hub.config.problem import Problem
from hub.config.sensitive import looks_secret
from hub.config.tree import Node, Unreadable, parse

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn", "Cf", "Zl", "Zp")), max_size=12)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT.filter(lambda key: key != "<<"), inner, max_size=4),
    max_leaves=20,
)


def plain(node: Node) -> Any:
    if node.kind == "list":
        return [plain(item) for item in node.items]
    if node.kind == "map":
        return {key.text: plain(value) for key, value in node.entries}
    return node.value


@given(DOCUMENTS)
@settings(max_examples=100, deadline=None)
def test_json_documents_are_read_as_they_are(document: Any) -> None:
    problems: list[Problem] = []
    node = parse(json.dumps(document, ensure_ascii=False), problems)
    assert node is not None
    assert plain(node) == document
    assert problems == []


class Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.2 takes for a number and PyYAML does not, such as `0E0`."""


Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), list("-+.0123456789")
)


@given(DOCUMENTS)
@example(["0E0", "1e5", "0o17", "+.5E-3"])
@settings(max_examples=60, deadline=None)
def test_block_style_reads_like_flow_style(document: Any) -> None:
    node = parse(yaml.dump(document, Dumper=Dumper, default_flow_style=False, allow_unicode=True), [])
    assert node is not None
    assert plain(node) == document


@given(st.text(max_size=60) | st.text("{}[]:,&*-#'\"|>!? \nab", max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_tree_or_a_typed_error(text: str) -> None:
    with contextlib.suppress(Unreadable):
        parse(text, [])


@given(st.text(st.characters(exclude_characters="$"), max_size=20), st.text(max_size=10))
@settings(max_examples=100, deadline=None)
def test_interpolation_touches_nothing_but_references(text: str, value: str) -> None:
    assert expand(text, {}, Path())[0].value == text
    expanded, faults = expand(f"{text}${{A}}{text}$$", {"A": value}, Path())
    assert faults == []
    assert expanded.value == f"{text}{value}{text}$"
    assert expanded.static == f"{text}{OUTSIDE}{text}$"


@given(st.text("${}:-Aa./fie", max_size=20))
@settings(max_examples=200, deadline=None)
def test_values_from_outside_are_not_interpolated_again(text: str) -> None:
    assert expand("${A}", {"A": text}, Path())[0].value == text


def test_names_that_hold_secrets_are_told_by_their_last_word() -> None:
    for name in (
        "GITHUB_TOKEN",
        "Authorization",
        "x-api-key",
        "Cookie",
        "DB_PASSWORD",
        "apiKey",
        "authToken",
        "SECRET",
        "TOKEN2",
        "MYSQL_PWD",
        "HEROKU_APIKEY",
    ):
        assert looks_secret(name), name
    for name in (
        "PATH",
        "HOME",
        "PWD",
        "TOKENIZERS_PARALLELISM",
        "KEY_FILE",
        "AWS_ACCESS_KEY_ID",
        "GIT_AUTHOR_NAME",
        "Accept",
        "MONKEY",
        "",
    ):
        assert not looks_secret(name), name
