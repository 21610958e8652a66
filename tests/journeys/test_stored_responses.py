"""Stored responses through the hub, with the official SDK: they stay with the provider that keeps them, and with who made them."""

import time
from collections.abc import Generator
from functools import partial
from typing import Any

import httpx2 as httpx
import openai
import pytest

from tests.services.postgres import PostgresServer
from tests.support import provider as scripted
from tests.support.hub import Hub, wait_for
from tests.support.journal import receipt_stands, records, verified
from tests.support.responses import Shelf

ALL = [{"model": "*"}]


def config(one: str, two: str) -> dict[str, Any]:
    return {
        "orgs": {"acme": {}},
        "keys": [
            {"name": "root", "roles": ["admin"], "grants": ALL},
            {"name": "ann", "subject": "user:ann", "grants": ALL},
            {"name": "ann-again", "subject": "user:ann", "grants": ALL},
            {"name": "bob", "subject": "user:bob", "grants": ALL},
            {"name": "ann-of-acme", "org": "acme", "subject": "user:ann", "grants": ALL},
            {"name": "ann-few", "subject": "user:ann", "grants": [{"model": "fast", "endpoints": ["chat"]}]},
        ],
        "providers": {
            "one": {"wire": "openai", "base_url": f"{one}/v1", "like": "openai", "shared": True},
            "two": {"wire": "openai", "base_url": f"{two}/v1", "like": "openai", "shared": True},
            "claude": {"wire": "anthropic", "base_url": one, "like": "anthropic", "shared": True},
        },
        "models": {
            "fast": {
                "route": [{"provider": "one", "model": "gpt-5-mini"}, {"provider": "two", "model": "gpt-5-mini"}],
                "strategy": "weighted",
                "sticky": "none",
                "shared": True,
            },
            "nano": {"route": [{"provider": "one", "model": "gpt-5-nano"}, {"provider": "two", "model": "gpt-5-nano"}], "shared": True},
            "wise": {"route": [{"provider": "claude", "model": "claude-opus-4-5"}], "shared": True},
        },
        "server": {"drain": 1},
    }


class Behind:
    """Two providers that store responses, each its own."""

    def __init__(self, one: scripted.Provider, two: scripted.Provider) -> None:
        self.providers = (one, two)
        self.shelves = (Shelf(), Shelf())
        for provider, shelf in zip(self.providers, self.shelves, strict=True):
            provider.always = lambda asked, shelf=shelf: scripted.usual(asked) if asked.path == "/v1/messages" else shelf.answer(asked)

    @property
    def asked(self) -> int:
        return sum(len(provider.asked) for provider in self.providers)


@pytest.fixture(scope="module")
def behind() -> Generator[Behind]:
    with scripted.provider() as one, scripted.provider() as two:
        yield Behind(one, two)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, behind: Behind) -> Generator[Hub]:
    postgres = ""
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        postgres = server.url(server.create_database())
    made = Hub(tmp_path_factory.mktemp("stored"), config(*(provider.url for provider in behind.providers)), postgres=postgres).start()
    try:
        yield made
    finally:
        code = made.stop()
    assert code == 0
    assert "Traceback" not in made.log.read_text()
    verified(made.database)


def client(hub: Hub, key: str = "ann") -> openai.OpenAI:
    return openai.OpenAI(base_url=hub.url + "/v1", api_key=hub.keys[key], max_retries=0)


def test_it_is_read_listed_and_deleted_by_who_made_it(hub: Hub, behind: Behind) -> None:
    with client(hub) as asking, client(hub, "ann-again") as again:
        made = asking.responses.create(model="fast", input="Say hello.", instructions="Be brief.")
        assert made.store is True
        raw = again.responses.with_raw_response.retrieve(made.id, include=["message.output_text.logprobs"])
        assert raw.parse().model_dump() == made.model_dump()
        record = receipt_stands(hub.database, raw.headers["hub-receipt"])
        assert record["kind"] == "llm.responses.get.outcome"
        assert (record["target"]["door"], record["outcome"]["status"]) == ("fast", "ok")
        assert "cost" not in record
        assert any("include" in one.path for provider in behind.providers for one in provider.asked if one.method == "GET")
        items = list(asking.responses.input_items.list(made.id, order="asc", limit=1))
        assert [item.role for item in items if item.type == "message"] == ["user"]
        text = "".join(
            event.delta for event in asking.responses.retrieve(made.id, stream=True) if event.type == "response.output_text.delta"
        )
        assert text == made.output_text
        later = list(asking.responses.retrieve(made.id, stream=True, starting_after=3))
        assert later[0].sequence_number == 4
        with pytest.raises(openai.BadRequestError, match="synchronous"):
            asking.responses.cancel(made.id)
        asking.responses.delete(made.id)
        before = behind.asked
        with pytest.raises(openai.NotFoundError):
            asking.responses.retrieve(made.id)
        assert behind.asked == before, "the hub knows that it is gone"


