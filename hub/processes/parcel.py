"""A loaded configuration as bytes, from the parent that read it to the workers that never read it themselves.

It holds the values of secrets in the clear: it goes over the socket between two processes of one hub and is written nowhere.
"""

from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec import structs

from hub.config.load import Loaded, Problem
from hub.config.model import Config


class _Parcel(msgspec.Struct, frozen=True):
    """`Loaded` with paths as text."""

    config: Config
    hash: str
    source: str | None
    base: str
    warnings: tuple[Problem, ...]
    files: tuple[str, ...]


_decoder = msgspec.json.Decoder(_Parcel)


def pack(loaded: Loaded) -> bytes:
    """JSON: like the hash of a configuration it takes whole numbers of any size, which msgpack does not."""
    source = None if loaded.source is None else str(loaded.source)
    parcel = _Parcel(loaded.config, loaded.hash, source, str(loaded.base), loaded.warnings, tuple(map(str, loaded.files)))
    return msgspec.json.encode({**structs.asdict(parcel), "config": _bare(loaded.config)})


def pack_stdio(loaded: Loaded) -> bytes:
    """What the stdio host needs of it: its servers with their secrets, and how to log and to stop."""
    config = loaded.config
    servers = {name: spec for name, spec in config.upstreams.items() if spec.stdio is not None}
    return pack(structs.replace(loaded, config=Config(server=config.server, telemetry=config.telemetry, upstreams=servers)))


def unpack(data: bytes) -> Loaded:
    """What was packed. Raises `msgspec.MsgspecError` for anything else."""
    found = _decoder.decode(data)
    source = None if found.source is None else Path(found.source)
    return Loaded(found.config, found.hash, source, Path(found.base), found.warnings, tuple(map(Path, found.files)))


def _bare(value: Any) -> Any:
    """Without what is left at its default: a default need not fit the rules for what is written, which are applied when it is read."""
    if isinstance(value, msgspec.Struct):
        fields = structs.fields(value)
        return {one.encode_name: _bare(getattr(value, one.name)) for one in fields if getattr(value, one.name) != _default(one)}
    if isinstance(value, dict):
        return {key: _bare(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, tuple):
        return [_bare(item) for item in cast("tuple[Any, ...]", value)]
    return value


def _default(field: structs.FieldInfo) -> Any:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
