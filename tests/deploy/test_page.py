"""docs/compose.md: the commands it shows are about services, programs, folders and volumes that there are."""

import re
import shlex

import pytest

from tests.deploy import compose
from tests.deploy.compose import ROOT, mounts
from tests.docs import cli_reference, pages

PAGE = "docs/compose.md"
WHOLE = compose.resolved()
SERVICES = WHOLE["services"]
_VALUED = {"--entrypoint", "--scale", "--index"}
_BLOCKS = re.findall(r"^```(?:sh)?\n(.*?)^```$", pages.text(PAGE), re.MULTILINE | re.DOTALL)
SHOWN = sorted(
    set(re.findall(r"\bdocker compose [^\n#`<>|&]+", "\n".join(_BLOCKS)) + re.findall(r"`(docker compose [^`]+)`", pages.text(PAGE)))
)


def parted(line: str) -> tuple[str, list[str], dict[str, str]]:
    """The command, its arguments, and its options with their values."""
    words = shlex.split(line)[2:]
    command, rest, options = words[0], words[1:], dict[str, str]()
    while rest and rest[0].startswith("-"):
        name = rest.pop(0)
        options[name] = rest.pop(0) if name in _VALUED else ""
    return command, rest, options


def test_the_page_shows_commands() -> None:
    assert {parted(line)[0] for line in SHOWN} >= {"up", "down", "exec", "run", "build", "ps"}


@pytest.mark.parametrize("line", SHOWN)
def test_every_command_is_about_what_there_is(line: str) -> None:
    command, arguments, options = parted(line)
    if "--scale" in options:
        assert options["--scale"].partition("=")[0] in SERVICES
    if command in ("exec", "run"):
        service, *words = arguments
        assert service in SERVICES
        if words[:1] == ["hub"]:
            known = dict(cli_reference.every())
            assert next((True for found in (" ".join(words[:3]), " ".join(words[:2])) if found in known), False), words
        targets = [mount.target for mount in mounts(SERVICES[service])]
        for path in re.findall(r"(?<=\s)/[\w./-]+", line):
            assert any(f"{path}/".startswith(f"{target}/") for target in targets), f"{path} is in nothing that {service} mounts"
    else:
        assert set(arguments) <= set(SERVICES)


def test_every_volume_stands_in_the_page_with_what_is_lost_with_it() -> None:
    rows = pages.text(PAGE).split("\n## Volumes\n")[1].split("\n## ")[0]
    assert set(re.findall(r"`([a-z]+-(?:data|secrets|state))`", rows)) == set(WHOLE["volumes"])


def test_the_database_script_is_where_the_page_says() -> None:
    (mount,) = [mount for mount in mounts(SERVICES["postgres"]) if mount.target == "/docker-entrypoint-initdb.d"]
    assert (ROOT / mount.source / "hub.sql").is_file()
