"""The shape of `hub.yaml` as frozen values. The JSON Schema and the configuration reference are generated from these classes.

Times are seconds, sizes are bytes. Each declared object has an `org`; `shared: true` opens it to all organisations.
"""

from typing import Annotated

from msgspec import Meta, field

from hub.config.callers import KeySpec, LimitSpec, Org, Policies
from hub.config.mcp import UpstreamSpec, VirtualServerSpec
from hub.config.models import ModelSpec, ProviderSpec
from hub.config.money import BudgetSpec, PriceSpec
from hub.config.serving import Audit, Egress, Secrets, Server, Stores
from hub.config.telemetry import Telemetry
from hub.config.values import ModelName, Name, Part


class Config(Part, frozen=True):
    """The whole file."""

    server: Server = Server()
    stores: Stores = Stores()
    secrets: Secrets = Secrets()
    orgs: Annotated[dict[Name, Org], Meta(description="Organisations, by name.")] = field(default_factory=dict[str, Org])
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
