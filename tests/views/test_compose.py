"""The compiler: what is hidden cannot be reached, deny wins, and what is shown is what the upstream said."""

import json
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.call import Target
from hub.config.mcp import Include, Naming, Override, VirtualServerSpec
from virtual_servers.catalog import Catalogue, Item
from virtual_servers.compose import ComposeError, compose
from virtual_servers.view import View, legacy_result, modern_result

KEYS = {"tool": "name", "prompt": "name", "resource": "uri", "template": "uriTemplate"}
NAMES = ["search", "read", "read_file", "b_read", "a file", "x" * 70]
URIS = ["file:///a", "file:///b", "test://one/1", "test://two"]
TEMPLATES = ["file:///{name}", "test://{+rest}", "test://{broken"]


def raw(kind: str, name: str, **more: Any) -> bytes:
    schema = {"inputSchema": {"type": "object"}} if kind == "tool" else {}
    return json.dumps({KEYS[kind]: name, **schema, **more}).encode()


def item(kind: Any, name: str, **more: Any) -> Item:
    return Item(kind, name, raw(kind, name, **more))


def catalogue(upstream: str, *items: Item, instructions: str = "") -> Catalogue:
    return Catalogue(upstream, "2026-07-28", items, b"{}", b"{}", instructions, "2026-01-01T00:00:00Z")


def view(spec: VirtualServerSpec, *catalogues: Catalogue, strict: bool = False) -> View:
    return compose("demo", spec, {each.upstream: each for each in catalogues}, strict=strict)


def everything(*upstreams: str, **more: Any) -> VirtualServerSpec:
    return VirtualServerSpec(include=tuple(Include(from_=upstream) for upstream in upstreams), **more)


def texts(composed: View) -> str:
    return "\n".join(map(str, composed.problems))


more = st.fixed_dictionaries(
    {},
    optional={
        "title": st.text(max_size=5),
        "description": st.text(max_size=5),
        "annotations": st.dictionaries(st.sampled_from(["readOnlyHint", "k"]), st.booleans()),
        "_meta": st.just({"x": 1.5e3}),
    },
)
items = (
    st.builds(lambda kind, name, extra: item(kind, name, **extra), st.sampled_from(["tool", "prompt"]), st.sampled_from(NAMES), more)
    | st.builds(lambda name, extra: item("resource", name, **extra), st.sampled_from(URIS), more)
    | st.builds(lambda name, extra: item("template", name, **extra), st.sampled_from(TEMPLATES), more)
)
patterns = st.lists(st.sampled_from([*NAMES, *URIS, *TEMPLATES, "*", "read*", "file:*", "*_*", "?ead", "absent"]), max_size=3).map(tuple)
includes = st.builds(
    Include,
    from_=st.sampled_from(["a", "b", "gone"]),
    tools=patterns | st.just(("*",)),
    prompts=patterns | st.just(("*",)),
    resources=patterns | st.just(("*",)),
    exclude=patterns | st.just(()),
)
overrides = st.dictionaries(
    st.sampled_from(["a/search", "a/read", "b/read", "b/absent"]),
    st.builds(
        Override,
        name=st.sampled_from(["", "", "nice", "read"]),
        title=st.none() | st.text(max_size=4),
        description=st.none() | st.text(max_size=4),
        annotations=st.none() | st.just({"readOnlyHint": True, "new": [1]}),
    ),
    max_size=3,
)
specs = st.builds(
    VirtualServerSpec,
    title=st.sampled_from(["", "T"]),
    include=st.lists(includes, max_size=4).map(tuple),
    exclude=st.just(()) | patterns | st.just(("a/*",)) | st.just(("b/read*", "a/file:///a")),
    naming=st.builds(Naming, prefix=st.sampled_from(["never", "auto", "always"]), max_length=st.integers(8, 64)),
    tools=overrides,
    prompts=overrides,
)
catalogues = st.builds(
    lambda first, second: {"a": catalogue("a", *first), "b": catalogue("b", *second)},
    st.lists(items, max_size=8),
    st.lists(items, max_size=8),
)


