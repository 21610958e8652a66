"""Answers made in the background: asked for until they are there, and paid once, as they were used, whoever sees first that they are done."""

import contextlib
import json
import os
import signal
import sqlite3
import threading
from collections.abc import Generator
from typing import Any

import openai
import pytest

from tests.support import provider as scripted
from tests.support.hub import Hub, wait_for
from tests.support.journal import receipt_stands, verified
from tests.support.responses import Shelf, events

INPUT, OUTPUT = 250, 2000
"""Nano-dollars a token of gpt-5-mini."""
EACH = 9 * INPUT + 3 * OUTPUT
MOST = 1000


def config(url: str) -> dict[str, Any]:
    return {
        "keys": [{"name": "root", "roles": ["admin"]}, {"name": "ann", "subject": "user:ann", "grants": [{"model": "*"}]}],
        "providers": {"openai": {"wire": "openai", "base_url": f"{url}/v1", "like": "openai", "breaker": {"open_for": 0.01}}},
        "models": {"fast": {"route": [{"provider": "openai", "model": "gpt-5-mini"}]}},
        "budgets": [{"name": "month", "scope": "key", "window": "month", "usd": "10"}],
        "server": {"drain": 1},
    }


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def behind(shelf: Shelf) -> Generator[scripted.Provider]:
    with scripted.provider() as found:
        found.always = shelf.answer
        yield found


@pytest.fixture
def hub(tmp_path_factory: pytest.TempPathFactory, behind: scripted.Provider) -> Generator[Hub]:
    made = Hub(tmp_path_factory.mktemp("background"), config(behind.url)).start()
    try:
        yield made
    finally:
        code = made.stop()
    assert code == 0
    assert "Traceback" not in made.log.read_text()
    verified(made.database)


def client(hub: Hub) -> openai.OpenAI:
    return openai.OpenAI(base_url=hub.url + "/v1", api_key=hub.keys["ann"], max_retries=0)


def rows(hub: Hub) -> list[dict[str, Any]]:
    with sqlite3.connect(f"file:{hub.database}?mode=ro", uri=True) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM usage ORDER BY number")]


def kept(hub: Hub) -> list[Any]:
    """What is waited for."""
    with sqlite3.connect(f"file:{hub.database}?mode=ro", uri=True) as connection:
        return connection.execute("SELECT call FROM background_response").fetchall()


def begin(asking: openai.OpenAI, **more: Any) -> Any:
    return asking.responses.create(model="fast", input="Think.", background=True, max_output_tokens=MOST, **more)


def test_it_is_settled_by_who_first_sees_it_done(hub: Hub, shelf: Shelf) -> None:
    with client(hub) as asking:
        raw = asking.responses.with_raw_response.create(model="fast", input="Think.", background=True, max_output_tokens=MOST)
        made = raw.parse()
        assert made.status == "queued"
        record = receipt_stands(hub.database, raw.headers["hub-receipt"])
        assert record["background"] is True
        assert "cost" not in record
        assert asking.responses.retrieve(made.id).status == "queued"
        assert rows(hub) == [], "what was set aside stays so"
        shelf.finish(made.id)
        done = asking.responses.with_raw_response.retrieve(made.id)
        assert done.parse().output_text == "Done."
        settled = receipt_stands(hub.database, done.headers["hub-receipt"])["settled"]
        assert (settled["cost"], settled["call"], settled["status"]) == (EACH, record["id"], "ok")
        asking.responses.retrieve(made.id)
        [row] = wait_for(lambda: rows(hub))
        assert (row["id"], row["cost"], row["status"], row["kind"]) == (record["id"], EACH, "ok", "llm.responses")
        budgets = receipt_stands(hub.database, asking.responses.with_raw_response.create(model="fast", input="x").headers["hub-receipt"])[
            "budgets"
        ]
        assert round((10 - float(budgets[0]["left"])) * 1e9) == 2 * EACH, "the rest was given back"


