"""Reads untrusted JSON so that every reader after us sees the same thing. Knows no protocol.

Two parsers that disagree about one text are a hole: the hub decides on what it read, the upstream acts on what it read. So what
parsers are known to disagree about is refused: duplicate keys, lone surrogates, numbers that overflow, NaN, invalid UTF-8, deep
nesting. Every step is linear in the length of the text, whatever the text.
"""

import gc
import json
from itertools import accumulate
from typing import Any, NoReturn, cast

import orjson

from hub.refusal import InvalidRequest, ParseFailed

MAX_DEPTH = 64
MAX_CONTAINERS = 250_000
"""Objects and arrays in one text: four mebibytes could hold two million, and making them is what takes the time."""
_LARGE = 64 * 1024
_SMALL = 4 * 1024
_SLOW = object()
_INFINITY = float("inf")
_SPACE = " \t\n\r"

_BRACKETS = b"[]{}"
_NOT_BRACKETS = bytes(set(range(256)) - set(_BRACKETS))
_STEPS = bytes.maketrans(_BRACKETS, b"\x01\xff\x01\xff")
"""An opening bracket is +1, a closing one -1 when read as signed bytes."""


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise InvalidRequest(f"an object has the key {_first_repeated(pairs)} twice")
    return members


def _first_repeated(pairs: list[tuple[str, Any]]) -> str:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            return json.dumps(key[:64])
        seen.add(key)
    raise AssertionError("there is one")


def _number(text: str) -> float:
    value = float(text)
    if value in (_INFINITY, -_INFINITY):
        raise InvalidRequest("a number is too large")
    return value


def _constant(_: str) -> NoReturn:
    raise ParseFailed("NaN and Infinity are not JSON")


_decode = json.JSONDecoder(object_pairs_hook=_members, parse_float=_number, parse_constant=_constant).raw_decode


def scan(raw: bytes, *, max_depth: int = MAX_DEPTH) -> Any:
    """The value of one JSON text. Integers keep all their digits, up to the interpreter's limit (4,300).

    Raises `ParseFailed` (-32700) where it is not JSON: syntax, invalid UTF-8, NaN or Infinity, control characters in strings.
    Raises `InvalidRequest` (-32600) where it is JSON that two readers may read differently: an object with a key twice, half
    a surrogate pair, a number beyond the range of a double; or that is too much to read: nesting beyond `max_depth`, more than
    `MAX_CONTAINERS` objects and arrays, an integer of more than 4,300 digits.
    """
    if raw.count(b"[") + raw.count(b"{") > max_depth:
        _refuse_bulk(raw, max_depth)
    if len(raw) < _LARGE:
        return _parse(raw)
    collecting = gc.isenabled()
    gc.disable()  # a million small containers would otherwise be walked again and again while they are being made
    try:
        return _parse(raw)
    finally:
        if collecting:
            gc.enable()


def depth(raw: bytes) -> int:
    """How deep brackets nest outside strings; 0 for a scalar. Exact for valid JSON, never less than the parser would recurse."""
    return _deepest(_steps(raw))


def _refuse_bulk(raw: bytes, max_depth: int) -> None:
    steps = _steps(raw)
    if steps.count(1) > MAX_CONTAINERS:
        raise InvalidRequest(f"the JSON holds more than {MAX_CONTAINERS} objects and arrays")
    if _deepest(steps) > max_depth:
        raise InvalidRequest(f"the JSON is nested deeper than {max_depth} levels")


def _steps(raw: bytes) -> bytes:
    """The brackets outside strings, in order, as steps up and down."""
    if b"\\" in raw:
        raw = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside = b"".join(raw.split(b'"')[::2])
    return outside.translate(_STEPS, _NOT_BRACKETS)


def _deepest(steps: bytes) -> int:
    return max(accumulate(memoryview(steps).cast("b")), default=0)


def _quick(raw: bytes) -> Any:
    """The value of an ordinary text, read by a faster parser; `_SLOW` where only the careful reading can tell.

    That parser is as strict, but keeps the last of two equal keys and makes floats of long integers. A text that is written again byte
    for byte lost neither. A small one that is not, for spaces or escapes, has a colon for each of its keys: as many as were kept mean that
    none was dropped; one that holds a float, or a colon in a string, is read again with care.
    """
    try:
        value = orjson.loads(raw)
        if orjson.dumps(value) == raw:
            return value
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):  # the second where it is nested deeper than that library writes
        return _SLOW
    if len(raw) >= _SMALL:
        return _SLOW
    keys = _keys(value)
    return value if keys >= 0 and raw.count(b":") == keys else _SLOW


def _keys(value: Any) -> int:
    """The number of keys in all objects of a value; -1 where it holds a float."""
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        total, inner = len(members), members.values()
    elif isinstance(value, list):
        total, inner = 0, cast("list[Any]", value)
    else:
        return -1 if isinstance(value, float) else 0
    for item in inner:
        if not isinstance(item, str):
            found = _keys(item)
            if found < 0:
                return -1
            total += found
    return total


def _parse(raw: bytes) -> Any:
    if (value := _quick(raw)) is not _SLOW:
        return value
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise ParseFailed("the JSON is not valid UTF-8") from None
    value = _value(text)
    if "\\u" in text and not _encodable(value):
        raise InvalidRequest("a string holds half of a surrogate pair")
    return value


def _value(text: str) -> Any:
    start = len(text) - len(text.lstrip(_SPACE)) if text[:1] in _SPACE else 0
    try:
        value, end = _decode(text, start)
    except json.JSONDecodeError as error:
        raise ParseFailed(f"the body is not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise InvalidRequest("the JSON is nested too deeply") from None
    except ValueError:
        raise InvalidRequest("an integer has too many digits") from None
    if end != len(text) and text[end:].strip(_SPACE):
        raise ParseFailed(f"the body is not JSON: more text at character {end}")
    return value


def _encodable(value: Any) -> bool:
    """Escapes are the only way half a pair gets into text that was valid UTF-8, so this is rarely asked."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