def allowed(spec: VirtualServerSpec, upstream: str, each: Item) -> bool:
    """The obvious reading of include and exclude."""
    member = {"tool": "tools", "prompt": "prompts"}.get(each.kind, "resources")

    def match(pattern: str, *names: str) -> bool:
        return any(pattern == name or fnmatchcase(name, pattern) for name in names)

    mine = [include for include in spec.include if include.from_ == upstream]
    if any(match(pattern, each.name) for include in mine for pattern in include.exclude):
        return False
    if any(match(pattern, each.name, f"{upstream}/{each.name}") for pattern in spec.exclude):
        return False
    return any(match(pattern, each.name) for include in mine for pattern in getattr(include, member))


@given(specs, catalogues)
@settings(max_examples=60, deadline=None)
def test_hidden_items_cannot_be_reached_and_deny_wins(spec: VirtualServerSpec, offered: dict[str, Catalogue]) -> None:
    composed = compose("demo", spec, offered)
    reachable = {
        (route.target.upstream, route.target.kind, route.target.name)
        for kind in ("tools", "prompts", "resources")
        for route in composed.routes(kind)
    }
    for upstream, each in ((name, each) for name, cat in offered.items() for each in cat.items):
        if not allowed(spec, upstream, each):
            assert (upstream, each.kind, each.name) not in reachable
            if each.kind == "template":
                assert Target(upstream, "resource", each.name) not in {route.target for route in composed.templates}
            if each.kind == "resource":
                found = composed.resolve("resource", each.name)
                assert found is None or found.target.upstream != upstream
    shown = {route.advertised for route in composed.routes("tools")}
    assert all(composed.resolve("tool", name) is None for name in [*NAMES, "nice", "a_read"] if name not in shown)


@given(specs, catalogues)
@settings(max_examples=80, deadline=None)
def test_names_are_unique_bounded_and_the_view_is_the_same_each_time(spec: VirtualServerSpec, offered: dict[str, Catalogue]) -> None:
    composed = compose("demo", spec, offered)
    for kind in ("tools", "prompts"):
        routes = composed.routes(kind)
        assert len({route.target for route in routes}) == len(routes)
        assert all(len(route.advertised) <= spec.naming.max_length for route in routes)
        assert all(json.loads(route.item)["name"] == route.advertised for route in routes)
    again = compose("demo", spec, dict(reversed(offered.items())))
    assert again.revision == composed.revision
    assert again.problems == composed.problems
    assert [again.list_bytes(kind) for kind in ("tools", "prompts", "resources", "templates")] == [
        composed.list_bytes(kind) for kind in ("tools", "prompts", "resources", "templates")
    ]


@given(specs, catalogues)
@settings(max_examples=80, deadline=None)
def test_items_are_the_upstreams_but_for_what_was_overridden(spec: VirtualServerSpec, offered: dict[str, Catalogue]) -> None:
    composed = compose("demo", spec, offered)
    for kind in ("tools", "prompts", "resources", "templates"):
        for route in composed.routes(kind):
            said = next(
                each.raw
                for each in offered[route.target.upstream].items
                if each.name == route.target.name
                and (each.kind == "template") == (kind == "templates")
                and (kind in ("resources", "templates") or each.kind == kind[:-1])
            )
            expected = json.loads(said)
            override = {"tools": spec.tools, "prompts": spec.prompts}.get(kind, {}).get(str(route.target), Override())
            if kind in ("tools", "prompts"):
                expected["name"] = route.advertised
            for member in ("title", "description"):
                if getattr(override, member) is not None:
                    expected[member] = getattr(override, member)
            if override.annotations is not None:
                expected["annotations"] = {**expected.get("annotations", {}), **override.annotations}
            assert json.loads(route.item) == expected
            if json.loads(said) == expected and override == Override():
                assert route.item == said


