"""`hub serve`: reads the configuration and runs the hub, in this process or as the parent of several. It loads only what that takes."""

import logging
import resource
import sys
from pathlib import Path

from hub.config import stores
from hub.config.load import ConfigError, load
from hub.telemetry.logs import fields, set_up

log = logging.getLogger("hub")


def serve(config_path: Path | None, host: str | None = None, port: int | None = None, workers: int | None = None) -> int:
    """Run the hub until SIGTERM or Ctrl-C. Returns the exit code: 0 stopped in order, 1 could not start, 2 unusable configuration."""
    try:
        loaded = load(config_path)
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201 (there is no log yet)
        return 2
    settings = loaded.config.server
    host, port, workers = host or settings.host, settings.port if port is None else port, workers or settings.workers
    if workers > 1 and not stores.several(loaded.config.stores):
        print(f"hub: more than one worker: {stores.NEEDED}", file=sys.stderr)  # noqa: T201
        return 2
    set_up(loaded.config.telemetry.log_level, loaded.config.telemetry.log_format)
    for warning in loaded.warnings:
        log.warning("configuration", extra=fields(warning=str(warning)))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each client and each call under way takes a descriptor
    try:
        if workers == 1:
            from hub.alone import run

            return run(loaded, host, port)
        from hub.processes.parent import run_several

        return run_several(loaded, host, port, workers)
    except KeyboardInterrupt:
        return 0
