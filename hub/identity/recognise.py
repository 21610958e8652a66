"""A credential is recognised: by a cheap digest where it was before, else by the whole check, which takes as long for whom it refuses."""

import secrets
from collections.abc import Callable
from hashlib import blake2b
from hmac import compare_digest

from hub.call import Caller, Credential
from hub.identity.entry import Entry, KeyInfo, Mac, entry_of
from hub.identity.keys import mint, parse
from hub.refusal import Unauthenticated

REMEMBERED = 4096
"""Keys recognised since anything changed that are recognised again by a cheaper digest."""


class Recogniser:
    """`find(key id)` is the live key of that id; `mac` and `wall` as in `Identity`."""

    def __init__(
        self, find: Callable[[str], Entry | None], pepper: bytes, mac: Callable[[bytes, bytes], Mac], wall: Callable[[], float]
    ) -> None:
        self._find = find
        self._mac = mac
        self._wall = wall
        self._recognised: dict[bytes, Entry] = {}
        self._digest_key = secrets.token_bytes(32)
        # What a text that is no key, or names none, is held against: the same work is done, and nothing matches it.
        stranger = mint()
        self._blank = stranger.text
        self._nobody = entry_of(KeyInfo(stranger.id, "", "", ""), pepper, secrets.token_bytes(32))

    def forget(self) -> None:
        """Keys have changed: the next credential of each is checked as a whole."""
        self._recognised.clear()

    def caller(self, credential: Credential) -> Caller:
        """Raises `Unauthenticated`."""
        digest = blake2b(credential.secret.encode("utf-8", "surrogatepass"), digest_size=32, key=self._digest_key).digest()
        known = self._recognised.get(digest)
        if known is not None and known.expires > self._wall():
            return known.caller
        entry = self._recognise(credential)
        if len(self._recognised) >= REMEMBERED:
            self._recognised.clear()
        self._recognised[digest] = entry
        return entry.caller

    def _recognise(self, credential: Credential) -> Entry:
        """The whole check. Whoever is refused has come through here, so that all of them wait equally long."""
        parsed = parse(credential.secret)
        if parsed is None:
            text, entry = self._blank, self._nobody
        else:
            text = parsed.text
            entry = self._find(parsed.id) or self._nobody
        same = compare_digest(self._mac(entry.pepper, text.encode()), entry.mac)
        if not same or entry.expires <= self._wall():
            raise Unauthenticated
        return entry
