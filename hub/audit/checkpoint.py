"""C2SP signed notes and tree checkpoints with Ed25519: made, spelled, read and checked. Knows no records.

Sources: c2sp.org/signed-note@v1.0.0, c2sp.org/tlog-checkpoint@v1.0.0. One key signs for every log of a hub; in a note and in a verifier
key its name is the log's origin, so a key pinned for one log says nothing for another.
"""

import base64
import binascii
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ED25519 = b"\x01"
MAX_SIGNATURES = 64
MAX_NOTE = 1_000_000
_DASH = "\u2014 "


class NoteInvalid(ValueError):
    """Text that is no signed note, or none signed by the key that is trusted. The message is safe to show."""


class Signer:
    """The hub's log key. Neither its `repr` nor its errors hold the seed."""

    def __init__(self, seed: bytes) -> None:
        """`seed`: 32 bytes (RFC 8032, section 5.1.5). Raises `ValueError` for another length."""
        if len(seed) != 32:
            raise ValueError("a log key has 32 bytes")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._key.public_key().public_bytes_raw()

    def vkey(self, name: str) -> str:
        """The verifier key to hand out, `<name>+<key id>+<base64>`."""
        return VerifierKey(name, self.public).text()

    def sign(self, name: str, text: str) -> str:
        """`text` (which ends in a newline) as a signed note."""
        signature = key_id(name, self.public) + self._key.sign(text.encode())
        return f"{text}\n{_DASH}{name} {base64.b64encode(signature).decode()}\n"

    def checkpoint(self, origin: str, size: int, root: bytes) -> str:
        """A signed tree head, under the log's own name."""
        return self.sign(origin, checkpoint_text(origin, size, root))


@dataclass(frozen=True)
class VerifierKey:
    """Whose signature is trusted: a name and an Ed25519 public key of 32 bytes."""

    name: str
    public: bytes

    def text(self) -> str:
        return f"{self.name}+{key_id(self.name, self.public).hex()}+{base64.b64encode(ED25519 + self.public).decode()}"

    @staticmethod
    def parse(text: str) -> "VerifierKey":
        """Read `<name>+<key id>+<base64 key>`. Raises `NoteInvalid`."""
        parts = text.strip().split("+", 2)
        if len(parts) != 3 or not _is_name(parts[0]):
            raise NoteInvalid("a verifier key reads <name>+<key id>+<base64>")
        name, identifier, encoded = parts
        material = unbase64(encoded)
        if len(material) != 33 or material[:1] != ED25519:
            raise NoteInvalid("the verifier key is not an Ed25519 key")
        if identifier != key_id(name, material[1:]).hex():
            raise NoteInvalid("the key id does not belong to this name and key")
        return VerifierKey(name, material[1:])


@dataclass(frozen=True)
class Checkpoint:
    """A tree head: `root` is the RFC 6962 root of the first `size` records of the log `origin`."""

    origin: str
    size: int
    root: bytes


def key_id(name: str, public: bytes) -> bytes:
    """Four bytes that tell keys of one name apart."""
    return sha256(name.encode() + b"\n" + ED25519 + public).digest()[:4]


def checkpoint_text(origin: str, size: int, root: bytes) -> str:
    return f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"


def open_note(note: str, key: VerifierKey) -> str:
    """The text of a note that `key` has signed. Raises `NoteInvalid`. Signatures of other keys are passed over."""
    text, signatures = split_note(note)
    known = (key.name, key_id(key.name, key.public))
    found = [signature for name, identifier, signature in signatures if (name, identifier) == known]
    if not found:
        raise NoteInvalid(f"not signed by {key.name}+{known[1].hex()}")
    for signature in found:
        try:
            Ed25519PublicKey.from_public_bytes(key.public).verify(signature, text.encode())
        except (InvalidSignature, ValueError):
            raise NoteInvalid("the signature does not fit the text") from None
    return text


def split_note(note: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """(text, [(key name, key id, signature)]) of a note. Raises `NoteInvalid`; checks no signature."""
    if len(note) > MAX_NOTE or any(c < " " and c != "\n" for c in note) or not _is_unicode(note):
        raise NoteInvalid("a note is UTF-8 text without control characters")
    text, blank, tail = note.rpartition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise NoteInvalid("a note ends in a blank line and signature lines")
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteInvalid("the note has too many signatures")
    return text + "\n", [_signature(line) for line in lines]


def open_checkpoint(note: str, key: VerifierKey) -> Checkpoint:
    """The checkpoint of a note that `key` has signed for the log of its own name. Raises `NoteInvalid`."""
    checkpoint = parse_checkpoint(open_note(note, key))
    if checkpoint.origin != key.name:
        raise NoteInvalid(f"the checkpoint is of the log {checkpoint.origin}, the key of {key.name}")
    return checkpoint


def parse_checkpoint(text: str) -> Checkpoint:
    """Read a note's text as a checkpoint; extension lines are passed over. Raises `NoteInvalid`."""
    lines = text.split("\n")
    if len(lines) < 4 or lines.pop() or not all(lines):
        raise NoteInvalid("a checkpoint has an origin, a size and a root")
    root = unbase64(lines[2])
    if len(root) != 32:
        raise NoteInvalid("a root hash has 32 bytes")
    return Checkpoint(lines[0], decimal(lines[1]), root)


def decimal(text: str) -> int:
    """A number as C2SP writes it: ASCII digits, no leading zero. Raises `NoteInvalid`."""
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or (text[0] == "0" and text != "0"):
        raise NoteInvalid("a size or index is a decimal number without leading zeros")
    return int(text)


def _signature(line: str) -> tuple[str, bytes, bytes]:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not _is_name(name):
        raise NoteInvalid("a signature line reads: em dash, key name, signature")
    data = unbase64(encoded)
    if len(data) < 5:
        raise NoteInvalid("a signature is too short")
    return name, data[:4], data[4:]


def _is_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(c.isspace() for c in name)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def unbase64(text: str) -> bytes:
    """Raises `NoteInvalid`."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NoteInvalid("not base64") from None
    if base64.b64encode(data).decode() != text:  # one spelling only: spare bits could differ unseen
        raise NoteInvalid("not base64")
    return data