def test_an_idempotency_key_is_its_callers_alone(hub: Hub, behind: Behind) -> None:
    """Providers keep an answer for each of their customers' keys, and the hub is one customer."""
    sent: list[str] = []
    for key in ("ann", "ann-again", "bob", "ann-of-acme"):
        with client(hub, key) as asking:
            asking.responses.create(model="wise", input="x", max_output_tokens=9, store=False, extra_headers={"idempotency-key": "order-1"})
        sent.append(behind.providers[0].asked[-1].headers["idempotency-key"])
    assert sent[0] == sent[1], "another key of the same person"
    assert len({*sent, "order-1"}) == 4


def test_for_anybody_else_it_is_not_there_and_nothing_is_sent(hub: Hub, behind: Behind) -> None:
    with client(hub) as asking:
        made = asking.responses.create(model="fast", input="A secret.")
    before = behind.asked
    answers: set[tuple[int, str]] = set()
    for key in ("bob", "ann-of-acme", "root", "ann"):
        response = made.id if key != "ann" else "resp_never"
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/input_items"), ("GET", "?stream=true")):
            headers = {"authorization": f"Bearer {hub.keys[key]}"}
            answer = httpx.request(method, f"{hub.url}/v1/responses/{response}{path}", headers=headers)
            error = answer.json()["error"]
            assert error["type"] == "invalid_request_error"
            answers.add((answer.status_code, answer.text))
    assert len(answers) == 1
    assert next(iter(answers))[0] == 404
    naming: tuple[Any, ...] = (
        {"previous_response_id": "RESP", "input": "And?"},
        {"conversation": "RESP", "input": "And?"},
        {"conversation": {"id": "RESP"}, "input": "And?"},
        {"input": [{"type": "item_reference", "id": "RESP"}, {"role": "user", "content": "And?"}]},
        {"input": [{"id": "RESP"}]},
    )
    for body in naming:
        said: set[tuple[int, str]] = set()
        for key, name in (("bob", made.id), ("ann-of-acme", made.id), ("root", made.id), ("ann", "resp_never")):
            sent = (
                str({"model": "fast", **body})
                .replace("RESP", name)
                .replace("'", '"')
                .encode()
                .replace(b"item_reference", b"item\\u005freference")
            )
            headers = {"authorization": f"Bearer {hub.keys[key]}", "content-type": "application/json"}
            answer = httpx.post(hub.url + "/v1/responses", content=sent, headers=headers)
            said.add((answer.status_code, answer.text.replace(name, "ID")))
        assert len(said) == 1, said
        assert next(iter(said))[0] == 400
    assert behind.asked == before
    with client(hub, "bob") as asking, pytest.raises(openai.BadRequestError) as raised:
        asking.responses.create(model="fast", input="And?", previous_response_id=made.id)
    assert (raised.value.code, raised.value.param) == ("previous_response_not_found", "previous_response_id")
    last = records(hub.database)[-1]
    assert (last["kind"], last["outcome"]["status"]) == ("llm.responses", "refused")
    with client(hub, "ann-few") as few, pytest.raises(openai.PermissionDeniedError):
        few.responses.retrieve(made.id)
    assert behind.asked == before


