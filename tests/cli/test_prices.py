"""`hub prices` as a program: what it shows, and the way of a table from a file to being in force, with and without a running hub."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from hub.budget.price_table import embedded_hash
from hub.commands.app import run
from tests.cli.test_commands import Shell
from tests.support.hub import Hub, running, wait_for
from tests.support.journal import changes
from tests.support.several import several
from tests.support.tables import edited

GOLD: dict[str, Any] = {"model": "gold", "provider": "acme", "input": "1.5", "output": 2, "search": 0.01}


def dearer(models: dict[str, Any]) -> None:
    models["gpt-5-mini"]["phases"][0]["price"]["rates"].update(output=2_500_000_000)
    del models["gpt-4"]


def absurd(models: dict[str, Any]) -> None:
    models["gpt-5-mini"]["phases"][0]["price"]["rates"].update(output=25_000_000_000)


@pytest.fixture(params=["sqlite", "postgres"])
def hub(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    """Commands on a hub that does not run."""
    shell = Shell(tmp_path)
    config: dict[str, Any] = {"prices": [GOLD]}
    if request.param == "postgres":
        shell.environ["TEST_DATABASE"] = request.getfixturevalue("emptied_url")
        config["stores"] = {"database": "${TEST_DATABASE}"}
    (tmp_path / "hub.yaml").write_text(json.dumps(config))
    (tmp_path / "new.json.gz").write_bytes(edited(dearer))
    (tmp_path / "absurd.json.gz").write_bytes(edited(absurd))
    return shell


def test_a_price_is_shown_with_what_is_known_of_the_model(hub: Shell) -> None:
    shown = hub.json("prices", "show", "openai:gpt-5-mini")
    assert shown["table"] == embedded_hash()
    (card,) = shown["models"]
    assert card["price"] == {"input": "0.25", "output": "2", "cache_read": "0.025", "search": "10000"}
    assert (card["listed_as"], card["window"], card["max_output"]) == ("gpt-5-mini", 400_000, 128_000)
    assert "tools" in card["can"]
    assert hub.json("prices", "show", "openai/gpt-5-mini", "--service", "flex")["models"][0]["price"]["input"] == "0.125"
    assert hub.json("prices", "show", "acme:gold")["models"][0]["price"] == {"input": "1.5", "output": "2", "search": "10000"}
    everywhere = {card["provider"] for card in hub.json("prices", "show", "gpt-5-mini")["models"]}
    assert {"openai", "github-copilot"} & everywhere
    assert "azure" not in everywhere
    before = hub.json("prices", "show", "openai:gpt-5.6", "--at", "2026-08-20T00:00:00Z")["models"][0]["price"]
    assert (before["input"], before["output, over 272000"]) == ("5", "45")
    assert "no price is known of openai:none" in hub.fails("prices", "show", "openai:none")
    assert "RFC 3339" in hub.fails("prices", "show", "openai:gpt-5", "--at", "yesterday", code=2)


def test_models_and_providers_of_the_file_are_known_by_their_names(hub: Shell) -> None:
    config = json.loads((hub.folder / "hub.yaml").read_text())
    config["prices"] = [{"model": "*", "provider": "local", "free": True}]
    config["providers"] = {
        "main": {"wire": "openai", "base_url": "https://api.openai.com/v1", "api_key": "${SOME_KEY}"},
        "backup": {"wire": "openai", "base_url": "https://proxy.internal/v1", "like": "groq"},
        "local": {"wire": "openai", "base_url": "http://127.0.0.1:8000/v1", "like": "vllm"},
        "openai": {"wire": "openai", "base_url": "http://127.0.0.1:8001/v1", "like": "vllm"},
    }
    route = [("main", "gpt-5-mini"), ("backup", "llama-3.3-70b-versatile"), ("local", "qwen"), ("openai", "gpt-5-mini")]
    config["models"] = {"fast": {"route": [{"provider": provider, "model": model} for provider, model in route]}}
    (hub.folder / "hub.yaml").write_text(json.dumps(config))
    cards = hub.json("prices", "show", "fast", SOME_KEY="x")["models"]
    assert [card["price"].get("input") for card in cards] == ["0.25", "0.59", "0", None]
    assert hub.json("prices", "show", "main:gpt-5-mini", SOME_KEY="x")["models"][0]["price"]["output"] == "2"
    without = hub("prices", "show", "local:anything")  # and without the secrets of the file
    assert (without.returncode, "SOME_KEY" in without.stderr) == (0, True)


def test_a_table_goes_from_a_file_to_being_in_force_and_the_journal_says_so(hub: Shell) -> None:
    assert hub.json("prices", "status")["staged"] is None
    diff = hub.json("prices", "diff", "--from", "new.json.gz")
    assert [(one["model"], one["figure"], one["percent"]) for one in diff["changes"]] == [("gpt-5-mini", "output", "+25.0 %")]
    assert diff["vanished"] == ["openai/gpt-4"]
    assert "gpt-5-mini  output  2    2.5  +25.0 %" in hub("prices", "diff", "--from", "new.json.gz").stdout
    assert hub.json("prices", "refresh", "--from", "new.json.gz") == diff
    assert hub.json("prices", "status")["staged"]["hash"] == diff["new"]
    assert hub.json("prices", "show", "openai:gpt-5-mini")["models"][0]["price"]["output"] == "2"
    assert hub.fails("prices", "confirm", "sha256:00") == "hub: no such price table is staged"
    assert hub.json("prices", "confirm", diff["new"]) == {"table": diff["new"], "decision": "confirmed"}
    status = hub.json("prices", "status")
    assert status["in_force"]["hash"] == diff["new"]
    assert status["in_force"]["confirmed"]
    assert hub.json("prices", "show", "openai:gpt-5-mini")["models"][0]["price"]["output"] == "2.5"
    assert hub.json("prices", "refresh")["new"] == embedded_hash()
    assert hub.json("prices", "reject")["decision"] == "rejected"
    assert hub.fails("prices", "reject") == "hub: no such price table is staged"
    records = [entry["record"] for entry in hub.json("audit", "tail", "--org", "-")]
    assert changes(records, "admin.prices") == ["admin.prices.stage", "admin.prices.confirm", "admin.prices.stage", "admin.prices.reject"]
    confirmed = next(one for one in records if one["kind"] == "admin.prices.confirm.intent")
    assert confirmed["change"] == {"table": diff["new"], "in_force": embedded_hash()}


def test_a_change_that_cannot_be_believed_is_refused_until_it_is_named(hub: Shell) -> None:
    said = hub.fails("prices", "refresh", "--from", "absurd.json.gz")
    assert (
        said == "hub: a price would fall to nothing, or change more than tenfold, of openai/gpt-5-mini: if that is meant, allow it by name"
    )
    assert hub.json("prices", "refresh", "--from", "absurd.json.gz", "--allow", "openai/gpt-5-*")["changes"][0]["absurd"] is True
    (hub.folder / "broken").write_text("{}")
    assert "not a price table" in hub.fails("prices", "refresh", "--from", "broken")
    assert "not a price table" in hub.fails("prices", "diff", "--from", "broken")
    assert "No such file" in hub.fails("prices", "diff", "--from", "absent")


CONFIG: dict[str, Any] = {
    "keys": [{"name": "root", "roles": ["admin"]}, {"name": "acme", "org": "acme", "roles": ["admin"]}],
    "server": {"drain": 1},
}


@pytest.fixture
def running_hub(tmp_path: Path) -> Generator[Hub]:
    with running(tmp_path, CONFIG) as started:
        yield started


def test_a_running_hub_takes_up_a_confirmed_table_at_once_and_keeps_it(running_hub: Hub, tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    file = tmp_path / "new.json.gz"
    file.write_bytes(edited(dearer))
    assert running_hub.status()["price_table"] == embedded_hash()
    assert "the hub is running" in shell.fails("prices", "refresh", "--from", str(file), **running_hub.environment)
    mine = ("--url", running_hub.url, "--admin-key", running_hub.keys["root"])
    new = shell.json("prices", "refresh", "--from", str(file), *mine)["new"]
    assert running_hub.admin("GET", "/admin/v1/prices")["staged"]["hash"] == new
    theirs = ("--url", running_hub.url, "--admin-key", running_hub.keys["acme"])
    assert "organisation default" in shell.fails("prices", "confirm", *theirs)
    assert shell.json("prices", "confirm", *mine)["table"] == new
    assert running_hub.status()["price_table"] == new
    assert shell.json("prices", "status", **running_hub.environment)["in_force"]["hash"] == new
    running_hub.stop()
    running_hub.start()
    assert running_hub.status()["price_table"] == new


def test_every_replica_takes_up_what_is_confirmed_beside_them(tmp_path: Path, emptied_url: str, redis_url: str) -> None:
    with several(tmp_path, CONFIG, postgres=emptied_url, redis=redis_url) as both:
        shell = Shell(both.hubs[0].folder)
        shell.environ.update(both.hubs[0].environment)
        file = tmp_path / "new.json.gz"
        file.write_bytes(edited(dearer))
        new = shell.json("prices", "refresh", "--from", str(file))["new"]
        shell.json("prices", "confirm")
        wait_for(lambda: {one.status()["price_table"] for one in both.hubs} == {new}, 30.0)


def test_the_command_line_alone_has_them_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["prices", "--help"]) == 0
    assert "confirm" in capsys.readouterr().out


def test_check_warns_of_deployments_without_a_price_and_of_keys_the_vault_does_not_have(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    config = {
        "prices": [{**GOLD, "provider": "local", "model": "priced-*"}],
        "providers": {
            "openai": {"wire": "openai", "base_url": "https://api.openai.com/v1", "api_key": "vault:openai"},
            "local": {"wire": "openai", "base_url": "http://127.0.0.1:9/v1"},
        },
        "models": {
            "fast": {"route": [{"provider": "openai", "model": "gpt-5-mini"}, {"provider": "local", "model": "priced-one"}]},
            "odd": {"route": [{"provider": "local", "model": "nobody-knows"}]},
        },
        "budgets": [{"name": "all", "scope": "global", "window": "day", "usd": 5}],
    }
    (tmp_path / "hub.yaml").write_text(json.dumps(config))
    (warning,) = shell.json("check", "hub.yaml")["warnings"]
    assert "models.odd: nobody knows the price of local:nobody-knows" in warning
    assert "budgets in money refuse it" in warning
    assert shell("db", "migrate").returncode == 0
    warnings = shell.json("check", "hub.yaml")["warnings"]
    assert any("providers.openai.api_key: the vault has no 'openai' of default" in one for one in warnings)
    assert not any("gpt-5-mini" in one or "priced-one" in one for one in warnings)
