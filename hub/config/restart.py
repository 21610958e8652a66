"""Which differences of two configurations a reload cannot bring about."""

from hub.config.model import Config

_FIXED = (
    "server.host",
    "server.port",
    "server.workers",
    "server.allowed_hosts",
    "server.allowed_origins",
    "server.trusted_proxies",
    "server.max_body",
    "server.header_timeout",
    "server.body_timeout",
    "server.keep_alive",
    "stores.database",
    "stores.redis",
    "secrets.master",
    "secrets.log",
    "secrets.vault",
    "audit.origin",
    "audit.checkpoint_every",
    "telemetry.log_level",
    "telemetry.log_format",
    "telemetry.access_log",
    "telemetry.otlp",
    "telemetry.langfuse",
    "telemetry.sample",
    "telemetry.service",
    "telemetry.queue",
    "telemetry.every",
    "telemetry.grace",
    "egress.connections",
    "egress.connect_timeout",
    "egress.ca_file",
)


def changes_that_need_restart(old: Config, new: Config) -> list[str]:
    """Dotted keys that differ and are read only at start, in the order of the file. No value is told."""
    return [key for key in _FIXED if _at(old, key) != _at(new, key)]


def _at(config: Config, key: str) -> object:
    section, name = key.split(".")
    return getattr(getattr(config, section), name)