def test_the_hub_looks_for_itself(hub: Hub, shelf: Shelf) -> None:
    with client(hub) as asking:
        made = begin(asking)
        unstored = begin(asking, store=False)
        shelf.finish(made.id)
        shelf.finish(unstored.id)
        found = wait_for(lambda: len(rows(hub)) == 2 and rows(hub))
        assert [row["cost"] for row in found] == [EACH, EACH]
        assert asking.responses.retrieve(made.id).status == "completed"
        assert asking.responses.retrieve(unstored.id).status == "completed"


def test_cancelled_deleted_streamed_and_left(hub: Hub, shelf: Shelf) -> None:
    with client(hub) as asking:
        cancelled = begin(asking)
        assert asking.responses.cancel(cancelled.id).status == "cancelled"
        [row] = wait_for(lambda: rows(hub))
        assert (row["status"], row["output"]) == ("estimated", 0)
        assert row["cost"] == row["input"] * INPUT > 0

        done = begin(asking)
        shelf.finish(done.id)
        asking.responses.delete(done.id)
        assert wait_for(lambda: rows(hub)[1:])[0]["cost"] == EACH, "looked for before it is deleted"

        unfinished = begin(asking)
        asking.responses.delete(unfinished.id)
        row = wait_for(lambda: rows(hub)[2:])[0]
        assert (row["status"], row["output"]) == ("unknown", MOST), "nobody can see it any more: what was set aside"

        streamed = begin(asking)
        shelf.finish(streamed.id)
        assert list(asking.responses.retrieve(streamed.id, stream=True))[-1].type == "response.completed"
        assert wait_for(lambda: rows(hub)[3:])[0]["cost"] == EACH

        with pytest.raises(openai.APIError):
            list(begin(asking, stream=True))  # the provider's stream breaks off; the answer is still being made
        assert len(rows(hub)) == 4
        shelf.finish(list(shelf.kept)[-1])
        assert wait_for(lambda: rows(hub)[4:])[0]["cost"] == EACH


def test_a_stream_that_fails_before_its_answer_is_over_leaves_it_to_be_settled(hub: Hub, shelf: Shelf, behind: scripted.Provider) -> None:
    def answer(asked: scripted.Asked) -> scripted.Reply:
        found = shelf.answer(asked)
        if asked.method != "POST":
            return found
        failed = {"type": "error", "code": "server_error", "message": "lost", "param": None, "sequence_number": 1}
        return scripted.stream([*events(list(shelf.kept.values())[-1]), scripted.named(failed)])

    behind.always = answer
    with client(hub) as asking:
        with contextlib.suppress(openai.APIError):
            list(begin(asking, stream=True))
        shelf.finish(list(shelf.kept)[-1])
        [row] = wait_for(lambda: rows(hub))
        assert (row["cost"], row["status"]) == (EACH, "ok")
        assert asking.responses.retrieve(list(shelf.kept)[-1]).status == "completed"


def test_a_stream_whose_hub_is_killed_in_the_middle_is_settled_by_its_usage_when_it_is_back(
    hub: Hub, shelf: Shelf, behind: scripted.Provider
) -> None:
    gate = threading.Event()

    def answer(asked: scripted.Asked) -> scripted.Reply:
        found = shelf.answer(asked)
        return scripted.stream([*found.parts, scripted.wait(gate)]) if asked.method == "POST" else found

    behind.always = answer
    try:
        with client(hub) as asking, begin(asking, stream=True) as stream:
            response = next(iter(stream)).response.id
            os.kill(hub.pid, signal.SIGKILL)
            hub.await_end()
    finally:
        gate.set()
    hub.start()
    shelf.finish(response)
    [row] = wait_for(lambda: rows(hub))
    assert (row["cost"], row["status"]) == (EACH, "ok")
    wait_for(lambda: kept(hub) == [])
    with client(hub) as asking:
        assert asking.responses.retrieve(response).status == "completed"


