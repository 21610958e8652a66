"""The Dockerfile: two stages, hashed packages, no root and no tools in what runs; and a context that is enough and no more."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.deploy import dockerfile
from tests.deploy.dockerfile import ROOT

BUILD, FINAL = dockerfile.stages()


def test_both_stages_are_of_the_same_python_named_by_a_tag() -> None:
    assert BUILD.image == FINAL.image == "python:3.11-slim-bookworm"
    pinned = {"PYTHON_IMAGE": f"python:3.11-slim-bookworm@sha256:{'0' * 64}"}
    assert {stage.image for stage in dockerfile.stages(pinned)} == {pinned["PYTHON_IMAGE"]}


def test_packages_come_by_their_hashes_and_as_wheels() -> None:
    installs = [part for run in BUILD.all("RUN") for part in run.text.split("&&") if " install " in part]
    assert len(installs) == 3
    for install in installs:
        assert "--require-hashes --only-binary :all: -r requirements/" in install or "--no-deps --no-index wheel/*.whl" in install
    assert not [run for run in FINAL.all("RUN") if "pip" in run.text]


def test_what_is_copied_is_in_the_repository_and_reaches_the_builder() -> None:
    for stage in (BUILD, FINAL):
        for copy in stage.all("COPY"):
            if "from" in copy.options:
                assert copy.options["from"] == BUILD.name
                assert copy.words == ["/opt/countersign", "/opt/countersign"]
                continue
            for source in copy.words[:-1]:
                assert (ROOT / source).exists()
                assert not dockerfile.ignored(source)


@pytest.mark.parametrize(
    "path",
    [".git/config", ".hub/secret/master.key", ".env", ".venv/bin/python", "deploy/hub.yaml", "tests/conftest.py", "hub/__pycache__/a.pyc"],
)
def test_what_is_no_part_of_the_image_does_not_reach_the_builder(path: str) -> None:
    assert dockerfile.ignored(path)


def test_what_runs_is_nobody_and_is_stopped_as_the_hub_wants_it() -> None:
    user, _, group = FINAL.last("USER").text.partition(":")
    assert int(user) > 0
    assert int(group) > 0
    words = [one.word for one in FINAL.instructions]
    assert "RUN" not in words[words.index("USER") :]
    assert "COPY" not in words[words.index("USER") :]
    assert FINAL.last("STOPSIGNAL").text == "SIGTERM"
    assert FINAL.last("ENTRYPOINT").words == ["hub"]
    assert FINAL.last("CMD").words[0] == "serve"
    assert not re.search(r"apt-get|gcc|make\b", " ".join(run.text for run in FINAL.all("RUN")))


def test_the_image_says_what_it_is() -> None:
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]+)"', FINAL.last("LABEL").text))
    assert set(labels) == {"title", "description", "licenses", "revision"}
    assert labels["licenses"] == "Apache-2.0"
    assert f'description = "{labels["description"]}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_folders_for_volumes_belong_to_the_user_that_runs() -> None:
    (made,) = [run.text for run in FINAL.all("RUN") if "install -d" in run.text]
    owned = [part for part in made.split("&&") if "install -d" in part]
    user, _, group = FINAL.last("USER").text.partition(":")
    assert all(f"-o {user} -g {group}" in part for part in owned)
    folders = {word for part in owned for word in part.split() if word.startswith("/")}
    assert folders == {FINAL.last("WORKDIR").text, "/secrets/hub", "/secrets/postgres", "/secrets/redis"}


def test_what_the_builder_gets_is_enough_for_a_package_with_everything_in_it(tmp_path: Path) -> None:
    """The very command of the build stage, on nothing but the files it copies."""
    for file in dockerfile.context():
        there = tmp_path / file.relative_to(ROOT)
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, there)
    (command,) = [part.split() for run in BUILD.all("RUN") for part in run.text.split("&&") if "pip wheel" in part]
    assert command[0] == "python"
    subprocess.run([sys.executable, *command[1:]], cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = (tmp_path / "wheel").glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        str(file.relative_to(ROOT))
        for room in ("hub", "virtual_servers")
        for file in (ROOT / room).rglob("*")
        if file.suffix in (".py", ".sql", ".html", ".css", ".js")
    }
    assert wanted <= held
    assert not [name for name in held if name.startswith(("tests/", "demo/", "deploy/"))]
