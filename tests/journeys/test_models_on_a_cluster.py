"""Models on two replicas of two workers each, behind a round-robin proxy: what one process stored, began or counted, every other knows.

Stored responses, answers made in the background, budgets, dry runs and the usage ledger, with the official SDK and one provider behind all.
"""

import os
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer
from tests.support import provider as scripted
from tests.support.cluster import WORKERS, Cluster, cluster
from tests.support.hub import Hub, wait_for
from tests.support.journal import receipt_stands, records, verified
from tests.support.responses import Shelf

EACH = 9 * 250 + 3 * 2000
MOST = 1000


def config(url: str) -> dict[str, Any]:
    grants = [{"model": "*"}]
    names = ("ann", "bob", "planner", "stopper", "killer", "streamer", "keeper", "counter")
    return {
        "keys": [{"name": "root", "roles": ["admin"]}, *({"name": name, "subject": f"user:{name}", "grants": grants} for name in names)],
        "providers": {"openai": {"wire": "openai", "base_url": f"{url}/v1", "like": "openai"}},
        "models": {"fast": {"route": [{"provider": "openai", "model": "gpt-5-mini"}]}},
        "budgets": [{"name": "month", "scope": "user", "window": "month", "usd": "10"}],
        "server": {"drain": 1},
    }


@pytest.fixture(scope="module")
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture(scope="module")
def behind(shelf: Shelf) -> Generator[scripted.Provider]:
    with scripted.provider() as found:
        found.always = shelf.answer
        yield found


@pytest.fixture(scope="module")
def database_name(postgres_server: PostgresServer) -> Generator[str]:
    """The name of the database."""
    database = postgres_server.create_database()
    yield database
    postgres_server.drop_database(database)


@pytest.fixture(scope="module")
def hub(
    tmp_path_factory: pytest.TempPathFactory,
    behind: scripted.Provider,
    database_name: str,
    postgres_server: PostgresServer,
    redis_server: RedisServer,
) -> Generator[Cluster]:
    stores = {"postgres": postgres_server.url(database_name), "redis": redis_server.url}
    with cluster(tmp_path_factory.mktemp("models"), config(behind.url), **stores) as found:
        wait_for(lambda: counts(found))
        yield found
    assert verified(found.database)["default"] > 0


def client(hub: Cluster, key: str, at: Hub | None = None) -> openai.OpenAI:
    """Through the proxy, or at one replica."""
    return openai.OpenAI(base_url=(at or hub).url + "/v1", api_key=hub.keys[key], max_retries=0)


def begin(asking: openai.OpenAI) -> Any:
    return asking.responses.create(model="fast", input="Think.", background=True, max_output_tokens=MOST)


