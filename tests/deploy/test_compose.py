"""docker-compose.yml: plain `docker compose up` is whole, closed, bounded, and holds no secret."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hub.config import stores
from hub.config.load import Loaded, load
from hub.config.sensitive import looks_secret
from hub.processes.parent import REST
from tests.deploy import compose, dockerfile
from tests.deploy.compose import ROOT, memory, mounts, seconds, texts
from tests.docs import pages

_KEYS = {
    *("build", "cap_drop", "command", "depends_on", "entrypoint", "environment", "healthcheck", "image", "init", "logging", "mem_limit"),
    *(
        "memswap_limit",
        "network_mode",
        "networks",
        "pids_limit",
        "ports",
        "pull_policy",
        "read_only",
        "restart",
        "security_opt",
        "shm_size",
    ),
    *("stop_grace_period", "stop_signal", "tmpfs", "ulimits", "user", "volumes"),
}
"""What a service may say here. What widens what a container may do (`privileged`, `cap_add`, `pid`, `devices`, …) is not among it."""

WHOLE = compose.resolved()
SERVICES: dict[str, Any] = WHOLE["services"]
ONCE = [name for name, service in SERVICES.items() if service["restart"] == "no"]
SERVING = [name for name in SERVICES if name not in ONCE]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `init` has run."""
    folder = tmp_path_factory.mktemp("secrets")
    for mount in mounts(SERVICES["init"]):
        if not mount.bound:
            (folder / Path(mount.target).name).mkdir()
    subprocess.run([sys.executable, "-I", ROOT / "deploy/make_secrets.py", folder], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def hub(made: Path) -> Loaded:
    """The hub's configuration, as the container has it."""
    file = made / "hub.yaml"
    file.write_text((ROOT / "deploy/hub.yaml").read_text(encoding="utf-8").replace("/run/countersign", str(made / "hub")))
    return load(file, environ=SERVICES["hub"]["environment"])


def test_the_file_has_only_what_is_known_and_every_variable_a_default() -> None:
    assert set(WHOLE) == {"name", "x-hardened", "services", "networks", "volumes"}
    for name, service in SERVICES.items():
        assert set(service) <= _KEYS, name
    assert compose.variables()
    assert not [text for text in texts(WHOLE) if "$" in text]


@pytest.mark.parametrize("name", sorted(compose.variables()))
def test_every_variable_is_taken_from_the_environment_and_documented(name: str) -> None:
    assert "stands here" in " ".join(texts(compose.resolved({name: "stands here"})))
    (row,) = [row for row in pages.rows("docs/compose.md") if row[0] == name]
    assert row[1] == compose.variables()[name]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_closed_and_bounded(name: str) -> None:
    service = SERVICES[name]
    user, _, group = service["user"].partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert 0 < service["pids_limit"] <= 512
    assert 0 < memory(service["mem_limit"]) == memory(service["memswap_limit"]), "it does not swap"
    assert {"max-size", "max-file"} <= set(service["logging"]["options"])
    assert seconds(service["stop_grace_period"]) > 0
    assert "profiles" not in service, "a plain `up` starts it"


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_named_by_a_tag_or_built_here(name: str) -> None:
    service = SERVICES[name]
    tag = re.fullmatch(r"[a-z0-9./-]+:([\w.-]+)", service["image"])
    assert tag
    assert tag[1] != "latest"
    assert service.get("pull_policy") == ("build" if "build" in service else "never" if tag[1] == "local" else None)


def test_the_images_that_no_registry_has_are_built_from_this_folder() -> None:
    built = {service["image"]: service["build"] for service in SERVICES.values() if "build" in service}
    assert {service["image"] for service in SERVICES.values() if service["image"].endswith(":local")} == set(built)
    for build in built.values():
        assert build["context"] == "."
        assert dockerfile.stages(build["args"])[-1].image == build["args"]["PYTHON_IMAGE"]
        assert dockerfile.stages()[-1].image == build["args"]["PYTHON_IMAGE"], "the same as without compose"


@pytest.mark.parametrize("name", SERVING)
def test_every_service_that_stays_is_looked_after(name: str) -> None:
    service = SERVICES[name]
    check = service["healthcheck"]
    assert service["restart"] == "unless-stopped"
    assert set(check) == {"test", "interval", "timeout", "retries", "start_period"}
    assert check["test"][0] == "CMD"
    assert not {"curl", "wget", "sh"} & set(check["test"])
    assert seconds(check["timeout"]) <= seconds(check["interval"])
    assert service["stop_signal"] in ("SIGTERM", "SIGINT")


def test_one_service_runs_once_before_the_others_and_needs_no_network() -> None:
    assert ONCE == ["init"]
    assert SERVICES["init"]["healthcheck"] == {"disable": True}
    assert SERVICES["init"]["network_mode"] == "none"
    for name in SERVING:
        assert SERVICES[name]["depends_on"]["init"] == {"condition": "service_completed_successfully"}


def test_the_hub_waits_until_its_stores_are_well() -> None:
    assert {name: wait["condition"] for name, wait in SERVICES["hub"]["depends_on"].items() if name != "init"} == {
        "postgres": "service_healthy",
        "redis": "service_healthy",
    }


def test_only_the_hub_can_be_reached_and_by_default_from_this_machine_only() -> None:
    (port,) = SERVICES["hub"]["ports"]
    assert port == {"target": 8080, "published": "8080", "host_ip": "127.0.0.1"}
    assert not any("ports" in service for name, service in SERVICES.items() if name != "hub")
    assert WHOLE["networks"] == {"outside": {}, "inside": {"internal": True}}
    assert {name: service["networks"] for name, service in SERVICES.items() if "networks" in service} == {
        "hub": ["outside", "inside"],
        "postgres": ["inside"],
        "redis": ["inside"],
    }


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_mounts_is_there_and_files_of_the_repository_cannot_be_changed(name: str) -> None:
    for mount in mounts(SERVICES[name]):
        if mount.bound:
            assert (ROOT / mount.source).is_dir()
            assert mount.read_only, mount
        else:
            assert mount.source in WHOLE["volumes"], mount
    assert len({mount.target for mount in mounts(SERVICES[name])}) == len(mounts(SERVICES[name]))


def test_every_volume_and_network_is_declared_and_used() -> None:
    used = {mount.source for service in SERVICES.values() for mount in mounts(service) if not mount.bound}
    assert used == set(WHOLE["volumes"])
    assert {name for service in SERVICES.values() for name in service.get("networks", [])} == set(WHOLE["networks"])


def test_secrets_are_written_by_init_and_read_by_one_service_each() -> None:
    wrote = {mount.source for mount in mounts(SERVICES["init"]) if not mount.read_only}
    assert wrote == {name for name in WHOLE["volumes"] if name.endswith("-secrets")}
    for volume in wrote:
        readers = [name for name in SERVING for mount in mounts(SERVICES[name]) if mount.source == volume and mount.read_only]
        assert readers == [volume.removesuffix("-secrets")]
        assert not [name for name in SERVING for mount in mounts(SERVICES[name]) if mount.source == volume and not mount.read_only]


def test_every_secret_that_is_read_is_one_that_init_makes(made: Path) -> None:
    read = {
        "hub": (ROOT / "deploy/hub.yaml").read_text(encoding="utf-8"),
        "postgres": " ".join(texts(SERVICES["postgres"])) + (ROOT / "deploy/postgres/hub.sql").read_text(encoding="utf-8"),
        "redis": " ".join(texts(SERVICES["redis"])),
    }
    for name, text in read.items():
        names = set(re.findall(r"/run/countersign/([\w.]+)", text))
        assert names == {file.name for file in (made / name).iterdir()}, name


def test_no_file_holds_a_secret_and_no_environment_does() -> None:
    for name, service in SERVICES.items():
        for variable in service.get("environment", {}):
            assert not looks_secret(variable), f"{name}: {variable}"
    files = [compose.FILE, dockerfile.FILE, *(file for file in (ROOT / "deploy").rglob("*") if file.is_file() and file.suffix != ".pyc")]
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"[0-9A-Za-z+/=_-]{32,}", re.sub(r"[a-z_-]+(/[a-z_.-]+)+|[a-z]+[_-][a-z_-]+", "", text)), file
        assert not re.search(r"://[^/\s:@]*:(?!\$\{file:)[^/\s@]+@", text), f"{file}: a password in a URL"


