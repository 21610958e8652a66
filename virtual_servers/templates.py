"""Which uris a resource template covers (RFC 6570, levels 1 to 3 and the `*` and `:n` modifiers). Knows no upstream.

Matching keeps a set of positions and walks the template once, so its cost is bounded by (length of the uri) x (parts of the
template): there is nothing to backtrack into. It is a gate before the upstream, not a parser: values are not extracted.

- `{id}` takes at least one character, as the SDKs do: anything but `/ ? # ,` and white space. `{id*}` and `{+path}` take `/` too.
- `{#x} {.x} {/x} {;x} {?x} {&x}` may be absent as a whole; the named forms take only the names the template names.
- A uri with dot segments, plain or percent-encoded, matches nothing: it would name something else than it shows.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import translate
from urllib.parse import unquote

from msgspec import Struct

MAX_URI = 2048
MAX_PARTS = 32

_EXPRESSION = re.compile(r"\{([^{}]*)\}")
_VARIABLES = re.compile(r"([+#./;?&]?)((?:[A-Za-z0-9_.%-]+(?:\*|:[1-9][0-9]{0,3})?,?)+)")
_SIMPLE = r"[^\s\x00-\x20\x7f/?#,{}]"
_SEGMENTS = r"[^\s\x00-\x20\x7f?#{}]"
_RESERVED = r"[^\s\x00-\x20\x7f{}]"
_DOTS = re.compile(r"(?:^|[/\\])\.{1,2}(?:$|[/\\?#])")


_CUT = re.compile("[?#]")


class Unreadable(ValueError):
    """Not a template this hub can match; the sentence says why."""


class Part(Struct, frozen=True):
    """One step: `lead` is matched as it stands, then `run` for as far as wanted; `whole` is matched as far as it goes or not at all."""

    lead: str = ""
    run: re.Pattern[str] | None = None
    whole: re.Pattern[str] | None = None
    optional: bool = False


class Matcher:
    """A compiled uriTemplate. Raises `Unreadable` where it is malformed or too long."""

    def __init__(self, template: str) -> None:
        self._parts = tuple(_parts(template))
        if len(self._parts) > MAX_PARTS:
            raise Unreadable(f"it has more than {MAX_PARTS} parts")

    def matches(self, uri: str) -> bool:
        """Whether some values of the variables give this uri."""
        if len(uri) > MAX_URI or canonical(uri) is None:
            return False
        positions: Sequence[int] = (0,)
        for part in self._parts:
            positions = _step(part, uri, positions)
            if not positions:
                return False
        return positions[-1] == len(uri)


class Shield:
    """What a template must not reach though it would match: uris that are hidden, and uris under a deny pattern."""

    def __init__(self, upstream: str, hidden: Iterable[str], denied: Iterable[str]) -> None:
        self._upstream = upstream
        self._hidden = frozenset(form for uri in hidden for form in (uri, canonical(uri)) if form)
        self._denied = tuple(re.compile(translate(pattern)) for pattern in denied)

    def hides(self, uri: str) -> bool:
        """Judges the uri both as written and as an upstream may read it."""
        forms = {uri, canonical(uri) or uri}
        forms |= {_CUT.split(form, 1)[0].rstrip("/") for form in forms}  # servers of files look at neither query nor fragment
        if not self._hidden.isdisjoint(forms):
            return True
        names = [*forms, *(f"{self._upstream}/{form}" for form in forms)]
        return any(pattern.match(name) for pattern in self._denied for name in names)


def canonical(uri: str) -> str | None:
    """One spelling for the spellings an upstream may treat alike; None for those that should not be let through at all.

    Percent-encoding is undone to the end, repeated slashes are one, scheme and authority are lower-case.
    """
    text = uri
    for _ in range(4):
        decoded = unquote(text, errors="replace")
        if decoded == text:
            break
        text = decoded
    else:
        return None
    if _DOTS.search(text) or "\0" in text:
        return None
    scheme, colon, rest = text.partition(":")
    if not rest.startswith("//"):
        return scheme.lower() + colon + re.sub("/{2,}", "/", rest)
    authority, slash, path = rest[2:].partition("/")
    return f"{scheme.lower()}://{authority.lower()}{slash}{re.sub('/{2,}', '/', slash + path)[len(slash) :]}"


def _parts(template: str) -> Iterator[Part]:
    if len(template) > MAX_URI:
        raise Unreadable(f"it is longer than {MAX_URI} characters")
    end = 0
    for found in _EXPRESSION.finditer(template):
        yield from _literal(template[end : found.start()])
        yield _expression(found[1])
        end = found.end()
    yield from _literal(template[end:])


def _literal(text: str) -> Iterator[Part]:
    if "{" in text or "}" in text:
        raise Unreadable("its braces do not match")
    if text:
        yield Part(lead=text)


def _expression(text: str) -> Part:
    found = _VARIABLES.fullmatch(text)
    if found is None or text.endswith(","):
        raise Unreadable("it has an expression that RFC 6570 does not know")
    operator, variables = found[1], found[2].split(",")
    if operator in (";", "?", "&"):
        return _named(operator, [re.escape(variable.split(":")[0].rstrip("*")) for variable in variables])
    if operator == "":
        wide = len(variables) > 1 or variables[0].endswith("*")
        return Part(run=_run(_SEGMENTS if wide else _SIMPLE))
    if operator == "+":
        return Part(run=_run(_RESERVED))
    return Part(lead=operator, run=_run(_RESERVED if operator == "#" else _SEGMENTS), optional=True)


def _run(characters: str) -> re.Pattern[str]:
    return re.compile(characters + "++")


def _named(operator: str, names: list[str]) -> Part:
    separator = ";" if operator == ";" else "&"
    pair = f"(?:{'|'.join(names)})(?:=[^\\s\\x00-\\x20\\x7f#&;{{}}]*+)?+"
    return Part(whole=re.compile(f"\\{operator}{pair}(?:{separator}{pair})*+"), optional=True)


def _step(part: Part, uri: str, positions: Sequence[int]) -> Sequence[int]:
    """The positions after one part, ascending."""
    reached: set[int] = set(positions) if part.optional else set()
    covered = 0
    for position in positions:
        start = position + len(part.lead)
        if part.whole is not None:
            reached.update(found.end() for found in (part.whole.match(uri, position),) if found)
        elif not uri.startswith(part.lead, position):
            continue
        elif part.run is None:
            reached.add(start)
        elif start >= covered and (found := part.run.match(uri, start)):  # a start inside a run reaches nothing the run did not
            covered = found.end()
            reached.update(range(start + 1, covered + 1))
    return sorted(reached)