def workers(replica: Hub) -> list[int]:
    """The processes that serve."""
    children = Path(f"/proc/{replica.pid}/task/{replica.pid}/children").read_text().split()
    found = [int(pid) for pid in children if b"hub.processes.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(found) == WORKERS
    return found


def rows(hub: Cluster, key: str) -> list[dict[str, Any]]:
    """What is in the ledger of a key, the oldest first."""
    return hub.admin("GET", "/v1/usage", key=key)["data"][::-1]


def left(asking: openai.OpenAI) -> int:
    """What a dry run finds free in the key's budget, in nano-dollars."""
    raw: Any = asking.post("/responses", body={"model": "fast", "input": "x"}, cast_to=object, options={"headers": {"hub-dry-run": "1"}})
    return round(float(raw["budgets"][0]["left"]) * 1e9)


def free(asking: openai.OpenAI) -> int | None:
    """The same where Redis has just begun; None: nobody can say yet."""
    try:
        return left(asking)
    except openai.InternalServerError:
        return None


def counts(hub: Cluster) -> bool:
    """Whether budgets are counted yet: in the first seconds of Redis nobody knows what else is set aside."""
    with client(hub, "planner") as asking:
        return bool(free(asking))


def test_what_one_stored_every_other_finds_for_who_made_it_alone(hub: Cluster, shelf: Shelf) -> None:
    with client(hub, "ann") as asking, client(hub, "bob") as other:
        last: str | None = None
        for turn in range(1, 6):
            made = asking.responses.create(model="fast", input=f"Say {turn}.", previous_response_id=last)
            assert made.output_text == f"Turn {turn}."
            last = made.id
        assert last is not None
        for _ in range(4):
            assert asking.responses.retrieve(last).output_text == "Turn 5."
            assert len(list(asking.responses.input_items.list(last))) == 5
            with pytest.raises(openai.NotFoundError):
                other.responses.retrieve(last)
            with pytest.raises(openai.BadRequestError):
                other.responses.create(model="fast", input="And?", previous_response_id=last)
        asking.responses.delete(last)
        before = len(shelf.kept)
        for _ in range(4):
            with pytest.raises(openai.NotFoundError):
                asking.responses.retrieve(last)
        assert len(shelf.kept) == before


def test_a_dry_run_and_the_ledger_say_the_same_at_every_replica(hub: Cluster) -> None:
    with client(hub, "planner") as asking:
        before = left(asking)
        assert before == 10_000_000_000
        for _ in range(6):
            asking.responses.create(model="fast", input="x", store=False)
        wait_for(lambda: len(rows(hub, "planner")) == 6)
        for replica in hub.replicas:
            with client(hub, "planner", replica) as here:
                assert [left(here) for _ in range(3)] == [before - 6 * EACH] * 3, "nothing was set aside by the looking"
                found: Any = here.get("/usage/summary", cast_to=object)
                assert (found["total"]["calls"], found["total"]["cost_nano_usd"]) == (6, 6 * EACH)


def test_who_is_asked_first_settles_it_whoever_took_the_call(hub: Cluster, shelf: Shelf) -> None:
    """Read, cancelled, streamed and deleted at another replica than the one that set its money aside."""
    one, two = hub.replicas
    made: list[str] = []
    with client(hub, "bob", one) as taking, client(hub, "bob", two) as asking:

        def settled(ask: Callable[[str], Any], *, done: bool = True) -> Any:
            """What the record of the asking says it settled; nothing where the replica that took the call found out just before."""
            made.append(begin(taking).id)
            assert left(asking) < 10_000_000_000 - MOST * 2000, "it is set aside"
            if done:
                shelf.finish(made[-1])
            return receipt_stands(hub.database, ask(made[-1]).headers["hub-receipt"]).get("settled")

        assert wait_for(lambda: settled(asking.responses.with_raw_response.retrieve))["cost"] == EACH
        assert wait_for(lambda: settled(asking.responses.with_raw_response.cancel, done=False))["status"] == "estimated"
        streamed, deleted = (begin(taking).id for _ in range(2))
        for response in (streamed, deleted):
            shelf.finish(response)
        assert list(asking.responses.retrieve(streamed, stream=True))[-1].type == "response.completed"
        asking.responses.delete(deleted)
        found = wait_for(lambda: len(rows(hub, "bob")) == len(made) + 2 and rows(hub, "bob"))
        assert {row["cost_nano_usd"] for row in found if row["status"] == "ok"} == {EACH}
        assert {row["status"] for row in found} == {"ok", "estimated"}
        spent = sum(row["cost_nano_usd"] for row in found)
        wait_for(lambda: left(taking) == left(asking) == 10_000_000_000 - spent)
        for response in (*made, streamed):
            taking.responses.retrieve(response)
    settling = [one["settled"]["call"] for one in records(hub.database) if "settled" in one]
    assert len(settling) == len(set(settling)), "once each"


def test_what_a_replica_that_stops_database_name_another_settles(hub: Cluster, shelf: Shelf) -> None:
    one, _ = hub.replicas
    with client(hub, "stopper", one) as taking:
        made = [begin(taking) for _ in range(3)]
    hub.balancer.replicas.remove(one.address)
    assert one.stop() == 0
    assert rows(hub, "stopper") == []
    for response in made:
        shelf.finish(response.id)
    found = wait_for(lambda: len(rows(hub, "stopper")) == 3 and rows(hub, "stopper"))
    assert [(row["status"], row["cost_nano_usd"]) for row in found] == [("ok", EACH)] * 3
    one.start()
    hub.balancer.replicas.append(one.address)
    with client(hub, "stopper", one) as asking:
        wait_for(lambda: left(asking) == 10_000_000_000 - 3 * EACH)


def test_what_a_killed_one_database_name_another_settles(hub: Cluster, shelf: Shelf) -> None:
    _, two = hub.replicas
    with client(hub, "killer", two) as taking:
        made = [begin(taking) for _ in range(3)]
    for pid in workers(two):
        os.kill(pid, signal.SIGKILL)
    for response in made:
        shelf.finish(response.id)
    found = wait_for(lambda: len(rows(hub, "killer")) == 3 and rows(hub, "killer"))
    assert [(row["status"], row["cost_nano_usd"]) for row in found] == [("ok", EACH)] * 3
    wait_for(lambda: [worker["state"] for worker in two.standing()["workers"]] == ["serving"] * WORKERS)
    with client(hub, "killer", two) as asking:
        wait_for(lambda: left(asking) == 10_000_000_000 - 3 * EACH)


def test_what_a_killed_one_was_streaming_another_settles(hub: Cluster, shelf: Shelf, behind: scripted.Provider) -> None:
    one, two = hub.replicas
    gate = threading.Event()

    def answer(asked: scripted.Asked) -> scripted.Reply:
        found = shelf.answer(asked)
        return scripted.stream([*found.parts, scripted.wait(gate)]) if found.streams and asked.method == "POST" else found

    behind.always = answer
    try:
        with client(hub, "streamer", two) as taking:
            stream = taking.responses.create(model="fast", input="Think.", background=True, max_output_tokens=MOST, stream=True)
            made = next(iter(stream)).response.id
            for pid in workers(two):
                os.kill(pid, signal.SIGKILL)
            stream.close()
    finally:
        gate.set()
        behind.always = shelf.answer
    shelf.finish(made)
    [row] = wait_for(lambda: rows(hub, "streamer"))
    assert (row["status"], row["cost_nano_usd"]) == ("ok", EACH)
    with client(hub, "streamer", one) as asking:
        wait_for(lambda: left(asking) == 10_000_000_000 - EACH)
        assert asking.responses.retrieve(made).status == "completed"
    wait_for(lambda: [worker["state"] for worker in two.standing()["workers"]] == ["serving"] * WORKERS)


def test_an_answer_whose_id_could_not_be_kept_is_paid_as_it_was_used(
    hub: Cluster, shelf: Shelf, database_name: str, postgres_server: PostgresServer
) -> None:
    """Its client does not get it, and its provider goes on with it all the same."""
    before = set(shelf.kept)
    postgres_server.sql("ALTER TABLE stored_response RENAME TO hidden", database_name)
    try:
        with client(hub, "keeper") as taking, pytest.raises(openai.InternalServerError):
            begin(taking)
    finally:
        postgres_server.sql("ALTER TABLE hidden RENAME TO stored_response", database_name)
    [made] = set(shelf.kept) - before
    shelf.finish(made)
    [row] = wait_for(lambda: rows(hub, "keeper"))
    assert (row["status"], row["cost_nano_usd"]) == ("ok", EACH)


def test_what_one_had_begun_to_settle_that_dies_with_redis_another_settles(
    hub: Cluster, shelf: Shelf, database_name: str, postgres_server: PostgresServer, redis_server: RedisServer
) -> None:
    """When it is written how the answer ended, and nobody has counted it; and then nobody can ask for it any more."""
    one, two = hub.replicas
    hub.balancer.replicas.remove(two.address)
    with client(hub, "counter", two) as taking:
        made = begin(taking)
    redis_server.kill()
    try:
        shelf.finish(made.id)
        wait_for(lambda: postgres_server.sql("SELECT count(*) FROM background_response WHERE ended <> ''", database_name) == "1")
        pids = workers(two)
        for pid in (two.pid, *pids):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        two.await_end()
        shelf.kept.pop(made.id)
    finally:
        redis_server.restart()
    paid = "SELECT count(*) FROM usage WHERE subject = 'user:counter' AND status = 'ok'"
    wait_for(lambda: postgres_server.sql(paid, database_name) == "1")
    wait_for(lambda: postgres_server.sql("SELECT count(*) FROM background_response", database_name) == "0")
    two.start()
    hub.balancer.replicas.append(two.address)
    with client(hub, "counter", one) as asking:
        wait_for(lambda: free(asking) == 10_000_000_000 - EACH)
    [row] = rows(hub, "counter")
    assert (row["status"], row["cost_nano_usd"]) == ("ok", EACH)
