"""The canonical text of a configuration, which its hash covers: resolved, defaults written out, secrets as the reference they came from."""

import hashlib
from collections.abc import Mapping
from typing import Any, cast

from msgspec import Struct, json

from hub.config.convert import Place
from hub.config.model import Config
from hub.config.problem import Keys
from hub.config.sensitive import holds_secret
from hub.config.values import Address, Dollars, Secret


def canonical(config: Config, places: Mapping[Keys, Place]) -> bytes:
    """Sorted JSON. A secret's value never enters, not even hashed: a short one could be guessed from the hash."""
    return json.encode(_plain(config, (), places), order="sorted")


def digest(config: Config, places: Mapping[Keys, Place]) -> str:
    """`sha256:` and the hex digest of the canonical text."""
    return "sha256:" + hashlib.sha256(canonical(config, places)).hexdigest()


def _plain(value: Any, path: Keys, places: Mapping[Keys, Place]) -> Any:
    place = places.get(path)
    text = place.text if place else None
    if isinstance(value, Secret):
        return {"secret": text.source if text else "***"}
    if isinstance(value, Address | Dollars):
        return str(value)
    if isinstance(value, str):
        return {"secret": text.source} if text and holds_secret(text) else value
    if isinstance(value, Struct):
        names = zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True)
        return {shown: _plain(getattr(value, name), (*path, shown), places) for name, shown in names}
    if isinstance(value, dict):
        return {key: _plain(item, (*path, key), places) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(item, (*path, index), places) for index, item in enumerate(cast("list[Any]", value))]
    return value
