"""The shape of `hub.yaml` as frozen values. The JSON Schema and the configuration reference are generated from these classes.

Times are seconds, sizes are bytes. Each declared object has an `org`; `shared: true` opens it to all organisations.
"""

from typing import Annotated

from msgspec import Meta, field

from hub.config.callers import GrantSpec, KeySpec, LimitSpec, Org, Policies
from hub.config.mcp import UpstreamSpec, VirtualServerSpec
from hub.config.models import ModelSpec, ProviderSpec
from hub.config.money import BudgetSpec, PriceSpec
from hub.config.serving import Audit, Egress, Secrets, Server, Stores
from hub.config.telemetry import Telemetry
from hub.config.units import ProjectSpec, UnitName, UnitSpec
from hub.config.values import ModelName, Name, Part, Secret

MASTER = "master"
"""Name of the key that `master_key` declares."""


class Config(Part, frozen=True):
    """The whole file."""

    server: Server = Server()
    stores: Stores = Stores()
    secrets: Secrets = Secrets()
    orgs: Annotated[dict[Name, Org], Meta(description="Organisations, by name.")] = field(default_factory=dict[str, Org])
    teams: Annotated[dict[UnitName, UnitSpec], Meta(description="Teams, by name.")] = field(default_factory=dict[str, UnitSpec])
    projects: Annotated[dict[UnitName, ProjectSpec], Meta(description="Projects, by name.")] = field(default_factory=dict[str, ProjectSpec])
    apps: Annotated[dict[UnitName, UnitSpec], Meta(description="Applications, by name.")] = field(default_factory=dict[str, UnitSpec])
    users: Annotated[dict[UnitName, UnitSpec], Meta(description="Users, by name.")] = field(default_factory=dict[str, UnitSpec])
    master_key: Annotated[
        Secret | None,
        Meta(description="A key that owns the organisation `default` and opens all of it, as `hub keys mint` prints one."),
    ] = None
    keys: Annotated[tuple[KeySpec, ...], Meta(description="Declared keys. `hub keys create` makes stored ones.")] = ()
    limits: Annotated[tuple[LimitSpec, ...], Meta(description="Limits on requests; every one that matches must have room.")] = ()
    budgets: Annotated[
        tuple[BudgetSpec, ...], Meta(description="What may be spent on models; every hard one that matches must have room.")
    ] = ()
    policies: Policies = Policies()
    prices: Annotated[tuple[PriceSpec, ...], Meta(description="Prices of your own for models; they win over the hub's table.")] = ()
    upstreams: Annotated[dict[Name, UpstreamSpec], Meta(description="Downstream MCP servers, by name.")] = field(
        default_factory=dict[str, UpstreamSpec]
    )
    virtual_servers: Annotated[dict[Name, VirtualServerSpec], Meta(description="What clients connect to, by name.")] = field(
        default_factory=dict[str, VirtualServerSpec]
    )
    providers: Annotated[dict[Name, ProviderSpec], Meta(description="Providers of models, by name.")] = field(
        default_factory=dict[str, ProviderSpec]
    )
    models: Annotated[dict[ModelName, ModelSpec], Meta(description="Models as clients name them.")] = field(
        default_factory=dict[str, ModelSpec]
    )
    audit: Audit = Audit()
    telemetry: Telemetry = Telemetry()
    egress: Egress = Egress()

    @property
    def declared(self) -> tuple[KeySpec, ...]:
        """The declared keys, the master key among them."""
        master = self.master_key
        if master is None:
            return self.keys
        opens = GrantSpec(virtual_server="*", model="*", agent="*")
        return (KeySpec(name=MASTER, secret=master, roles=("owner",), grants=(opens,)), *self.keys)
