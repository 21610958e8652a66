"""The newer era's ladder of checks gives the same status and code as the official SDK's own classifier, whatever is asked."""

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp.shared.inbound import ERROR_CODE_HTTP_STATUS, InboundLadderRejection, classify_inbound_request

from tests.support.hub import Hub
from tests.support.mcp import CAPABILITIES, MODERN, NAMED, VERSION, Client, dumps, header_value, message

METHODS = ["tools/call", "prompts/get", "resources/read", "tools/list", "server/discover"]
VERSIONS = [MODERN, "2030-01-01", "1999-12-31", "draft"]
NAMES = ["echo", "greet", "note://one", "no such", "ünï", "=?base64?ZWNobw==?=", " edge ", "é"]
LADDER = {-32020, -32022}

names: st.SearchStrategy[Any] = st.sampled_from(NAMES)
odd: st.SearchStrategy[Any] = st.one_of(st.none(), st.integers(-3, 3), st.booleans(), st.lists(st.integers(), max_size=2), st.just({}))


@st.composite
def requests(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, str]]:
    """A body and its headers: mostly in order, with up to a few things wrong anywhere."""
    method = draw(st.sampled_from(METHODS))
    named = NAMED.get(method)
    params: dict[str, Any] = {}
    if named:
        params[named] = draw(st.one_of(names, names, names, odd))
    meta: Any = {}
    if draw(st.integers(0, 9)):
        meta[VERSION] = draw(st.one_of(st.just(MODERN), st.just(MODERN), st.sampled_from(VERSIONS), odd))
    if draw(st.integers(0, 9)):
        meta[CAPABILITIES] = {}
    if not draw(st.integers(0, 19)):
        meta = draw(odd)
    if draw(st.integers(0, 19)):
        params["_meta"] = meta
    headers: dict[str, str] = {}
    version = meta.get(VERSION) if isinstance(meta, dict) and draw(st.integers(0, 7)) else draw(st.sampled_from(VERSIONS))
    headers["mcp-protocol-version"] = version if isinstance(version, str) else MODERN
    if draw(st.integers(0, 9)):
        headers["mcp-method"] = method if draw(st.integers(0, 9)) else draw(st.sampled_from([*METHODS, "x"]))
    if draw(st.integers(0, 9)):
        wanted = params.get(named) if named and draw(st.integers(0, 7)) else draw(names)
        headers["mcp-name"] = header_value(wanted) if isinstance(wanted, str) and wanted else "x"
        if not draw(st.integers(0, 9)):
            headers["mcp-name"] = draw(
                st.sampled_from(["=?base64?ZWNobw?=", "=?base64??=", "=?base64?ZZZ=?=", "=?base64?=", "=?base64?/w==?="])
            )
    return message(method, params, 1), headers


def names_nothing(body: dict[str, Any]) -> bool:
    """The one place where the hub is stricter: the header is required (transports, "Standard Headers") even where the body has no name."""
    named = NAMED.get(body["method"])
    return named is not None and body["params"].get(named) is None


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(request=requests())
def test_status_and_code_agree_with_the_sdks_classifier(hub: Hub, request: tuple[dict[str, Any], dict[str, str]]) -> None:
    body, headers = request
    answer = asyncio.run(Client(hub, "ann").raw(dumps(body), *headers.items()))
    verdict = classify_inbound_request(body, headers=headers)
    if isinstance(verdict, InboundLadderRejection):
        assert (answer.status, answer.code) == (ERROR_CODE_HTTP_STATUS[verdict.code], verdict.code) or (
            names_nothing(body) and (answer.status, answer.code) == (400, -32020)
        ), (verdict, answer)
        if verdict.code == answer.code == -32022:
            assert set(verdict.data["supported"]) <= set(answer.error["data"]["supported"])
            assert answer.error["data"]["requested"] == verdict.data["requested"]
    elif "error" in answer.json:
        assert answer.code not in LADDER or names_nothing(body), answer
        assert "io.modelcontextprotocol/" not in answer.error["message"]