@given(specs, catalogues, catalogues)
@settings(max_examples=80, deadline=None)
def test_the_revision_changes_with_what_is_shown_and_only_then(
    spec: VirtualServerSpec, one: dict[str, Catalogue], two: dict[str, Catalogue]
) -> None:
    first, second = compose("demo", spec, one), compose("demo", spec, two)

    def shown(composed: View) -> Any:
        return composed.title, composed.instructions, [composed.list_bytes(kind) for kind in ("tools", "prompts", "resources", "templates")]

    assert (first.revision == second.revision) == (shown(first) == shown(second))


def test_the_revision_is_the_same_on_every_machine() -> None:
    composed = view(everything("a", title="T"), catalogue("a", item("tool", "x")))
    assert composed.revision == "sha256:7c6890a258cedf589cb0a4d7f5e4a2b5919a2797f3f5994dbf301bf95a3cec6c"


def test_order_is_that_of_the_includes_and_then_the_upstreams_own() -> None:
    spec = VirtualServerSpec(include=(Include(from_="b"), Include(from_="a", tools=("z", "y"))))
    composed = view(spec, catalogue("a", item("tool", "y"), item("tool", "z")), catalogue("b", item("tool", "m"), item("tool", "c")))
    assert list(composed.tools) == ["m", "c", "y", "z"]


def test_an_exclude_in_one_include_holds_for_another_of_the_same_upstream() -> None:
    spec = VirtualServerSpec(include=(Include(from_="a", exclude=("x",)), Include(from_="a", tools=("x", "y"))))
    assert list(view(spec, catalogue("a", item("tool", "x"), item("tool", "y"))).tools) == ["y"]


def test_an_override_changes_its_members_and_no_other_byte() -> None:
    said = b'{ "name" : "x", "inputSchema":{"type" : "object"} ,"n":1.50, "annotations":{"a":1e2,"b":2}}'
    spec = everything("a", tools={"a/x": Override(name="y", description="D", annotations={"b": 3})})
    composed = view(spec, catalogue("a", Item("tool", "x", said)))
    assert (
        composed.tools["y"].item
        == b'{"name":"y","inputSchema":{"type" : "object"},"n":1.50,"annotations":{"a":1e2,"b":3},"description":"D"}'
    )
    assert composed.tools["y"].target == Target("a", "tool", "x")
    assert composed.tools["y"].annotations == {"a": 100.0, "b": 3}
    assert composed.resolve("tool", "x") is None


def test_what_matches_nothing_is_reported() -> None:
    spec = VirtualServerSpec(
        include=(Include(from_="a", tools=("x", "gone_tool"), exclude=("gone_exclude",)),),
        exclude=("gone_everywhere",),
        tools={"a/gone_override": Override(title="T")},
    )
    said = texts(view(spec, catalogue("a", item("tool", "x"))))
    assert all(word in said for word in ("gone_tool", "gone_exclude", "gone_everywhere", "gone_override"))


def test_an_upstream_without_a_catalogue_leaves_its_part_out_and_is_the_only_thing_reported() -> None:
    spec = everything("a", "b", exclude=("b/x",), tools={"b/y": Override(title="T")})
    composed = view(spec, catalogue("a", item("tool", "x")))
    assert list(composed.tools) == ["x"]
    assert composed.absent == ("b",)
    assert texts(composed) == "upstream `b` has no catalogue yet: its part is left out"


def test_conflicts_drop_both_while_serving_and_fail_when_strict() -> None:
    spec = everything("a", "b", naming=Naming(prefix="never"))
    offered = (catalogue("a", item("tool", "x"), item("tool", "y")), catalogue("b", item("tool", "x")))
    assert list(view(spec, *offered).tools) == ["y"]
    with pytest.raises(ComposeError, match="`a/x` and `b/x`"):
        view(spec, *offered, strict=True)


def test_the_same_uri_at_two_upstreams_goes_to_the_first_include() -> None:
    composed = view(everything("b", "a"), catalogue("a", item("resource", "x://1")), catalogue("b", item("resource", "x://1")))
    assert composed.resources["x://1"].target.upstream == "b"
    assert "`a/x://1` is listed by `b` already" in texts(composed)


