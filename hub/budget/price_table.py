"""A price table: what providers charge for their models, read from a snapshot. `embedded()` is the one that comes with the hub.

A snapshot is JSON, gzipped or not, as `scripts/prices` writes it. A provider's part is decoded when it is first asked for. It
knows nothing of an operator's own prices (`hub.budget.price_book`).
"""

import gzip
import re
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from io import BytesIO
from typing import Literal

from msgspec import MsgspecError, Raw, Struct, json

from hub.budget.price_rules import Rule, check, matches, spellings
from hub.budget.prices import Price

FORMAT = 1
LARGEST = 64 * 1024 * 1024
"""Bytes of a snapshot, unpacked."""

_SNAPSHOT, _DIGEST = "data/prices.json.gz", "data/prices.json.sha256"

Capability = Literal["tools", "vision", "json_schema", "reasoning", "audio", "search"]


class BadTable(ValueError):
    """What was given is no price table. The message says why, for an operator."""


class Phase(Struct, frozen=True, omit_defaults=True):
    """A price and when it holds: from an instant on (Unix seconds), and, where `hours` is set, in a part of each UTC day.

    `hours` are two seconds of the day, the second one not included; they may span midnight. `price` None: it has a price that cannot be
    told from tokens.
    """

    price: Price | None = None
    start: int = 0
    hours: tuple[int, int] | None = None

    def holds(self, at: int) -> bool:
        if at < self.start:
            return False
        if self.hours is None:
            return True
        first, last = self.hours
        second = at % 86_400
        return first <= second < last if first <= last else second >= first or second < last


class Model(Struct, frozen=True, omit_defaults=True):
    """One model of a provider. `window` and `max_output` are in tokens, 0 where unknown; `can` has what is known of it.

    Of the phases that hold, the last one counts; where none does, the first. `services` has those of other classes of service.
    """

    id: str
    match: Rule
    phases: tuple[Phase, ...] = ()
    services: dict[str, tuple[Phase, ...]] = {}
    window: int = 0
    max_output: int = 0
    can: frozenset[Capability] = frozenset()
    source: str = "genai-prices"


class Provider(Struct, frozen=True, omit_defaults=True):
    """A provider's models, in the order in which they are tried. `others`: whose models it sells at their price where it lists none."""

    models: tuple[Model, ...]
    others: tuple[str, ...] = ()


class Source(Struct, frozen=True):
    """Where prices were taken from."""

    name: str
    version: str
    licence: str
    sha256: str


class _File(Struct, frozen=True):
    format: int
    date: str
    sources: tuple[Source, ...]
    names: dict[str, str]
    urls: dict[str, str]
    providers: dict[str, Raw]


class Table:
    """One snapshot. `hash` names it in records; `date` is the day it was made."""

    def __init__(self, body: bytes) -> None:
        content = _unpacked(body)
        self.hash = f"sha256:{sha256(content).hexdigest()}"
        file = _decoded(content)
        self.date, self.sources = file.date, file.sources
        self._names, self._parts = file.names, file.providers
        self._urls = file.urls
        self._decoded: dict[str, Provider] = {}

    @property
    def providers(self) -> list[str]:
        return list(self._parts)

    def named(self, kind: str) -> str:
        """The provider that is called so, by one of its names; empty where none is."""
        name = kind.lower()
        return name if name in self._parts else self._names.get(name, "")

    def at_url(self, url: str) -> str:
        """The provider whose API is at this address; empty where none is."""
        return next((name for pattern, name in self._urls.items() if re.match(pattern, url)), "")

    def provider(self, name: str) -> Provider:
        """Raises `BadTable` where its part is broken, KeyError where there is none."""
        known = self._decoded.get(name)
        if known is None:
            try:
                known = self._decoded[name] = json.decode(self._parts[name], type=Provider)
            except MsgspecError as error:
                raise BadTable(f"the prices of {name} cannot be read: {error}") from None
        return known

    def model(self, kind: str, name: str) -> tuple[Model, bool] | None:
        """The model a provider means by a name, and whether the provider lists it itself."""
        provider = self.named(kind)
        if not provider:
            return None
        mine = self.provider(provider)
        for spelling in spellings(name):
            if found := _first(mine, spelling):
                return found, True
            for other in mine.others:
                if other in self._parts and (found := _first(self.provider(other), spelling)):
                    return found, False
        return None

    def check(self) -> None:
        """Read all of it, rules and all. Raises `BadTable`."""
        try:
            self.at_url("")
            for name in self._parts:
                for model in self.provider(name).models:
                    check(model.match)
        except re.error as error:
            raise BadTable(f"`{error.pattern}` is no regular expression: {error}") from None


def phase_at(phases: tuple[Phase, ...], at: int) -> Phase | None:
    """The phase that counts at an instant."""
    if len(phases) == 1:
        return phases[0]
    return next((phase for phase in reversed(phases) if phase.holds(at)), phases[0] if phases else None)


@lru_cache(maxsize=1)
def embedded() -> Table:
    """The table that comes with the hub."""
    return Table(embedded_bytes())


def embedded_bytes() -> bytes:
    """The same as a file."""
    return files("hub.budget").joinpath(_SNAPSHOT).read_bytes()


@lru_cache(maxsize=1)
def embedded_hash() -> str:
    """Its hash, without loading it."""
    return "sha256:" + files("hub.budget").joinpath(_DIGEST).read_text().split()[0]


def _first(provider: Provider, name: str) -> Model | None:
    return next((model for model in provider.models if matches(model.match, name)), None)


def _unpacked(body: bytes) -> bytes:
    if not body.startswith(b"\x1f\x8b"):
        return body
    try:
        with gzip.open(BytesIO(body)) as file:
            content = file.read(LARGEST + 1)
    except (OSError, EOFError) as error:
        raise BadTable(f"not a gzip file: {error}") from None
    if len(content) > LARGEST:
        raise BadTable(f"more than {LARGEST} bytes unpacked")
    return content


def _decoded(content: bytes) -> _File:
    try:
        file = json.decode(content, type=_File)
    except MsgspecError as error:
        raise BadTable(f"not a price table: {error}") from None
    if file.format != FORMAT:
        raise BadTable(f"a price table of format {file.format}; this version reads {FORMAT}")
    return file
