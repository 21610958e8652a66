"""Laws of the envelope: what was sealed comes back, and nothing else does; and where the key-encryption key comes from."""

import base64
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.config.serving import VaultKey
from hub.config.values import Secret
from hub.store import keks as source
from hub.store.envelope import About, BrokenSeal, Envelope, Kek, kek_of, rewrap, seal, unseal
from hub.store.keks import keks
from hub.store.secrets import Secrets, UnusableSecret

KEK, NEXT = kek_of(b"k" * 32), kek_of(b"n" * 32)
BOTH = {kek.id: kek for kek in (KEK, NEXT)}
names = st.text(st.characters(codec="utf-8"), max_size=12)
abouts = st.builds(About, names, names, st.integers(0, 2**63 - 1), names)


@given(abouts, st.binary(max_size=300))
def test_what_was_sealed_comes_back_also_when_it_was_wrapped_anew(about: About, value: bytes) -> None:
    envelope = seal(KEK, about, value)
    assert unseal(BOTH, about, envelope) == value
    again = rewrap(BOTH, NEXT, about, envelope)
    assert (again.kek, again.sealed) == (NEXT.id, envelope.sealed)
    assert unseal({NEXT.id: NEXT}, about, again) == value
    with pytest.raises(BrokenSeal):
        unseal({KEK.id: KEK}, about, again)
    assert seal(KEK, about, value).wrapped != envelope.wrapped, "every value has a data key of its own"


@given(st.data())
def test_any_bit_that_is_flipped_anywhere_and_any_end_that_is_cut_is_found(data: st.DataObject) -> None:
    about = About("acme", "openai", 3, "provider key")
    envelope = seal(KEK, about, b"sk-of-acme-0123456789")
    part = data.draw(st.sampled_from(["wrapped", "sealed"]))
    content = bytearray(getattr(envelope, part))
    if data.draw(st.booleans()):
        bit = data.draw(st.integers(0, len(content) * 8 - 1))
        content[bit // 8] ^= 1 << bit % 8
    else:
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    broken = Envelope(**{"kek": envelope.kek, "wrapped": envelope.wrapped, "sealed": envelope.sealed, part: bytes(content)})
    with pytest.raises(BrokenSeal) as raised:
        unseal(BOTH, about, broken)
    assert "sk-of" not in str(raised.value)
    with pytest.raises(BrokenSeal):
        rewrap(BOTH, NEXT, about, broken)


@given(abouts, abouts)
def test_an_envelope_opens_only_as_what_it_was_sealed_as(one: About, other: About) -> None:
    """Another organisation's row, another name or version, two rows swapped: also where the parts run together to the same text."""
    sealed, swapped = seal(KEK, one, b"one"), seal(KEK, other, b"other")
    if one == other:
        assert unseal(BOTH, other, sealed) == b"one"
        return
    for about, envelope in ((other, sealed), (one, swapped)):
        with pytest.raises(BrokenSeal):
            unseal(BOTH, about, envelope)
    for mixed in (Envelope(KEK.id, sealed.wrapped, swapped.sealed), Envelope(KEK.id, swapped.wrapped, sealed.sealed)):
        for about in (one, other):
            with pytest.raises(BrokenSeal):
                unseal(BOTH, about, mixed)


def test_a_row_that_names_another_key_is_refused_and_no_key_prints_itself() -> None:
    about = About("a", "b", 1, "c")
    sealed = seal(KEK, about, b"value")
    with pytest.raises(BrokenSeal):
        unseal(BOTH, about, Envelope(NEXT.id, sealed.wrapped, sealed.sealed))
    with pytest.raises(BrokenSeal):
        unseal({KEK.id: Kek(KEK.id, NEXT.key)}, about, sealed)
    assert "kkkk" not in repr(KEK)
    assert "value" not in repr(sealed)
    with pytest.raises(ValueError):
        kek_of(b"short")


def _given(**more: Any) -> VaultKey:
    return VaultKey(**more)


def test_the_key_is_the_masters_or_given_or_printed_and_the_masters_is_accepted_always(tmp_path: Path) -> None:
    secrets, own = Secrets(b"m" * 32, b"l" * 32), base64.b64encode(b"k" * 32).decode()
    derived = keks(secrets, None)
    assert derived.present == kek_of(secrets.derive("vault"))
    file = tmp_path / "key"
    file.write_text(own + "\n")
    command = (sys.executable, "-c", f"import sys; print('chatter', file=sys.stderr); print(open({str(file)!r}).read())")
    for given_key in (_given(key=Secret(own)), _given(command=command)):
        found = keks(secrets, given_key)
        assert found.present == KEK
        assert set(found.known) == {KEK.id, derived.present.id}
        assert "kkk" not in repr(found)
    older = keks(secrets, _given(accepted=(Secret(own),)))
    assert (older.present, set(older.known)) == (derived.present, {KEK.id, derived.present.id})


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("print('canary-not-base64!')", "not base64"),
        ("print('canary'); raise SystemExit(3)", "exit code 3"),
        ("print('canary' * 10000)", "more than"),
        ("import time; print('canary', flush=True); time.sleep(60)", "did not end"),
        ("import os, sys; os.close(1); import time; time.sleep(60)", "did not end"),
    ],
)
def test_a_command_is_bounded_and_never_quoted(monkeypatch: pytest.MonkeyPatch, program: str, said: str) -> None:
    monkeypatch.setattr(source, "PATIENCE", 2.0)
    with pytest.raises(UnusableSecret, match=said) as raised:
        keks(Secrets(b"m" * 32, b"l" * 32), _given(command=(sys.executable, "-c", program)))
    assert "canary" not in str(raised.value)


def test_a_command_that_is_not_there_is_said() -> None:
    with pytest.raises(UnusableSecret, match="cannot be started"):
        keks(Secrets(b"m" * 32, b"l" * 32), _given(command=("/nothing/here",)))
