"""What operators change is on record, whatever dies when: announced before it is made, and its end said; not made where it cannot be."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from msgspec.structs import replace

from hub.app import Hub as Process
from hub.audit.deed import Deed
from hub.audit.entry import base, phase
from hub.audit.journal import OPERATOR
from hub.change import Planned
from hub.config.load import load
from hub.identity.keys import mint
from hub.refusal import JournalDown, NotFound, StoreDown
from tests.cli.test_commands import Shell
from tests.support.hub import ROOT, running
from tests.support.journal import Record, changes, records, verified
from tests.support.tables import edited

DYING = {"PYTHONPATH": f"{ROOT / 'tests' / 'support' / 'dying'}:{ROOT}", "DIES_UNSAID": "1"}
SECRET = "sk-canary-1234567890abcdef"
CONFIG: dict[str, Any] = {
    "keys": [{"name": "root", "roles": ["owner"]}, {"name": "ci", "grants": [{"model": "*"}]}],
    "budgets": [{"name": "calls", "scope": "key", "window": "year", "requests": 2}],
    "server": {"drain": 1},
}
AT = "/admin/v1/budgets"
LOWER = {"mode": "set", "amount": 1, "until": "window", "reason": "an agent runs wild"}
RAISE = {"amount": 5, "until": "window", "reason": "release week"}


def new_table() -> str:
    return base64.b64encode(
        edited(lambda models: models["gpt-5-mini"]["phases"][0]["price"]["rates"].update(output=2_500_000_000))
    ).decode()


def ends(said: list[Record]) -> list[tuple[str, str, str]]:
    """(kind, status, code) of the changes of a log, each of which has an intent and one end."""
    mine = [one for one in said if one["kind"].startswith("admin.") and phase(one["kind"])]
    begun = [(one["id"], base(one["kind"])) for one in mine if phase(one["kind"]) == 1]
    ended = [one for one in mine if phase(one["kind"]) == 2]
    assert sorted(begun) == sorted((one["id"], base(one["kind"])) for one in ended)
    return [(base(one["kind"]), one["outcome"]["status"], one["outcome"].get("code", "")) for one in ended]


def test_a_hub_that_is_killed_between_a_change_and_its_record_leaves_the_change_on_record(tmp_path: Path) -> None:
    with running(tmp_path, CONFIG) as hub:
        hub.admin("POST", "/admin/v1/keys", {"name": "old", "roles": ["auditor"]})
        hub.admin("PUT", "/admin/v1/vault/old", {"value": SECRET})
        override = hub.admin("POST", f"{AT}/calls/overrides", RAISE)["override"]["id"]
        staged = hub.admin("POST", "/admin/v1/prices/staged", {"table": new_table()})["new"]
    before = len(records(hub.database)), len(records(hub.database, OPERATOR))
    hub.environment.update(DYING)
    for method, path, body in (
        ("POST", "/admin/v1/keys", {"name": "new", "roles": ["auditor"]}),
        ("DELETE", "/admin/v1/keys/old", None),
        ("PUT", "/admin/v1/vault/new", {"value": SECRET}),
        ("DELETE", "/admin/v1/vault/old", None),
        ("POST", f"{AT}/calls/overrides", {**RAISE, "who": "ci"}),
        ("DELETE", f"{AT}/overrides/{override}", None),
        ("POST", "/admin/v1/prices/confirm", {}),
    ):
        hub.start()
        with pytest.raises(OSError):  # the connection ends, in one way or another
            hub.admin(method, path, body)
        assert hub.process is not None
        assert hub.process.wait(30) == -9
    hub.environment.clear()
    hub.start()
    try:
        live = {key["name"] for key in hub.admin("GET", "/admin/v1/keys")["keys"] if not key["revoked"]}
        assert live == {"admin", "first", "root", "ci", "new"}
        assert [one["name"] for one in hub.admin("GET", "/admin/v1/vault")["secrets"]] == ["new"]
        assert len(hub.admin("GET", f"{AT}/overrides")["overrides"]) == 1
        assert hub.admin("GET", "/admin/v1/prices")["in_force"]["hash"] == staged
    finally:
        assert hub.stop() == 0
    verified(hub.database)
    said, whole = records(hub.database)[before[0] :], records(hub.database, OPERATOR)[before[1] :]
    kinds = ("key.create", "key.revoke", "vault.set", "vault.remove", "budget.override", "budget.restore")
    assert ends(said) == [(f"admin.{kind}", "unknown", "recovered") for kind in kinds]
    assert ends(whole) == [("admin.prices.confirm", "unknown", "recovered")]
    first = said[0]
    assert (first["kind"], first["actor"]["id"], first["change"]["name"]) == ("admin.key.create.intent", hub.keys["root"][4:16], "new")
    assert SECRET not in json.dumps(said)


def test_a_command_and_a_first_start_that_are_killed_so_leave_it_on_record_too(tmp_path: Path) -> None:
    shell, database = Shell(tmp_path), tmp_path / ".hub" / "hub.db"
    assert shell.program("serve", "--port", "0", **DYING).returncode == -9
    assert shell.program("keys", "create", "alice", "--role", "auditor", **DYING).returncode == -9
    assert shell.program("keys", "revoke", "first", **DYING).returncode == -9
    listed = shell.json("keys", "list")["keys"]
    assert {key["name"]: bool(key["revoked"]) for key in listed} == {"admin": False, "first": True, "alice": False}
    shell.json("keys", "revoke", "alice")
    unknown = ("unknown", "recovered")
    assert ends(records(database)) == [
        *[("admin.key.create", *unknown)] * 3,
        ("admin.key.revoke", *unknown),
        ("admin.key.revoke", "ok", ""),
    ]
    verified(database)


class Inside:
    """A hub in this process. Its journal can be away while its database is there."""

    def __init__(self, folder: Path) -> None:
        keys = [{**key, "secret": "${" + key["name"].upper() + "}"} for key in CONFIG["keys"]]
        self.keys = {key["name"]: mint().text for key in CONFIG["keys"]}
        file = folder / "hub.yaml"
        file.write_text(json.dumps({**CONFIG, "keys": keys}))
        self.loaded = load(file, environ={name.upper(): text for name, text in self.keys.items()})
        self.process = Process(self.loaded)
        self.database = folder / ".hub" / "hub.db"

    async def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.keys['root']}"}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=self.process.admin.app), base_url="http://hub") as client:
            return await client.request(method, path, headers=headers, json=body)

    async def refused(self, method: str, path: str, body: Any = None) -> tuple[int, str, str]:
        answer = await self.ask(method, path, body)
        assert answer.status_code >= 400, answer.text
        return answer.status_code, answer.json()["code"], answer.json()["detail"]

    @contextlib.contextmanager
    def away(self) -> Generator[None]:
        self.process.medium.ledger.ready = False  # type: ignore[misc]
        try:
            yield
        finally:
            self.process.medium.ledger.ready = True  # type: ignore[misc]

    async def names(self) -> tuple[set[str], set[str], int]:
        """Live keys, secrets, and how many overrides stand."""
        keys, secrets = [await self.ask("GET", f"/admin/v1/{what}") for what in ("keys", "vault")]
        overrides = await self.ask("GET", f"{AT}/overrides")
        live = {key["name"] for key in keys.json()["keys"] if not key["revoked"]}
        return live, {one["name"] for one in secrets.json()["secrets"]}, len(overrides.json()["overrides"])


@pytest.fixture
async def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Inside]:
    monkeypatch.chdir(tmp_path)
    hub = Inside(tmp_path)
    await hub.process.start()
    yield hub
    await hub.process.drain()
    await hub.process.stop()


async def test_without_a_journal_nothing_is_opened_and_what_closes_something_is_done_and_said_to_be_unrecorded(inside: Inside) -> None:
    ask, refused = inside.ask, inside.refused
    for made in (
        await ask("POST", "/admin/v1/keys", {"name": "old", "roles": ["auditor"]}),
        await ask("PUT", "/admin/v1/vault/old", {"value": SECRET}),
        await ask("POST", "/admin/v1/prices/staged", {"table": new_table()}),
    ):
        assert made.status_code in (200, 201), made.text
    raised = (await ask("POST", f"{AT}/calls/overrides", RAISE)).json()["override"]["id"]
    lowered = (await ask("POST", f"{AT}/calls/overrides", {**LOWER, "who": "ci"})).json()["override"]["id"]
    before = await inside.names()
    with inside.away():
        for method, path, body in (
            ("POST", "/admin/v1/keys", {"name": "new", "roles": ["auditor"]}),
            ("PUT", "/admin/v1/vault/new", {"value": SECRET}),
            ("POST", "/admin/v1/vault/rotate", None),
            ("POST", f"{AT}/calls/overrides", {**RAISE, "amount": 7}),
            ("DELETE", f"{AT}/overrides/{lowered}", None),
            ("POST", "/admin/v1/prices/confirm", {}),
            ("POST", "/admin/v1/prices/reject", {}),
        ):
            assert (await refused(method, path, body))[:2] == (503, "journal_unavailable"), path
        assert await inside.names() == before
        assert (await ask("GET", "/admin/v1/prices")).json()["staged"]
        for path in ("/admin/v1/keys/old", "/admin/v1/vault/old", f"{AT}/overrides/{raised}"):
            status, code, detail = await refused("DELETE", path)
            assert (status, code) == (503, "outcome_unrecorded")
            assert "took hold" in detail
            assert "not on record" in detail
        assert await inside.names() == ({"root", "ci"}, set(), 1)
    assert (await refused("DELETE", "/admin/v1/keys/old"))[0] == 404
    assert ends(records(inside.database)) == [
        ("admin.key.create", "ok", ""),
        ("admin.vault.set", "ok", ""),
        ("admin.budget.override", "ok", ""),
        ("admin.budget.override", "ok", ""),
    ]


async def test_a_journal_that_goes_away_in_between_leaves_the_intent_which_the_next_start_closes(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = inside.process.medium.keys
    whole, stack = rows.add, contextlib.ExitStack()

    async def add(*args: Any, **more: Any) -> bool:
        added = await whole(*args, **more)
        stack.enter_context(inside.away())
        return added

    monkeypatch.setattr(rows, "add", add)
    status, code, detail = await inside.refused("POST", "/admin/v1/keys", {"name": "new", "roles": ["auditor"]})
    stack.close()
    assert (status, code) == (503, "outcome_unrecorded")
    assert "took hold" in detail
    assert (await inside.names())[0] == {"root", "ci", "new"}
    assert (await inside.ask("DELETE", "/admin/v1/keys/new")).status_code == 200
    await inside.process.drain()
    await inside.process.stop()
    inside.process = Process(inside.loaded)
    await inside.process.start()
    assert ends(records(inside.database)) == [("admin.key.revoke", "ok", ""), ("admin.key.create", "unknown", "recovered")]


async def test_of_a_change_that_may_have_been_made_it_is_not_said_that_the_journal_kept_it_from_being_made(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = inside.process.medium.keys
    whole, stack = rows.add, contextlib.ExitStack()

    async def add(*args: Any, **more: Any) -> bool:
        await whole(*args, **more)
        stack.enter_context(inside.away())
        raise StoreDown("the database does not answer")

    monkeypatch.setattr(rows, "add", add)
    assert (await inside.refused("POST", "/admin/v1/keys", {"name": "new", "roles": ["auditor"]}))[:2] == (503, "store_unavailable")
    stack.close()
    assert (await inside.names())[0] == {"root", "ci", "new"}


async def test_what_closes_something_has_one_record_where_the_journal_is_back_when_it_is_done(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await inside.ask("POST", "/admin/v1/keys", {"name": "old", "roles": ["auditor"]})).status_code == 201
    rows, stack = inside.process.medium.keys, contextlib.ExitStack()
    whole = rows.revoke

    async def revoke(*args: Any, **more: Any) -> Any:
        stack.close()
        return await whole(*args, **more)

    monkeypatch.setattr(rows, "revoke", revoke)
    stack.enter_context(inside.away())
    assert (await inside.ask("DELETE", "/admin/v1/keys/old")).status_code == 200
    (said,) = [one for one in records(inside.database) if one["kind"] == "admin.key.revoke"]
    assert (said["change"]["name"], said["outcome"]["status"]) == ("old", "ok")
    await inside.process.drain()
    await inside.process.stop()
    verified(inside.database)
    inside.process = Process(inside.loaded)
    await inside.process.start()


async def test_where_one_secret_cannot_be_wrapped_anew_nothing_is(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor the keys of captured content: what is said to be refused has not been done in part."""
    assert (await inside.ask("PUT", "/admin/v1/vault/old", {"value": SECRET})).status_code == 200
    await inside.process.medium.vault.rewrite(lambda row: replace(row, envelope=replace(row.envelope, kek="another")))
    done: list[str] = []

    async def rotate() -> int:
        done.append("days")
        return 1

    monkeypatch.setattr(inside.process.keeper, "rotate", rotate)
    status, code, detail = await inside.refused("POST", "/admin/v1/vault/rotate")
    assert (status, code, done) == (400, "invalid_request", [])
    assert "nothing was changed" in detail
    assert ends(records(inside.database)) == [("admin.vault.set", "ok", "")]