@pytest.mark.parametrize(
    "said",
    [
        b'{"name":"x"}',
        b'{"name":"x","inputSchema":null}',
        b'{"name":"x","inputSchema":{"type":"string"}}',
        b'{"name":"x","inputSchema":{"type":"object","properties":{"a":{"type":"nonsense"}}}}',
        b'{"name":"x","inputSchema":{"type":"object","properties":{"a":{"type":"number","x-mcp-header":"A"}}}}',
        b'{"name":"x","inputSchema":{"type":"object","properties":{"a":{"$ref":"https://example.com/s"}}}}',
        b'{"name":"x","name":"y","inputSchema":{"type":"object"}}',
        b'{"name":"y","inputSchema":{"type":"object"}}',
        b'["x"]',
        b"not json",
        b"[" * 100_000,
    ],
)
def test_a_tool_that_cannot_be_used_is_left_out_and_reported_without_harm_to_others(said: bytes) -> None:
    composed = view(everything("a"), catalogue("a", Item("tool", "x", said), item("tool", "good")))
    assert list(composed.tools) == ["good"]
    assert "tool `a/x` is left out" in texts(composed)


def test_header_annotations_become_the_routes_table() -> None:
    schema = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
    composed = view(everything("a"), catalogue("a", item("tool", "x", inputSchema=schema)))
    assert composed.tools["x"].headers == {"region": (("region",), "string")}


def test_a_templated_uri_resolves_to_the_concrete_target() -> None:
    composed = view(everything("a"), catalogue("a", item("template", "test://{id}/data")))
    route = composed.resolve("resource", "test://7/data")
    assert route is not None
    assert route.target == Target("a", "resource", "test://7/data")
    assert composed.resolve("resource", "test://7/other") is None
    assert composed.resolve("resource", "test://{id}/data") is None


@pytest.mark.parametrize(
    "uri", ["file:///secret", "file:///%73ecret", "file:////secret", "file:///x/../secret", "file:///private/key", "file:///pr%69vate/key"]
)
def test_a_template_is_no_way_to_a_hidden_resource(uri: str) -> None:
    spec = VirtualServerSpec(include=(Include(from_="a", resources=("file:///{+path}", "file:///open")),), exclude=("a/file:///private/*",))
    composed = view(
        spec, catalogue("a", item("resource", "file:///secret"), item("resource", "file:///open"), item("template", "file:///{+path}"))
    )
    assert composed.resolve("resource", uri) is None
    assert composed.resolve("resource", "file:///open") is not None
    assert composed.resolve("resource", "file:///other") is not None


def test_a_template_that_cannot_be_matched_is_shown_and_reported() -> None:
    composed = view(everything("a"), catalogue("a", item("template", "test://{broken")))
    assert len(composed.templates) == 1
    assert composed.gates == ()
    assert "cannot be used" in texts(composed)


def test_instructions_are_the_declarations_or_the_upstreams() -> None:
    one, two = catalogue("a", instructions="use a"), catalogue("b", instructions="use b")
    assert view(everything("a", "b", instructions="mine"), one, two).instructions == "mine"
    assert view(everything("a"), one, two).instructions == "use a"
    assert view(everything("a", "b"), one, two).instructions == "a:\nuse a\n\nb:\nuse b"


def test_lists_keep_the_allowed_targets_and_wear_the_shape_of_each_era() -> None:
    composed = view(everything("a"), catalogue("a", item("tool", "x"), item("tool", "y"), item("template", "t://{i}")))
    items = composed.list_bytes("tools", frozenset({Target("a", "tool", "y")}))
    assert [json.loads(each)["name"] for each in items] == ["y"]
    assert json.loads(legacy_result("tools", items)) == {"tools": [json.loads(items[0])]}
    assert json.loads(legacy_result("templates", composed.list_bytes("templates"), "c"))["nextCursor"] == "c"
    assert json.loads(modern_result("tools", items, ttl_ms=5, server_info=b'{"name":"n","version":"1"}')) == {
        "resultType": "complete",
        "tools": [json.loads(items[0])],
        "ttlMs": 5,
        "cacheScope": "private",
        "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "n", "version": "1"}},
    }
