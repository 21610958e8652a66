"""Values that several sections of `hub.yaml` share: names, counts, secrets, addresses, money."""

from typing import Annotated

from msgspec import Meta, Struct

from hub.config.sensitive import without_secrets

NAME = r"^[a-z0-9][a-z0-9_-]{0,62}$"
Name = Annotated[str, Meta(pattern=NAME, description="Lower-case letters, digits, `_` and `-`.")]
Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]
Most = Annotated[int, Meta(ge=1, le=9_000_000_000_000_000)]
Percent = Annotated[int, Meta(ge=1, le=1000)]
Owner = Annotated[Name, Meta(description="The organisation it belongs to.")]
SPENDER = r"^[A-Za-z0-9_.@-]{0,128}$"
Shared = Annotated[bool, Meta(description="Whether every organisation may use it.")]
ModelName = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", description="Letters, digits, `.`, `_` and `-`, as clients name models.")
]


class Secret(Struct, frozen=True):
    """A value that came from the environment or a file. It never prints itself."""

    value: str

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__


class KeptSecret(Secret, frozen=True):
    """A secret that may also be kept in the vault: then `vault` is its name there and `value` is empty."""

    vault: str = ""


class Address(Struct, frozen=True):
    """Where a store is, as a URL. It never prints the secrets in it."""

    url: str

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"

    def __str__(self) -> str:
        return without_secrets(self.url)


class Dollars(Struct, frozen=True):
    """An amount of US dollars, exact: written as a number or a text with at most nine decimals, kept as integer nano-dollars."""

    nano: Annotated[int, Meta(description="Billionths of a dollar.")]

    def __str__(self) -> str:
        whole, rest = divmod(self.nano, 1_000_000_000)
        return f"{whole}.{rest:09d}".rstrip("0").rstrip(".")


class Part(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every section: unknown keys are errors."""