@pytest.mark.parametrize(("fails", "code"), [(lambda: StoreDown("away"), "store_unavailable"), (asyncio.CancelledError, "cancelled")])
async def test_what_closes_something_without_an_intent_is_on_record_also_where_nobody_knows_whether_it_was_made(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, fails: Callable[[], BaseException], code: str
) -> None:
    """The key is revoked, and who asked for it does not hear so."""
    assert (await inside.ask("POST", "/admin/v1/keys", {"name": "old", "roles": ["auditor"]})).status_code == 201
    rows, stack = inside.process.medium.keys, contextlib.ExitStack()
    whole = rows.revoke

    async def revoke(*args: Any, **more: Any) -> Any:
        stack.close()
        await whole(*args, **more)
        raise fails()

    monkeypatch.setattr(rows, "revoke", revoke)
    stack.enter_context(inside.away())
    with contextlib.suppress(asyncio.CancelledError):
        assert (await inside.refused("DELETE", "/admin/v1/keys/old"))[:2] == (503, code)
    await inside.process.journal.append("default", {"id": "last", "ts": "2026-01-01T00:00:00Z", "kind": "last"})
    assert (await inside.names())[0] == {"root", "ci"}
    said = [one for one in records(inside.database) if one["kind"].startswith(("admin.key.revoke", "admin.refused"))]
    assert [(one["kind"], one["change"]["name"], one["outcome"]) for one in said] == [
        ("admin.key.revoke", "old", {"status": "unknown", "code": code})
    ]


