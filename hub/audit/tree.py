"""RFC 6962 Merkle trees over leaf hashes: compact ranges, inclusion and consistency proofs. Pure; knows no records and no storage."""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

EMPTY = sha256(b"").digest()
"""Root of the tree without leaves (RFC 6962, section 2.1)."""

Span = tuple[int, int]
"""Leaves `[begin, end)`."""


class ProofInvalid(ValueError):
    """A proof does not lead to the root it should."""


def leaf_hash(leaf: bytes) -> bytes:
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


class Range:
    """The compact range of a tree: its size and the roots of its perfect subtrees, largest first, one for each set bit of the size.

    It is all that appending needs, at most 64 hashes.
    """

    __slots__ = ("hashes", "size")

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        self.size = size
        self.hashes = list(hashes)
        if len(self.hashes) != size.bit_count() or any(len(h) != 32 for h in self.hashes):
            raise ValueError("a compact range has one 32-byte hash for each set bit of its size")

    def append(self, hash_: bytes) -> None:
        """Add one leaf, given its leaf hash."""
        size, hashes = self.size, self.hashes
        self.size = size + 1
        while size & 1:
            hash_ = sha256(b"\x01" + hashes.pop() + hash_).digest()
            size >>= 1
        hashes.append(hash_)

    def extend(self, level: int, hash_: bytes) -> None:
        """Add a perfect subtree of `2**level` leaves. Raises `ValueError` where it does not begin at a multiple of its size."""
        if self.size & ((1 << level) - 1):
            raise ValueError("a subtree must begin at a multiple of its size")
        rest = self.size >> level
        self.size += 1 << level
        while rest & 1:
            hash_ = node_hash(self.hashes.pop(), hash_)
            rest >>= 1
        self.hashes.append(hash_)

    def root(self) -> bytes:
        if not self.hashes:
            return EMPTY
        hash_ = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            hash_ = node_hash(left, hash_)
        return hash_

    def encode(self) -> bytes:
        """Eight bytes of size, big-endian, then the hashes."""
        return self.size.to_bytes(8) + b"".join(self.hashes)

    @staticmethod
    def decode(data: bytes) -> "Range":
        """The inverse of `encode`. Raises `ValueError`."""
        if len(data) < 8:
            raise ValueError("a compact range begins with eight bytes of size")
        return Range(int.from_bytes(data[:8]), (data[at : at + 32] for at in range(8, len(data), 32)))


def root(hashes: Iterable[bytes]) -> bytes:
    """Root of the tree with these leaf hashes."""
    whole = Range()
    for hash_ in hashes:
        whole.append(hash_)
    return whole.root()


def cover(begin: int, end: int) -> list[tuple[int, int]]:
    """The perfect subtrees that make up the leaves `[begin, end)`, as (first leaf, level), left to right."""
    parts: list[tuple[int, int]] = []
    while begin < end:
        fitting = (end - begin).bit_length() - 1
        level = min(fitting, (begin & -begin).bit_length() - 1) if begin else fitting
        parts.append((begin, level))
        begin += 1 << level
    return parts


def inclusion_spans(index: int, size: int) -> list[Span]:
    """Which leaves each hash of an inclusion proof covers, from the leaf's sibling upwards (RFC 6962, section 2.1.1)."""
    if not 0 <= index < size:
        raise ValueError("the index is not in the tree")
    spans: list[Span] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((begin, middle))
            begin = middle
    return spans[::-1]


def consistency_spans(old: int, new: int) -> list[Span]:
    """Which leaves each hash of a consistency proof covers (RFC 6962, section 2.1.2). Empty for `old` 0 or equal to `new`."""
    if not 0 <= old <= new:
        raise ValueError("the older tree is the larger one")
    if old in (0, new):
        return []
    spans: list[Span] = []
    begin, end, whole = 0, new, True
    while end != old:
        middle = begin + _split(end - begin)
        if old <= middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((begin, middle))
            begin, whole = middle, False
    if not whole:
        spans.append((begin, end))
    return spans[::-1]


def inclusion_proof(index: int, hashes: Sequence[bytes]) -> list[bytes]:
    """Proof that leaf `index` is in the tree of these leaf hashes."""
    return [root(hashes[begin:end]) for begin, end in inclusion_spans(index, len(hashes))]


def consistency_proof(old: int, hashes: Sequence[bytes]) -> list[bytes]:
    """Proof that the tree of the first `old` leaf hashes is a beginning of the tree of them all."""
    return [root(hashes[begin:end]) for begin, end in consistency_spans(old, len(hashes))]


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], expected: bytes) -> None:
    """Check an inclusion proof for the leaf hash `leaf` (RFC 9162, section 2.1.3.2). Raises `ProofInvalid`."""
    if not 0 <= index < size:
        raise ProofInvalid("the index is not in the tree")
    spans = inclusion_spans(index, size)
    if len(spans) != len(proof):
        raise ProofInvalid(f"the proof has {len(proof)} hashes where {len(spans)} are needed")
    hash_ = leaf
    for (begin, _), sibling in zip(spans, proof, strict=True):
        hash_ = node_hash(hash_, sibling) if begin > index else node_hash(sibling, hash_)
    if hash_ != expected:
        raise ProofInvalid("the proof does not lead to the root")


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check a consistency proof (RFC 9162, section 2.1.4.2). Raises `ProofInvalid`."""
    if not 0 <= old <= new:
        raise ProofInvalid("the older tree is the larger one")
    spans = consistency_spans(old, new)
    if len(spans) != len(proof):
        raise ProofInvalid(f"the proof has {len(proof)} hashes where {len(spans)} are needed")
    if old in (0, new):
        if (old == 0 and old_root != EMPTY) or (old == new and old_root != new_root):
            raise ProofInvalid("the roots differ")
        return
    nodes = dict(zip(spans, proof, strict=True))
    if old & (old - 1) == 0:  # the older tree is a subtree of its own: the verifier has its root, so the proof leaves it out
        nodes[0, old] = old_root
    if _assemble(0, old, nodes.get) != old_root or _assemble(0, new, nodes.get) != new_root:
        raise ProofInvalid("the proof does not join the two roots")


def _assemble(begin: int, end: int, known: Callable[[Span], bytes | None]) -> bytes:
    """The hash over `[begin, end)` from known subtrees; a consistency proof holds what is needed for both of its trees."""
    if (hash_ := known((begin, end))) is not None:
        return hash_
    if end - begin < 2:
        raise ProofInvalid("the proof leaves out a hash")
    middle = begin + _split(end - begin)
    return node_hash(_assemble(begin, middle, known), _assemble(middle, end, known))


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1
