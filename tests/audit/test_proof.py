import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.audit import proof as proofs
from hub.audit import tree
from hub.audit.checkpoint import NoteInvalid, Signer, VerifierKey
from hub.audit.proof import Proof
from hub.audit.tree import ProofInvalid, leaf_hash

ORIGIN = "hub-x/audit/org_1"
SIGNER = Signer(b"\x01" * 32)
KEY = VerifierKey.parse(SIGNER.vkey(ORIGIN))
LEAVES = [b'{"n":%d}' % i for i in range(11)]
HASHES = [leaf_hash(leaf) for leaf in LEAVES]
NOTE = SIGNER.checkpoint(ORIGIN, len(HASHES), tree.root(HASHES))


def prove(index: int, leaf: bytes = b"") -> Proof:
    return Proof(index, tuple(tree.inclusion_proof(index, HASHES)), NOTE, leaf)


@pytest.mark.parametrize("index", range(len(LEAVES)))
def test_every_record_can_be_proved_from_a_file(index):
    text = prove(index, LEAVES[index]).text()
    assert text.startswith("c2sp.org/tlog-proof@v1\nextra ")
    assert proofs.parse(text) == prove(index, LEAVES[index])
    assert proofs.verify(proofs.parse(text), KEY).size == len(LEAVES)


def test_the_record_may_come_from_elsewhere():
    proof = proofs.parse(prove(3).text())
    assert proofs.verify(proof, KEY, LEAVES[3]).origin == ORIGIN
    with pytest.raises(ProofInvalid, match="does not hold the record"):
        proofs.verify(proof, KEY)
    with pytest.raises(ProofInvalid):
        proofs.verify(proof, KEY, LEAVES[4])


def test_another_key_proves_nothing():
    with pytest.raises(NoteInvalid):
        proofs.verify(prove(3, LEAVES[3]), VerifierKey.parse(Signer(b"\x02" * 32).vkey(ORIGIN)))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_changed_byte_of_a_proof_file_survives(data):
    text = prove(6, LEAVES[6]).text().encode()
    at, flip = data.draw(st.integers(0, len(text) - 1)), data.draw(st.integers(1, 127))
    changed = text[:at] + bytes([text[at] ^ flip]) + text[at + 1 :]
    with pytest.raises((NoteInvalid, ProofInvalid)):
        proofs.verify(proofs.parse(changed.decode("utf-8", "surrogateescape")), KEY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c2sp.org/tlog-proof@v1\n\n",
        "c2sp.org/tlog-proof@v1\nindex 01\n\nx",
        "c2sp.org/tlog-proof@v2\nindex 1\n\nx",
        "c2sp.org/tlog-proof@v1\nindex 1\nAAAA\n\nx",
        "c2sp.org/tlog-proof@v1\nextra %%\nindex 1\n\nx",
    ],
)
def test_text_that_is_no_proof_is_refused(text):
    with pytest.raises(NoteInvalid):
        proofs.parse(text)