async def test_what_is_refused_after_it_was_announced_has_one_end_and_no_second_record(inside: Inside) -> None:
    assert (await inside.ask("POST", "/admin/v1/keys", {"name": "one", "roles": ["auditor"]})).status_code == 201
    assert (await inside.refused("POST", "/admin/v1/keys", {"name": "one", "roles": ["auditor"]}))[:2] == (400, "invalid_request")
    assert (await inside.refused("POST", "/admin/v1/keys", {"name": "No Name"}))[:2] == (400, "invalid_request")
    said = records(inside.database)
    assert ends(said) == [("admin.key.create", "ok", ""), ("admin.key.create", "refused", "invalid_request")]
    assert [one["change"]["route"] for one in said if one["kind"] == "admin.refused"] == ["/admin/v1/keys"]
    assert changes(said) == ["admin.key.create"]


@pytest.mark.parametrize(
    ("fails", "status", "code"),
    [
        (lambda: NotFound("gone"), "refused", "not_found"),
        (lambda: StoreDown("away"), "unknown", "store_unavailable"),
        (lambda: ValueError("a fault"), "unknown", "internal"),
        (asyncio.CancelledError, "unknown", "cancelled"),
        (lambda: None, "refused", "nothing_to_do"),
    ],
)
async def test_however_a_change_ends_its_intent_has_an_outcome(
    inside: Inside, fails: Callable[[], BaseException | None], status: str, code: str
) -> None:
    journal = inside.process.journal
    error = fails()
    with contextlib.suppress(BaseException):
        async with Deed(journal, {"kind": "admin", "id": "k"}) as deed:
            await deed.begin(Planned("default", "admin.key.create", {"name": "x"}))
            await deed.begin(Planned("*", "admin.prices.confirm", {"table": "y"}))
            if error is not None:
                raise error
    await journal.append("default", {"id": "last", "ts": "2026-01-01T00:00:00Z", "kind": "last"})
    await journal.append(OPERATOR, {"id": "last", "ts": "2026-01-01T00:00:00Z", "kind": "last"})
    assert ends(records(inside.database)) == [("admin.key.create", status, code)]
    assert ends(records(inside.database, OPERATOR)) == [("admin.prices.confirm", status, code)]


async def test_of_several_that_are_made_in_one_step_none_is_made_where_one_cannot_be_announced(inside: Inside) -> None:
    async def make() -> None:
        async with Deed(inside.process.journal, {"kind": "hub", "id": "x"}) as deed:
            await deed.begin(Planned("default", "admin.key.create", {"name": "one"}))
            with inside.away():
                await deed.begin(Planned("default", "admin.key.create", {"name": "two"}))

    with pytest.raises(JournalDown):
        await make()
    assert ends(records(inside.database)) == [("admin.key.create", "refused", "journal_unavailable")]
