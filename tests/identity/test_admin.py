"""Making, listing and revoking keys, on every medium."""

import asyncio
import re
import time
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from hub.call import Credential, Grant
from hub.change import Planned
from hub.config.callers import KeySpec
from hub.config.values import Secret
from hub.identity.admin import Admin, declared
from hub.identity.authenticate import Identity
from hub.identity.entry import moment, seal, stamp
from hub.identity.keys import mint, parse
from hub.refusal import InvalidRequest, NotFound
from tests.support.media import Store

PEPPER = b"p" * 32


@pytest.fixture
def admin(store: Store) -> Admin:
    return Admin(store.keys, PEPPER)


def later(**span: float) -> str:
    return (datetime.now(UTC) + timedelta(**span)).isoformat()


async def test_a_made_key_is_well_formed_and_listed_without_its_secret(admin: Admin):
    made = await admin.create("acme", "ci", subject="user:ann", grants=(Grant("demo"),), roles=("admin",), expires=later(hours=1))
    assert parse(made.text) is not None
    (listed,) = await admin.list("acme")
    assert listed == made.key
    assert (listed.name, listed.subject, listed.roles, listed.grants) == ("ci", "user:ann", ("admin",), (Grant("demo"),))
    assert 3590 < moment(listed.expires) - time.time() < 3601
    assert made.text[17:60] not in msgspec.json.encode(listed).decode()


async def test_only_the_hmac_of_a_key_reaches_the_disk(admin: Admin, store: Store):
    made = await admin.create("default", "ci")
    await store.close()
    assert not await store.holds(made.text[17:60].encode())
    assert await store.holds(seal(PEPPER, made.text.encode()))
    assert not await store.holds(PEPPER)


async def test_listing_keeps_to_an_organisation(admin: Admin):
    await admin.create("a", "one")
    await admin.create("b", "two")
    (spec,) = declared((KeySpec(name="three", org="b", secret=Secret(mint().text)),))
    assert [k.name for k in await admin.list("a", declared=(spec,))] == ["one"]
    assert [k.name for k in await admin.list("b", declared=(spec,))] == ["two", "three"]
    assert [k.name for k in await admin.list(None, declared=(spec,))] == ["one", "two", "three"]


async def test_a_name_belongs_to_one_live_key_of_the_hub(admin: Admin):
    await admin.create("a", "ci")
    for org in ("a", "b"):
        with pytest.raises(InvalidRequest, match="'ci'"):
            await admin.create(org, "ci")
    with pytest.raises(InvalidRequest, match="'declared'"):
        await admin.create("a", "declared", taken={"declared"})
    await admin.revoke("a", "ci")
    await admin.create("b", "ci")


async def test_of_many_that_ask_for_a_name_at_once_one_gets_it(admin: Admin):
    results = await asyncio.gather(*(admin.create("a", "ci") for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(r, InvalidRequest) for r in results) == 19
    assert len(await admin.list(None)) == 1


async def test_an_expired_key_gives_its_name_up(admin: Admin):
    first = await admin.create("a", "ci", expires=stamp(time.time() + 0.05))
    async with asyncio.timeout(30):
        while moment(first.key.expires) > time.time():
            await asyncio.sleep(0.01)
    second = await admin.create("a", "ci")
    old, new = await admin.list("a")
    assert (old.id, new.id) == (first.key.id, second.key.id)
    assert old.revoked
    assert not new.revoked


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "Upper"},
        {"name": "a b"},
        {"name": "ci\n"},
        {"name": "x" * 64},
        {"org": "no/slash"},
        {"subject": "ann"},
        {"subject": "key:abc"},
        {"subject": "user:"},
        {"roles": ("root",)},
        {"expires": "soon"},
        {"expires": "2030-01-01"},
        {"expires": "2001-01-01T00:00:00Z"},
        {"expires": "9999-99-99T00:00:00Z"},
        {"expires": "9999-12-31T23:59:59-14:00"},
        {"expires": "0001-01-01T00:00:00+14:00"},
    ],
)
async def test_values_that_do_not_fit_are_refused(admin: Admin, wrong: dict):
    values = {"org": "default", "name": "ci", **wrong}
    with pytest.raises(InvalidRequest):
        await admin.create(values.pop("org"), values.pop("name"), **values)
    assert await admin.list(None) == []


async def test_a_key_is_revoked_by_name_or_by_id(admin: Admin):
    by_name, by_id = await admin.create("a", "one"), await admin.create("a", "two")
    assert (await admin.revoke("a", "one")).key.id == by_name.key.id
    assert (await admin.revoke(None, by_id.key.id)).key.name == "two"
    assert all(key.revoked for key in await admin.list("a"))


