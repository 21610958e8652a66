"""What operators' routes answer, as types: for whoever reads the document, and for the test that holds answers to it."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from hub.capture.keeper import Shown
from hub.capture.rows import ContentPart
from hub.identity.entry import KeyInfo
from hub.routing.vault_admin import SecretInfo


class Alive(Struct, frozen=True):
    """The process answers."""

    status: Literal["ok"]


class DatabaseStanding(Struct, frozen=True):
    """The database a hub keeps its state in."""

    kind: str
    up: bool


class Standing(Struct, frozen=True):
    """Whether this process should get traffic, and what tells it from others. Where there are several processes, more stands beside."""

    status: Literal["ready", "not ready"]
    reasons: Annotated[tuple[str, ...], Meta(description="Why it should get none; empty where it is ready.")]
    config: Annotated[str, Meta(description="The hash of the configuration in force.")]
    generation: Annotated[int, Meta(description="Counts the configurations this process has had in force.")]
    database: DatabaseStanding


class Status(Struct, frozen=True):
    """One process of the hub, as it sees itself. `upstreams`, `virtual_servers` and `deployments` are by name."""

    version: str
    boot: Annotated[str, Meta(description="The id of this life of the process, as records have it.")]
    config: Annotated[str, Meta(description="The hash of the configuration in force.")]
    price_table: Annotated[str, Meta(description="The hash of the price table in force.")]
    policy_set: Annotated[str, Meta(description="The hash of the policies in force.")]
    problems: tuple[str, ...]
    upstreams: dict[str, dict[str, Any]]
    virtual_servers: dict[str, dict[str, Any]]
    deployments: dict[str, dict[str, Any]]
    sessions: int
    streams: int


class KeyList(Struct, frozen=True):
    """Keys, also revoked and expired ones. Never their texts."""

    keys: tuple[KeyInfo, ...]


class KeyMade(Struct, frozen=True):
    """A new key. `key` is its only copy: it is never shown again."""

    key: str
    info: KeyInfo


class KeyRevoked(Struct, frozen=True):
    """What was revoked; in every process, from then on."""

    revoked: KeyInfo


class TableInForce(Struct, frozen=True):
    """`confirmed`: when it was put in force; empty for the table that came with the hub."""

    hash: str
    date: str
    confirmed: str


class TableStaged(Struct, frozen=True):
    """A table that waits to be confirmed, since `staged`."""

    hash: str
    staged: str


class PriceState(Struct, frozen=True):
    """Which table prices calls, and which waits."""

    in_force: TableInForce
    staged: TableStaged | None


class PriceChange(Struct, frozen=True):
    """One figure of a model, in nano-dollars per million. `absurd`: too much to be believed without being allowed by name."""

    provider: str
    model: str
    figure: str
    old: int | None
    new: int | None
    percent: str
    absurd: bool


class PriceDiff(Struct, frozen=True):
    """What changes from the table `old` to the table `new`, by their hashes. Models are written `provider/model`."""

    old: str
    new: str
    date: str
    changes: tuple[PriceChange, ...]
    added: tuple[str, ...]
    vanished: tuple[str, ...]


class PriceDecided(Struct, frozen=True):
    """What became of the staged table."""

    table: str
    decision: Literal["confirmed", "rejected"]


class OverrideShown(Struct, frozen=True):
    """What a budget may spend for a while. `ended` and `ended_by` are empty where it was not taken back; `by` is the id of a key."""

    id: str
    budget: str
    scope: str
    org: Annotated[str, Meta(description="`*`: all organisations.")]
    who: Annotated[str, Meta(description="`*`: each of those the budget counts separately.")]
    mode: Literal["raise", "set"]
    unit: str
    amount: Annotated[str | int, Meta(description="US dollars as a text, exact; tokens and calls as a number.")]
    given: str
    until: str
    reason: str
    by: str
    subject: str
    ended: str
    ended_by: str
    giver: Annotated[str, Meta(description="The organisation whose administrator gave it; empty: an operator of the hub.")]


class OverrideKept(OverrideShown, frozen=True, kw_only=True):
    """A new override."""

    replaced: Annotated[str, Meta(description="The id of the one before it for the same; empty where there was none.")]


class OverrideGiven(Struct, frozen=True):
    """It holds in every process."""

    override: OverrideKept


class OverrideEnded(Struct, frozen=True):
    """What was taken back."""

    ended: OverrideShown


class OverrideList(Struct, frozen=True):
    """Overrides, the newest first."""

    overrides: tuple[OverrideShown, ...]


class BudgetShown(Struct, frozen=True):
    """A budget of the configuration, and the overrides of it that hold."""

    budget: str
    scope: str
    match: str
    org: str
    window: str
    zone: str
    unit: str
    amount: str | int
    enforced: bool
    overrides: tuple[OverrideShown, ...]


class BudgetList(Struct, frozen=True):
    """The budgets that an administrator's organisation is held against; of the hub's operators all."""

    budgets: tuple[BudgetShown, ...]


class SecretList(Struct, frozen=True):
    """Secrets of the vault. Never their values."""

    secrets: tuple[SecretInfo, ...]


class SecretNamed(Struct, frozen=True):
    """One version of a secret."""

    org: str
    name: str
    version: int


class SecretSet(Struct, frozen=True):
    """What was stored."""

    set: SecretNamed


class SecretRemoved(Struct, frozen=True):
    """What was taken away; `version` was its newest."""

    removed: SecretNamed


class Rewrapped(Struct, frozen=True):
    """How many values are wrapped anew, and the id of the key they are wrapped under."""

    kek: str
    rewrapped: int
    days: Annotated[int, Meta(description="Keys of days of captured content that are wrapped anew with them.")]


class SecretsRotated(Struct, frozen=True):
    """That a rotation is done."""

    rotated: Rewrapped


class ContentList(Struct, frozen=True):
    """Parts of calls of which content is kept."""

    contents: tuple[ContentPart, ...]


class ContentRead(Struct, frozen=True):
    """A call and what was said in it."""

    call: ContentPart
    parts: tuple[Shown, ...]


class ContentErased(Struct, frozen=True):
    """The id of the call."""

    erased: str
