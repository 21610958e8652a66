import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.audit import tree
from hub.audit.tree import ProofInvalid, Range, leaf_hash, node_hash


def mth(hashes):
    """RFC 6962, section 2.1, as written."""
    if not hashes:
        return tree.EMPTY
    if len(hashes) == 1:
        return hashes[0]
    k = split(len(hashes))
    return node_hash(mth(hashes[:k]), mth(hashes[k:]))


def split(n):
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def path(m, hashes):
    """RFC 6962, section 2.1.1."""
    if len(hashes) == 1:
        return []
    k = split(len(hashes))
    if m < k:
        return [*path(m, hashes[:k]), mth(hashes[k:])]
    return [*path(m - k, hashes[k:]), mth(hashes[:k])]


def subproof(m, hashes, whole):
    """RFC 6962, section 2.1.2."""
    if m == len(hashes):
        return [] if whole else [mth(hashes)]
    k = split(len(hashes))
    if m <= k:
        return [*subproof(m, hashes[:k], whole), mth(hashes[k:])]
    return [*subproof(m - k, hashes[k:], False), mth(hashes[:k])]


def leaves(n):
    return [leaf_hash(str(i).encode()) for i in range(n)]


SIZES = st.integers(1, 200)


def test_the_empty_tree_and_the_empty_leaf_hash_as_the_rfc_says():
    assert Range().root().hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 200))
def test_a_compact_range_has_the_root_of_the_definition(n):
    assert tree.root(leaves(n)) == mth(leaves(n))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 200))
def test_a_compact_range_survives_its_encoding(n):
    whole = Range()
    for hash_ in leaves(n):
        whole.append(hash_)
    again = Range.decode(whole.encode())
    assert (again.size, again.hashes) == (whole.size, whole.hashes)


@settings(max_examples=80, deadline=None)
@given(SIZES, st.data())
def test_inclusion_proofs_are_those_of_the_definition_and_verify(n, data):
    m, hashes = data.draw(st.integers(0, n - 1)), leaves(n)
    proof = tree.inclusion_proof(m, hashes)
    assert proof == path(m, hashes)
    tree.verify_inclusion(m, n, hashes[m], proof, mth(hashes))


@settings(max_examples=80, deadline=None)
@given(SIZES, st.data())
def test_consistency_proofs_are_those_of_the_definition_and_verify(n, data):
    m, hashes = data.draw(st.integers(1, n)), leaves(n)
    proof = tree.consistency_proof(m, hashes)
    assert proof == subproof(m, hashes, True)
    tree.verify_consistency(m, n, mth(hashes[:m]), mth(hashes), proof)


@settings(max_examples=80, deadline=None)
@given(st.integers(2, 100), st.data())
def test_a_changed_inclusion_proof_does_not_verify(n, data):
    m, hashes = data.draw(st.integers(0, n - 1)), leaves(n)
    proof = tree.inclusion_proof(m, hashes)
    at = data.draw(st.integers(0, len(proof) - 1))
    for changed in ([*proof[:at], bytes(32), *proof[at + 1 :]], proof[:at] + proof[at + 1 :], [*proof, bytes(32)]):
        with pytest.raises(ProofInvalid):
            tree.verify_inclusion(m, n, hashes[m], changed, mth(hashes))
    with pytest.raises(ProofInvalid):
        tree.verify_inclusion(m, n, leaf_hash(b"another"), proof, mth(hashes))
    with pytest.raises(ProofInvalid):
        tree.verify_inclusion(n, n, hashes[m], proof, mth(hashes))


@settings(max_examples=80, deadline=None)
@given(st.integers(2, 100), st.data())
def test_a_rewritten_history_has_no_consistency_proof(n, data):
    m, hashes = data.draw(st.integers(1, n - 1)), leaves(n)
    proof = tree.consistency_proof(m, hashes)
    changed = data.draw(st.integers(0, m - 1))
    other = [*hashes[:changed], leaf_hash(b"another"), *hashes[changed + 1 :]]
    with pytest.raises(ProofInvalid):
        tree.verify_consistency(m, n, mth(hashes[:m]), mth(other), tree.consistency_proof(m, other))
    with pytest.raises(ProofInvalid):
        tree.verify_consistency(m, n, mth(other[:m]), mth(hashes), proof)
    with pytest.raises(ProofInvalid):
        tree.verify_consistency(m, n, mth(hashes[:m]), mth(hashes), proof[:-1])


def test_consistency_from_nothing_and_with_itself_need_no_hashes():
    tree.verify_consistency(0, 5, tree.EMPTY, mth(leaves(5)), [])
    tree.verify_consistency(5, 5, mth(leaves(5)), mth(leaves(5)), [])
    with pytest.raises(ProofInvalid):
        tree.verify_consistency(5, 5, mth(leaves(5)), bytes(32), [])
    with pytest.raises(ProofInvalid):
        tree.verify_consistency(6, 5, bytes(32), bytes(32), [])


@settings(max_examples=80, deadline=None)
@given(SIZES, st.data())
def test_a_range_continues_with_whole_subtrees(n, data):
    begin, hashes = data.draw(st.integers(0, n)), leaves(n)
    whole = Range()
    for hash_ in hashes[:begin]:
        whole.append(hash_)
    for first, level in tree.cover(begin, n):
        whole.extend(level, mth(hashes[first : first + (1 << level)]))
    assert (whole.size, whole.root()) == (n, mth(hashes))


def test_a_subtree_out_of_place_is_refused():
    whole = Range(1, [bytes(32)])
    with pytest.raises(ValueError, match="multiple"):
        whole.extend(1, bytes(32))


@pytest.mark.parametrize("data", [b"", b"\0" * 7, b"\0" * 7 + b"\x01", b"\0" * 8 + b"x" * 32, b"\0" * 7 + b"\x01" + b"x" * 31])
def test_bytes_that_are_no_range_are_refused(data):
    with pytest.raises(ValueError):
        Range.decode(data)


def test_spans_outside_the_tree_are_refused():
    with pytest.raises(ValueError):
        tree.inclusion_spans(3, 3)
    with pytest.raises(ValueError):
        tree.consistency_spans(4, 3)