async def test_what_is_not_there_or_not_theirs_cannot_be_revoked(admin: Admin):
    await admin.create("a", "ci")
    for org, name in (("b", "ci"), ("a", "nothing"), ("a", "")):
        with pytest.raises(NotFound):
            await admin.revoke(org, name)
    await admin.revoke("a", "ci")
    with pytest.raises(NotFound):
        await admin.revoke("a", "ci")


async def test_a_declared_key_is_revoked_once_and_listed_so(admin: Admin):
    infos = declared((KeySpec(name="ci", org="a", secret=Secret(mint().text)),))
    with pytest.raises(NotFound):
        await admin.revoke("b", "ci", declared=infos)
    change = await admin.revoke("a", "ci", declared=infos)
    assert change.record["source"] == "declared"
    (listed,) = await admin.list("a", declared=infos)
    assert listed.revoked == change.key.revoked != ""
    with pytest.raises(NotFound):
        await admin.revoke("a", "ci", declared=infos)


async def test_a_key_called_by_the_id_of_a_declared_one_does_not_shield_it(admin: Admin):
    spelled_like_a_name = next(made for made in iter(mint, None) if re.fullmatch("[a-z0-9]{12}", made.id))  # one in seven hundred
    infos = declared((KeySpec(name="ci", org="a", secret=Secret(spelled_like_a_name.text)),))
    decoy = await admin.create("b", infos[0].id)
    for org in ("a", None):
        found = await admin.find(org, infos[0].id, declared=infos)
        assert found is not None
        assert found.name == "ci"
    assert (await admin.revoke(None, infos[0].id, declared=infos)).key.name == "ci"
    assert [key.id for key in await admin.list(None, declared=infos) if not key.revoked] == [decoy.key.id]
    assert (await admin.revoke("b", decoy.key.id, declared=infos)).key.id == decoy.key.id


async def test_each_change_says_what_its_record_says(admin: Admin):
    planned: list[Planned] = []

    async def before(one: Planned) -> None:
        planned.append(one)
        assert [key.name for key in await admin.list("a") if not key.revoked] == [["ci"], []][one.kind == "admin.key.create"]

    made = await admin.create("a", "ci", roles=("auditor",), grants=(Grant("demo"),), before=before)
    gone = await admin.revoke("a", "ci", before=before)
    assert [(one.org, one.kind, one.closes) for one in planned] == [("a", "admin.key.create", False), ("a", "admin.key.revoke", True)]
    assert [one.record for one in planned] == [made.record, gone.record]
    for change in (made, gone):
        assert change.record["key"] == made.key.id
        assert change.record["roles"] == ["auditor"]
        text = msgspec.json.encode(change.record)
        assert made.text[17:60].encode() not in text
        assert not any(isinstance(value, float) for value in change.record.values())
        assert all(name.isascii() for name in change.record)


async def test_every_change_bumps_the_epoch_of_its_organisation_only(admin: Admin, store: Store):
    await admin.create("a", "one")
    await admin.create("b", "two")
    before = await store.epochs()
    await admin.revoke("a", "one")
    after = await store.epochs()
    assert after["a"] > before["a"]
    assert after["b"] == before["b"]


async def test_what_cannot_be_a_name_is_nobodys(admin: Admin):
    await admin.create("a", "ci")
    for strange in ("\0", "ci\0", "é", "\ud800"):
        with pytest.raises(NotFound):
            await admin.revoke(None, strange)
        assert await admin.list(strange) == []


async def test_the_first_start_makes_two_keys_once(admin: Admin):
    first = await admin.first_start()
    assert first is not None
    operator, caller = first
    assert (operator.key.roles, operator.key.grants, operator.key.org) == (("owner",), (), "default")
    assert (caller.key.roles, caller.key.grants) == ((), (Grant(virtual_server="*", model="*"),))
    assert await admin.first_start() is None


async def test_two_that_start_at_once_make_one_pair_between_them(admin: Admin):
    made = await asyncio.gather(*(admin.first_start() for _ in range(8)))
    assert sum(pair is not None for pair in made) == 1
    assert len(await admin.list(None)) == 2


async def test_revoked_first_keys_are_not_made_again(admin: Admin):
    first = await admin.first_start()
    assert first is not None
    for made in first:
        await admin.revoke(None, made.key.id)
    assert await admin.first_start() is None


async def test_first_keys_step_aside_for_declared_names(admin: Admin):
    first = await admin.first_start(taken={"admin", "admin-2"})
    assert first is not None
    assert [made.key.name for made in first] == ["admin-3", "first"]


async def test_keys_made_with_no_hub_running_count_when_one_starts(store: Store):
    made = await Admin(store.keys, PEPPER).create("default", "ci")
    await store.close()
    await store.open()
    identity = Identity(store.keys, PEPPER)
    await identity.open()
    assert identity.authenticate(Credential(made.text)).key_id == made.key.id
    await identity.close()
