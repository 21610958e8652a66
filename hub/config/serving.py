"""Sections of the process itself: where it listens, what it keeps where, its secrets, its journal, whom it may reach."""

from typing import Annotated

from msgspec import Meta

from hub.config.values import Address, Count, Part, Positive, Secret


class Server(Part, frozen=True):
    """Where the hub listens, and how long it waits."""

    host: Annotated[str, Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="0 takes a free port.")] = 8080
    workers: Annotated[Count, Meta(description="Processes that serve. More than one needs PostgreSQL and Redis.")] = 1
    allowed_hosts: Annotated[tuple[str, ...], Meta(description="Host headers accepted besides the loopback names and `host`.")] = ()
    allowed_origins: Annotated[tuple[str, ...], Meta(description="Origin headers accepted besides the hub's own.")] = ()
    trusted_proxies: Annotated[tuple[str, ...], Meta(description="Addresses whose X-Forwarded-* headers are believed.")] = ()
    max_body: Annotated[int, Meta(ge=1024, description="Largest request body on /mcp, in bytes.")] = 4 * 1024 * 1024
    max_model_body: Annotated[int, Meta(ge=1024, description="Largest request body on /v1, in bytes.")] = 32 * 1024 * 1024
    header_timeout: Annotated[Positive, Meta(description="Seconds a client has to send its headers.")] = 10.0
    body_timeout: Annotated[Positive, Meta(description="Seconds a client has to send its body.")] = 30.0
    notice: Annotated[
        float,
        Meta(ge=0, description="Seconds on SIGTERM in which requests are still served while `/health/ready` says 503: for load balancers."),
    ] = 0.0
    keep_alive: Annotated[
        float, Meta(ge=0, description="Seconds of a provider's silence within a stream after which the client gets a keep-alive; 0: never.")
    ] = 15.0
    drain: Annotated[float, Meta(ge=0, description="Seconds running calls get to finish on SIGTERM, after `notice`.")] = 30.0


class Stores(Part, frozen=True):
    """Where the hub keeps its journal, its keys and its counters."""

    database: Annotated[
        Address,
        Meta(
            description="`sqlite:///path`, relative to the working directory, for one process; "
            "`postgresql://user@host/database` for any number (docs/postgresql.md)."
        ),
    ] = Address("sqlite:///.hub/hub.db")
    redis: Annotated[
        Address,
        Meta(
            description="For several workers or replicas: `redis://host:6379/0`, `rediss://…` (TLS), "
            "`redis+sentinel://host:26379,…/service/0`, `redis+cluster://host:6379,…`; empty: none."
        ),
    ] = Address("")
    wait: Annotated[
        float,
        Meta(ge=0, description="Seconds that a starting hub waits for a PostgreSQL database that does not answer; 0: it ends at once."),
    ] = 60.0


class VaultKey(Part, frozen=True):
    """The key that stored values are wrapped under. At most one of `key` and `command`; with neither it is derived from the master."""

    key: Annotated[Secret | None, Meta(description="32 bytes in base64.")] = None
    command: Annotated[
        tuple[str, ...],
        Meta(description="Program and arguments that print it; run once as each process starts, without a shell, in ten seconds at most."),
    ] = ()
    accepted: Annotated[
        tuple[Secret, ...], Meta(description="Further keys that values may still be wrapped under, while the key is changed.")
    ] = ()


class Secrets(Part, frozen=True):
    """Key material given from outside; unset: made at first start in `.hub/secret/`."""

    master: Annotated[Secret | None, Meta(description="Master key, 32 bytes in base64: key hashes and cursors derive from it.")] = None
    log: Annotated[Secret | None, Meta(description="Seed of the Ed25519 key that signs checkpoints, 32 bytes in base64.")] = None
    vault: Annotated[VaultKey | None, Meta(description="The key of the vault; unset: derived from the master (docs/vault.md).")] = None


class Audit(Part, frozen=True):
    """The journal of calls."""

    origin: Annotated[str, Meta(description="Name of this hub in checkpoints; unset: a random one made at first start.")] = ""
    checkpoint_every: Annotated[
        Positive, Meta(description="Seconds between signed checkpoints of an organisation that has new records.")
    ] = 1.0


class Egress(Part, frozen=True):
    """The client behind every outbound HTTP request."""

    connections: Annotated[Count, Meta(description="Connections to one destination at most.")] = 256
    connect_timeout: Annotated[Positive, Meta(description="Seconds to connect.")] = 5.0
    ca_file: Annotated[str, Meta(description="PEM bundle trusted instead of the system's.")] = ""
