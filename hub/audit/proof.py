"""c2sp.org/tlog-proof@v1: one record, its path to a signed root, and that root, in one text file that is checked offline.

The record itself travels in the `extra` line, so the file is evidence by itself. Knows no storage.
"""

import base64
from dataclasses import dataclass

from hub.audit.checkpoint import Checkpoint, NoteInvalid, VerifierKey, decimal, open_checkpoint, unbase64
from hub.audit.tree import ProofInvalid, leaf_hash, verify_inclusion

HEADER = "c2sp.org/tlog-proof@v1"
MAX_HASHES = 63
MAX_FILE = 2_000_000


@dataclass(frozen=True)
class Proof:
    """`leaf` is the record's canonical JSON (empty: not in the file), `hashes` its inclusion path, `note` the signed checkpoint."""

    index: int
    hashes: tuple[bytes, ...]
    note: str
    leaf: bytes = b""

    def text(self) -> str:
        """The file."""
        extra = [f"extra {_base64(self.leaf)}"] if self.leaf else []
        return "\n".join([HEADER, *extra, f"index {self.index}", *map(_base64, self.hashes), "", self.note])


def parse(text: str) -> Proof:
    """Read a proof file. Raises `NoteInvalid`; checks no signature and no hash."""
    head, blank, note = text.partition("\n\n")
    lines = head.split("\n")
    if not blank or lines.pop(0) != HEADER:
        raise NoteInvalid(f"a proof begins with {HEADER}")
    leaf = unbase64(lines.pop(0)[6:]) if lines and lines[0].startswith("extra ") else b""
    if not lines or not lines[0].startswith("index "):
        raise NoteInvalid("a proof names the index of its record")
    index = decimal(lines.pop(0)[6:])
    hashes = tuple(unbase64(line) for line in lines)
    if len(hashes) > MAX_HASHES or any(len(h) != 32 for h in hashes):
        raise NoteInvalid("a proof is made of SHA-256 hashes")
    return Proof(index, hashes, note, leaf)


def verify(proof: Proof, key: VerifierKey, leaf: bytes = b"") -> Checkpoint:
    """Check that `leaf` (or the record in the file) is in the log of `key`. Raises `NoteInvalid` or `ProofInvalid`.

    The steps are those of the specification: 1 leaf hash, 2 origin and signature, 4 inclusion. (3, witnesses, are passed over.)
    """
    record = leaf or proof.leaf
    if not record:
        raise ProofInvalid("the file does not hold the record it speaks of")
    hash_ = leaf_hash(record)
    checkpoint = open_checkpoint(proof.note, key)
    verify_inclusion(proof.index, checkpoint.size, hash_, proof.hashes, checkpoint.root)
    return checkpoint


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
