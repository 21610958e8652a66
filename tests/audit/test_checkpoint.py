import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.audit import checkpoint
from hub.audit.checkpoint import Checkpoint, NoteInvalid, Signer, VerifierKey, open_checkpoint, open_note

# The example of c2sp.org/signed-note.
VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
NOTE = "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
SIGNER = Signer(b"\x01" * 32)
ORIGIN = "hub-x/audit/org_1"
KEY = VerifierKey.parse(SIGNER.vkey(ORIGIN))


def test_the_example_of_the_specification_verifies():
    key = VerifierKey.parse(VKEY)
    assert open_note(NOTE, key) == "This is an example message.\n"
    assert key.text() == VKEY


def test_a_checkpoint_reads_back():
    note = SIGNER.checkpoint(ORIGIN, 12, b"r" * 32)
    assert open_checkpoint(note, KEY) == Checkpoint(ORIGIN, 12, b"r" * 32)
    assert note.split("\n")[:3] == [ORIGIN, "12", base64.b64encode(b"r" * 32).decode()]


def test_signatures_of_strangers_are_passed_over():
    note = SIGNER.checkpoint(ORIGIN, 12, b"r" * 32)
    witness = Signer(b"\x02" * 32).sign("witness.example/w", note.partition("\n\n")[0] + "\n").rpartition("\n\n")[2]
    assert open_checkpoint(note + witness, KEY).size == 12
    with pytest.raises(NoteInvalid, match="not signed by"):
        open_checkpoint(note.partition("\n\n")[0] + "\n\n" + witness, KEY)


def test_the_same_key_under_another_name_is_a_stranger():
    with pytest.raises(NoteInvalid, match="not signed by"):
        open_checkpoint(SIGNER.checkpoint("hub-x/audit/org_2", 12, b"r" * 32), KEY)


def test_a_checkpoint_of_another_log_under_the_right_key_name_is_refused():
    with pytest.raises(NoteInvalid, match="of the log other"):
        open_checkpoint(SIGNER.sign(ORIGIN, checkpoint.checkpoint_text("other", 12, b"r" * 32)), KEY)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_changed_byte_of_a_note_survives(data):
    note = SIGNER.checkpoint(ORIGIN, 12, b"r" * 32).encode()
    at, flip = data.draw(st.integers(0, len(note) - 1)), data.draw(st.integers(1, 255))
    changed = (note[:at] + bytes([note[at] ^ flip]) + note[at + 1 :]).decode("utf-8", "surrogateescape")
    with pytest.raises(NoteInvalid):
        open_checkpoint(changed, KEY)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
def test_arbitrary_text_is_refused_by_type(text):
    for read in (lambda: open_checkpoint(text, KEY), lambda: VerifierKey.parse(text), lambda: checkpoint.parse_checkpoint(text)):
        with pytest.raises(NoteInvalid):
            read()


@pytest.mark.parametrize("size", ["012", "-1", "+1", "1_0", "", "٣", "1" * 20])
def test_sizes_have_one_spelling(size):
    with pytest.raises(NoteInvalid):
        checkpoint.parse_checkpoint(f"{ORIGIN}\n{size}\n{base64.b64encode(bytes(32)).decode()}\n")


@pytest.mark.parametrize(
    "vkey",
    [
        VKEY.replace("530d903a", "530d903b"),
        VKEY.replace("foo", "fop"),
        VKEY[:-4],
        VKEY.replace("Aeky", "Beky"),
        "a b" + VKEY,
        "+".join(VKEY.split("+")[:2]),
    ],
)
def test_a_mistyped_verifier_key_is_refused(vkey):
    with pytest.raises(NoteInvalid):
        VerifierKey.parse(vkey)


def test_too_many_signatures_are_refused():
    note = SIGNER.checkpoint(ORIGIN, 12, b"r" * 32)
    line = note.rpartition("\n\n")[2]
    assert open_checkpoint(note + line * 15, KEY).size == 12
    with pytest.raises(NoteInvalid, match="too many"):
        open_checkpoint(note + line * 64, KEY)


def test_a_seed_has_32_bytes_and_is_not_shown():
    with pytest.raises(ValueError, match="32"):
        Signer(b"short")
    assert "01" * 8 not in repr(SIGNER)
