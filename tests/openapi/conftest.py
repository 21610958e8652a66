"""One hub with everything that is described behind it: models on both wires, a virtual server, keys with and without roles."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.support import provider as scripted
from tests.support.hub import Hub, running
from tests.support.servers import SDK, stdio


def config(url: str, secret: Path) -> dict[str, Any]:
    wires = {"openai": {"wire": "openai", "base_url": f"{url}/v1"}, "claude": {"wire": "anthropic", "base_url": url}}
    gpt, claude = {"provider": "openai", "model": "gpt-5-mini"}, {"provider": "claude", "model": "claude-haiku-4-5"}
    return {
        "keys": [
            {"name": "root", "roles": ["owner", "auditor"]},
            {"name": "ann", "subject": "user:ann", "grants": [{"model": "*"}, {"virtual_server": "*"}]},
        ],
        "providers": {name: {**wire, "api_key": f"${{file:{secret}}}"} for name, wire in wires.items()},
        "models": {
            "fast": {"route": [gpt, claude]},
            "embed": {"route": [{"provider": "openai", "model": "text-embedding-3-small"}]},
            "guard": {"route": [{"provider": "openai", "model": "omni-moderation-latest"}]},
        },
        "upstreams": {"good": stdio(SDK, "stdio", "/dev/null")},
        "virtual_servers": {"demo": {"include": [{"from": "good"}]}},
        "budgets": [{"name": "team-day", "scope": "team", "window": "day", "usd": 12.5}],
        "server": {"drain": 1},
    }


def answered(asked: scripted.Asked) -> scripted.Reply:
    """As usual; and of what it keeps, the response itself."""
    kept = asked.path.startswith("/v1/responses/")
    return scripted.whole(scripted.responses_whole("gpt-5-mini")) if kept else scripted.usual(asked)


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Generator[Hub]:
    folder = tmp_path_factory.mktemp("described")
    secret = folder / "provider-key"
    secret.write_text("sk-a-providers-key")
    with scripted.provider() as behind, running(folder, config(behind.url, secret)) as found:
        behind.always = answered
        yield found.settled("good")