def test_a_service_is_given_longer_to_stop_than_it_takes(hub: Loaded) -> None:
    assert seconds(SERVICES["hub"]["stop_grace_period"]) >= hub.config.server.drain + REST, "its parent waits for its workers as long"
    assert seconds(SERVICES["postgres"]["stop_grace_period"]) >= 60, "it writes what it has in memory"


def test_the_hubs_configuration_fits_the_containers(hub: Loaded) -> None:
    config = hub.config
    assert hub.warnings == ()
    assert config.server.host == "0.0.0.0"
    assert config.server.port == SERVICES["hub"]["ports"][0]["target"] == int(dockerfile.stages()[-1].last("EXPOSE").text)
    assert set(config.server.allowed_hosts) == {"hub", "localhost"}
    assert stores.several(config.stores), "it may have any number of workers"
    assert re.search(r"@postgres:5432/hub$", config.stores.database.url)
    assert re.search(r"@redis:6379/0$", config.stores.redis.url)
    assert config.secrets.master is not None
    assert config.secrets.log is not None
    assert SERVICES["hub"]["environment"]["HUB_CONFIG"] == "/etc/countersign/hub.yaml"
    assert SERVICES["hub"]["command"] == ["serve", "--workers", "2"]


def test_the_health_of_a_container_is_the_hubs_readiness_with_compose_and_without() -> None:
    said = dockerfile.stages()[-1].last("HEALTHCHECK")
    assert said.text.split("CMD ", 1)[1].startswith("[")
    check = SERVICES["hub"]["healthcheck"]
    assert dockerfile.Instruction("CMD", said.text.split("CMD ", 1)[1]).words == check["test"][1:]
    assert "/health/ready" in check["test"][-1]
    options = {"interval": check["interval"], "timeout": check["timeout"], "start-period": check["start_period"]}
    assert said.options == {**options, "retries": str(check["retries"])}


def test_redis_keeps_what_it_counts_within_its_memory() -> None:
    command = SERVICES["redis"]["command"]
    settings = dict(zip(command[1::2], command[2::2], strict=True))
    assert settings["--appendonly"] == "yes"
    assert settings["--maxmemory-policy"] == "noeviction"
    assert memory(SERVICES["redis"]["mem_limit"]) > 2 * memory(settings["--maxmemory"]), "a rewrite of its log needs as much again"


def test_postgres_has_connections_for_the_workers_and_memory_for_its_buffers() -> None:
    settings = dict(one[2:].split("=") for one in SERVICES["postgres"]["command"][1:])
    assert int(settings["max_connections"]) >= 9 * (2 + 1) * 2 + 10, "twice the hub, while one takes another's place"
    assert memory(settings["shared_buffers"]) <= memory(SERVICES["postgres"]["mem_limit"]) / 2
    assert memory(SERVICES["postgres"]["shm_size"]) >= 64 << 20