def test_a_stream_that_comes_to_its_end_leaves_nothing_behind(hub: Hub, shelf: Shelf, behind: scripted.Provider) -> None:
    def answer(asked: scripted.Asked) -> scripted.Reply:
        found = shelf.answer(asked)
        if asked.method == "POST" and asked.json.get("background"):
            shelf.finish(list(shelf.kept)[-1])
            return scripted.stream([found.parts[0], *events(list(shelf.kept.values())[-1])[1:]])
        return found

    behind.always = answer
    with client(hub) as asking:
        assert list(begin(asking, stream=True))[-1].type == "response.completed"
        [row] = wait_for(lambda: rows(hub))
        assert (row["cost"], row["status"]) == (EACH, "ok")
        wait_for(lambda: kept(hub) == [])
        raw = asking.responses.with_raw_response.create(model="fast", input="x")
        left = receipt_stands(hub.database, raw.headers["hub-receipt"])["budgets"][0]["left"]
        assert round((10 - float(left)) * 1e9) == 2 * EACH


def test_what_a_client_asks_to_see_of_it_says_nothing_of_what_it_cost(hub: Hub, shelf: Shelf, behind: scripted.Provider) -> None:
    def answer(asked: scripted.Asked) -> scripted.Reply:
        found = shelf.answer(asked)
        return scripted.whole({**json.loads(found.parts[0]), "usage": None, "output": []}) if "fields=" in asked.path else found

    behind.always = answer
    with client(hub) as asking:
        made = begin(asking)
        shelf.finish(made.id)
        raw = asking.responses.with_raw_response.retrieve(made.id, extra_query={"fields": "id,status"})
        assert raw.parse().status == "completed"
        assert "settled" not in receipt_stands(hub.database, raw.headers["hub-receipt"])
        [row] = wait_for(lambda: rows(hub))
        assert (row["cost"], row["status"]) == (EACH, "ok")


def test_what_a_later_version_left_is_answered_by_its_provider_and_left_to_it(hub: Hub, shelf: Shelf) -> None:
    with client(hub) as asking:
        made = begin(asking)
    assert hub.stop() == 0
    with sqlite3.connect(hub.database) as connection:
        connection.execute("UPDATE background_response SET body = json_set(body, '$.told', 'as a later version says it')")
    connection.close()
    hub.start()
    with client(hub) as asking:
        assert asking.responses.retrieve(made.id).status == "queued"
        shelf.finish(made.id)
        for _ in range(2):
            assert asking.responses.retrieve(made.id).status == "completed"
        asking.responses.delete(made.id)
    assert hub.log.read_text().count("left to a later version") == 1
    assert (rows(hub), len(kept(hub))) == ([], 1)


def test_a_hub_that_stops_or_dies_settles_it_when_it_is_back(hub: Hub, shelf: Shelf) -> None:
    with client(hub) as asking:
        before, after = begin(asking), begin(asking)
    assert hub.stop() == 0
    assert rows(hub) == []
    shelf.finish(before.id)
    hub.start()
    assert wait_for(lambda: rows(hub))[0]["cost"] == EACH, "it looks for what was done meanwhile"
    with client(hub) as asking:
        killed = begin(asking)
    os.kill(hub.pid, signal.SIGKILL)
    hub.await_end()
    hub.start()
    with client(hub) as asking:
        shelf.finish(killed.id)
        assert asking.responses.retrieve(killed.id).status == "completed"
        assert wait_for(lambda: rows(hub)[1:])[0]["cost"] == EACH
        asking.responses.cancel(after.id)
        assert wait_for(lambda: rows(hub)[2:])[0]["status"] == "estimated"
        raw = asking.responses.with_raw_response.create(model="fast", input="x")
        left = receipt_stands(hub.database, raw.headers["hub-receipt"])["budgets"][0]["left"]
        assert round((10 - float(left)) * 1e9) == sum(row["cost"] for row in rows(hub)), "nothing is set aside any more"
