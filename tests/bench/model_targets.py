"""What is measured of models: how each target is started, and what it is asked for in whose words. Knows nothing of how it is measured."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple


class Ask(NamedTuple):
    """`path` is asked for `model`; `what` is how the table calls it."""

    what: str
    path: str
    model: str


CHAT = Ask("chat", "/v1/chat/completions", "bench")
MESSAGES = Ask("messages", "/v1/messages", "anthropic")
TRANSLATED = Ask("messages to chat", "/v1/messages", "bench")
"""Anthropic's words at the front, OpenAI's at the back."""
DIRECT = (CHAT, MESSAGES)
"""What the provider itself is asked for, to hold the rest against."""


@dataclass
class ModelTarget:
    """`prepare` gets the folder the target lives in, its port and the provider's base URL, and returns what to run; raises `targets.Missing`."""

    name: str
    prepare: Callable[[Path, int, str], Sequence[str]]
    asks: Sequence[Ask] = (CHAT,)
    headers: dict[str, str] = field(default_factory=dict[str, str])
    env: dict[str, str] = field(default_factory=dict[str, str])


def hub_config(folder: Path, provider: str) -> dict[str, Any]:
    """Everything on: a declared key, a policy, limits, a budget, prices, metrics, the journal; SQLite."""
    each = {"scope": "key", "per_minute": 100_000_000, "burst": 1_000_000, "concurrency": 10_000}
    rule = 'forbid(principal, action in Hub::Action::"call_model", resource) when { resource.name == "other" };'
    return {
        "stores": {"database": f"sqlite:///{folder}/hub.db"},
        "keys": [{"name": "bench", "secret": "${HUB_BENCH_KEY}", "grants": [{"model": "*"}]}],
        "limits": [{"name": "rate", **each}],
        "policies": {"sets": {"bench": {"cedar": rule}}},
        "providers": {
            "bench": {"wire": "openai", "base_url": f"{provider}/v1", "api_key": "${HUB_BENCH_KEY}"},
            "other": {"wire": "anthropic", "base_url": provider, "api_key": "${HUB_BENCH_KEY}"},
        },
        "models": {
            "bench": {"route": [{"provider": "bench", "model": "bench-1"}]},
            "anthropic": {"route": [{"provider": "other", "model": "bench-1"}]},
        },
        "prices": [{"provider": each, "model": "*", "input": "0.25", "output": "2"} for each in ("bench", "other")],
        "budgets": [{"name": "month", "scope": "key", "window": "month", "usd": "9000000"}],
    }


def prepare_hub(folder: Path, port: int, provider: str) -> Sequence[str]:
    (folder / "hub.yaml").write_text(json.dumps(hub_config(folder, provider)))
    return [str(Path(sys.executable).parent / "hub"), "serve", "--config", "hub.yaml", "--port", str(port)]


def hub() -> ModelTarget:
    from hub.identity.keys import mint

    key = mint().text
    return ModelTarget(
        "hub",
        prepare_hub,
        (CHAT, MESSAGES, TRANSLATED),
        {"authorization": f"Bearer {key}"},
        {"HUB_BENCH_KEY": key},
    )


def model_targets(*, peers: bool) -> list[ModelTarget]:
    from tests.bench.model_peers import model_peers

    return [hub(), *(model_peers() if peers else [])]