@pytest.mark.parametrize("streaming", [False, True])
def test_a_conversation_stays_where_its_first_turn_was_kept(hub: Hub, behind: Behind, streaming: bool) -> None:
    used: set[int] = set()
    last: str | None = None
    with client(hub) as asking:
        for talk in range(64):
            if talk >= 6 and len(used) == 2:
                break
            last = None
            where: list[int] = []
            for turn in range(1, 4):
                before = [len(provider.asked) for provider in behind.providers]
                if streaming:
                    with asking.responses.stream(model="fast", input=f"Say {turn}.", previous_response_id=last) as stream:  # type: ignore[arg-type]
                        answer: Any = stream.get_final_response()
                else:
                    answer = asking.responses.create(model="fast", input=f"Say {turn}.", previous_response_id=last)
                assert answer.output_text == f"Turn {turn}."
                last = answer.id
                where += [at for at, provider in enumerate(behind.providers) if len(provider.asked) > before[at]]
            assert len(set(where)) == 1
            used.update(where)
            assert asking.responses.create(model="nano", input="Smaller.", previous_response_id=last).output_text == "Turn 4."
            reference: Any = [{"type": "item_reference", "id": answer.output[0].id}, {"role": "user", "content": "Again."}]
            assert asking.responses.create(model="fast", input=reference).output_text
        with pytest.raises(openai.BadRequestError, match="kept by a provider"):
            asking.responses.create(model="wise", input="Other.", previous_response_id=last)
    assert used == {0, 1}, "both deployments are in use"


def test_items_of_a_stream_whose_end_came_in_pieces_can_be_named(hub: Hub, behind: Behind) -> None:
    def in_pieces(shelf: Shelf, asked: scripted.Asked) -> scripted.Reply:
        *before, last = shelf.answer(asked).parts
        assert isinstance(last, bytes)
        return scripted.stream([*before, last[: len(last) // 2], lambda: time.sleep(0.2), last[len(last) // 2 :]])

    for provider, shelf in zip(behind.providers, behind.shelves, strict=True):
        provider.script.append(partial(in_pieces, shelf))
    with client(hub) as asking:
        events = list(asking.responses.create(model="fast", input="First.", stream=True))
        for provider in behind.providers:
            provider.script.clear()
        item = events[-1].response.output[0].id  # type: ignore[union-attr]
        reference: Any = [{"type": "item_reference", "id": item}, {"role": "user", "content": "Again."}]
        assert asking.responses.create(model="fast", input=reference).output_text == "Turn 1."


def test_where_the_one_that_keeps_it_is_away_nobody_else_is_asked(hub: Hub, behind: Behind) -> None:
    with client(hub) as asking:
        made = asking.responses.create(model="fast", input="First.")
        keeper = next(at for at, shelf in enumerate(behind.shelves) if made.id in shelf.kept)
        other = behind.providers[1 - keeper]
        before = len(other.asked)
        behind.providers[keeper].script.append(scripted.whole({"error": {"message": "down", "type": "server_error"}}, 503))
        with pytest.raises(openai.InternalServerError):
            asking.responses.create(model="fast", input="Second.", previous_response_id=made.id)
        assert len(other.asked) == before
        assert asking.responses.create(model="fast", input="Second.", previous_response_id=made.id).output_text == "Turn 2."


def test_what_is_not_stored_is_not_there_and_costs_no_write(hub: Hub, behind: Behind) -> None:
    with client(hub) as asking:
        made = asking.responses.create(model="fast", input="Forget it.", store=False)
        said = asking.responses.create(model="wise", input="Elsewhere.", store=True)
        assert said.store is False
        before = behind.asked
        for response in (made.id, said.id):
            with pytest.raises(openai.NotFoundError):
                asking.responses.retrieve(response)
            with pytest.raises(openai.BadRequestError):
                asking.responses.create(model="fast", input="And?", previous_response_id=response)
        with pytest.raises(openai.BadRequestError, match="background"):
            asking.responses.create(model="wise", input="Elsewhere.", background=True)
        assert behind.asked == before


def test_a_streamed_one_is_known_before_its_client_can_name_it(hub: Hub, behind: Behind) -> None:
    with client(hub) as asking, asking.responses.create(model="fast", input="Say hello.", stream=True) as stream:
        first = next(iter(stream))
        assert first.type == "response.created"
        assert asking.responses.retrieve(first.response.id).id == first.response.id


def test_paths_and_queries_that_are_none(hub: Hub, behind: Behind) -> None:
    before = behind.asked
    headers = {"authorization": f"Bearer {hub.keys['ann']}"}
    for method, path in (
        ("GET", "/v1/responses/"),
        ("GET", "/v1/responses/..%2fmodels"),
        ("GET", "/v1/responses/x/y"),
        ("PUT", "/v1/responses/x"),
        ("GET", "/v1/responses/x/cancel"),
    ):
        assert httpx.request(method, hub.url + path, headers=headers).status_code == 404, path
    assert behind.asked == before
    wait_for(lambda: records(hub.database)[-1]["outcome"]["status"] == "refused")
