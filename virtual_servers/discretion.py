"""Takes an upstream's own secrets out of what it says: servers quote credentials in errors and print their environment. Pure."""

from hub.config.mcp import UpstreamSpec
from hub.config.values import Secret
from hub.telemetry.logs import scrub

SHORTEST = 6
"""Characters of a secret below which it is not looked for: it would be found everywhere."""


class Discretion:
    """Knows the secrets of one upstream's headers and environment; each is looked for whole and, as in `Bearer …`, by its words."""

    def __init__(self, spec: UpstreamSpec) -> None:
        values = (*spec.headers.values(), *(spec.stdio.env.values() if spec.stdio is not None else ()))
        texts = {text for value in values if isinstance(value, Secret) for text in (value.value, *value.value.split())}
        self._secrets = sorted((text for text in texts if len(text) >= SHORTEST), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return scrub(text)
