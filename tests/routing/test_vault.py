"""The vault on either medium: versions, organisations, what a tampered row becomes, and what stays known while the store is away."""

import asyncio
import base64

import pytest

from hub.config.models import ProviderSpec
from hub.config.values import KeptSecret
from hub.http1_head import parse
from hub.refusal import InvalidRequest, NoCredential, NotFound, StoreDown
from hub.routing.credentials import Credentials
from hub.routing.vault import Value, Vault
from hub.routing.vault_admin import VaultAdmin
from hub.store.envelope import kek_of
from hub.store.epochs import VAULT
from hub.store.keks import Keks
from tests.support.media import Store

ONE, TWO = kek_of(b"1" * 32), kek_of(b"2" * 32)
KEY = "sk-canary-2f6d0c1b9a-%d"


def keks(present: object = ONE, *known: object) -> Keks:
    return Keks(present, {kek.id: kek for kek in (present, *known)})  # type: ignore[attr-defined]


def vault(store: Store, found: Keks | None = None) -> Vault:
    return Vault(VaultAdmin(store.vault, found or keks()))


def text(value: Value | None) -> str:
    return value.text if value is not None else ""


async def test_a_value_is_set_replaced_and_removed_and_no_version_comes_twice(store: Store) -> None:
    here, there = vault(store), vault(store)
    await here.open()
    slot, far = here.slot("acme", "openai"), there.slot("acme", "openai")
    assert slot.present is None
    for version in (1, 2):
        made = await here.put("acme", "openai", KEY % version)
        assert made.shown == {"org": "acme", "name": "openai", "version": version}
        assert made.record == {"name": "openai", "version": version, "overlap_s": 600}
        assert text(slot.present) == KEY % version
    assert text(slot.before) == KEY % 1
    present = slot.present
    await here.following.refresh()
    assert slot.present is present, "what did not change is the same object"
    await there.following.look(await store.epochs())
    assert (text(far.present), text(far.before)) == (KEY % 2, KEY % 1)
    await here.put("acme", "openai", KEY % 3, overlap=0)
    assert (text(slot.present), slot.before) == (KEY % 3, None)
    assert here.slot("other", "openai").present is None
    await here.remove("acme", "openai")
    assert slot.present is None
    with pytest.raises(NotFound):
        await here.remove("acme", "openai")
    assert (await here.put("acme", "openai", KEY % 5)).shown["version"] == 4
    (info,) = await here.listed("acme")
    assert (info.version, info.last4, info.problem, info.overlap) == (4, "9a-5", "", "")
    assert await here.listed("other") == []
    assert await store.count("vault_secret") == 1
    for n in range(1, 6):
        assert not await store.holds((KEY % n).encode())


@pytest.mark.parametrize("value", ["", "short", "x" * 2049, "with space", "line\nbreak", "é" * 10])
async def test_what_cannot_be_a_key_is_refused_without_repeating_it(store: Store, value: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        await vault(store).put("acme", "openai", value)
    assert not value or value not in str(raised.value)
    for org, name in (("Acme", "openai"), ("acme", ""), ("acme", "open ai"), (":vault", "x")):
        with pytest.raises(InvalidRequest):
            await vault(store).put(org, name, KEY)


async def test_everything_is_wrapped_anew_at_once_or_not_at_all(store: Store) -> None:
    old, new = vault(store), vault(store, keks(TWO, ONE))
    for n in range(3):
        await old.put("acme", f"p{n}", KEY % n)
    await old.put("acme", "p0", KEY % 9)
    await new.open()
    seen = new.slot("acme", "p0").present
    done = await new.rotate()
    assert done.shown == {"kek": TWO.id, "rewrapped": 4}
    assert new.slot("acme", "p0").present is seen
    assert text(new.slot("acme", "p0").before) == KEY % 0
    assert (await new.rotate()).shown["rewrapped"] == 0
    only = vault(store, keks(TWO))
    await only.open()
    assert [text(only.slot("acme", f"p{n}").present) for n in range(3)] == [KEY % 9, KEY % 1, KEY % 2]
    await old.following.refresh()
    assert text(old.slot("acme", "p1").present) == KEY % 1, "what cannot be opened here does not take away what is known"
    assert {info.problem for info in await old.listed(None)} == {"it is wrapped under a key this hub does not have"}
    await old.put("acme", "p4", KEY % 4)
    with pytest.raises(InvalidRequest, match=r"acme/p4 cannot be opened.*nothing was changed"):
        await only.rotate()


async def test_rows_that_were_changed_swapped_or_copied_are_refused(store: Store) -> None:
    first = vault(store)
    await first.put("acme", "one", KEY % 1)
    await first.put("rival", "one", KEY % 2)
    copy = (
        "SET wrapped = (SELECT wrapped FROM vault_secret WHERE org = 'acme'), sealed = (SELECT sealed FROM vault_secret WHERE org = 'acme')"
    )
    await store.change(f"UPDATE vault_secret {copy} WHERE org = 'rival'")
    again = vault(store)
    await again.open()
    assert again.slot("rival", "one").present is None
    assert text(again.slot("acme", "one").present) == KEY % 1
    await store.change("UPDATE vault_secret SET version = 7 WHERE org = 'acme'")
    await again.following.refresh()
    assert text(again.slot("acme", "one").present) == KEY % 1, "last known"
    last = vault(store)
    await last.open()
    assert last.slot("acme", "one").present is None
    problems = {info.org: info.problem for info in await last.listed(None)}
    assert problems == dict.fromkeys(("acme", "rival"), "it was changed, or is of another secret")


async def test_while_the_store_is_away_values_stay_and_a_start_refuses_what_needs_them(store: Store) -> None:
    known, fresh = vault(store), vault(store)
    await known.put("acme", "openai", KEY % 1)
    spec = ProviderSpec(wire="openai", base_url="https://x", org="acme", api_key=KeptSecret("", vault="openai"))
    credentials = Credentials(spec, fresh.slot("acme", "openai"))
    away = _Away()
    known._admin._rows = fresh._admin._rows = away  # type: ignore[assignment]
    await known.following.look({VAULT: 99})
    assert text(known.slot("acme", "openai").present) == KEY % 1
    await fresh.open()
    with pytest.raises(NoCredential):
        credentials.present()
    fresh._admin._rows = store.vault
    await fresh.following.look({})
    assert credentials.present().bearer.head("POST", parse("https://x/"), 0, b"").count((KEY % 1).encode()) == 1


class _Away:
    async def all(self) -> None:
        raise StoreDown("away")


async def test_several_that_change_one_name_at_once_each_get_a_version(store: Store) -> None:
    made = await asyncio.gather(*(vault(store).put("acme", "openai", KEY % n) for n in range(8)))
    assert sorted(change.shown["version"] for change in made) == list(range(1, 9))
    last = vault(store)
    await last.open()
    newest = next(n for n, change in enumerate(made) if change.shown["version"] == 8)
    assert text(last.slot("acme", "openai").present) == KEY % newest


def test_nothing_prints_a_value() -> None:
    value = Value(KEY)
    slot_spec = ProviderSpec(wire="openai", base_url="https://x", api_key=KeptSecret(KEY))
    shown = Credentials(slot_spec, None).present()
    for text_of in (repr(value), str(value), repr(shown), repr(slot_spec), repr(keks()), base64.b64encode(b"1" * 32).decode() + repr(ONE)):
        assert "canary" not in text_of
        assert repr(b"1" * 32) not in text_of
