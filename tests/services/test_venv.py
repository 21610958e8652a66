"""Which Python `scripts/venv.sh` makes an environment of, and what it says when there is none.

Candidates are stand-ins (a shell script each) in folders of their own, which take the place of the system's and of PATH, so that it does
not matter what this machine has. The last test is of a real Python.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "venv.sh"

# Answers what the script asks of a Python; its `bin/python` in the environment is a copy of itself that says which one it came from.
STAND_IN = """\
#!/bin/sh
case "$1 $2" in
"-c import sys; sys.exit("*) exit {old} ;;
"-c "*) echo 3.11 ;;
"-m pip") exit 0 ;;
"-m venv") [ -e "$0.complete" ] && [ "$3" != --without-pip ] && mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && echo "$0" > "$3/made-by" ;;
esac
"""
APT = """\
#!/bin/sh
echo "$*" >> "{folder}/apt.log"
case "$*" in install*) : > "{completes}.complete" ;; esac
"""


@dataclass
class Place:
    """A machine's folders: `system` is where the script looks first, `path` is all of PATH."""

    folder: Path

    def __post_init__(self) -> None:
        self.system, self.path, self.made = self.folder / "system", self.folder / "path", self.folder / "made"
        self.system.mkdir()
        self.path.mkdir()
        for tool in ("sh", "rm", "mkdir", "cp", "mktemp"):
            (self.path / tool).symlink_to(shutil.which(tool) or "")
        text = SCRIPT.read_text()
        assert "/usr/bin/python3 " in text
        self.script = self.folder / "venv.sh"
        self.script.write_text(text.replace("/usr/bin/", f"{self.system}/"))

    def program(self, path: Path, text: str) -> Path:
        path.write_text(text)
        path.chmod(0o755)
        return path

    def python(self, folder: Path, name: str, *, complete: bool = True, old: bool = False) -> Path:
        path = self.program(folder / name, STAND_IN.format(old=int(old)))
        if complete:
            (folder / f"{name}.complete").touch()
        return path

    def apt(self, *, user: int, completes: Path) -> Path:
        self.program(self.path / "id", f"#!/bin/sh\necho {user}\n")
        self.program(self.path / "apt-get", APT.format(folder=self.folder, completes=completes))
        return self.folder / "apt.log"

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        argv = ["/bin/sh", str(self.script), str(self.made)]
        return subprocess.run(argv, env={"PATH": str(self.path), **environment}, capture_output=True, text=True, check=False)

    def makes(self, python: Path, **environment: str) -> bool:
        done = self.run(**environment)
        assert done.returncode == 0, done.stderr
        return (self.made / "made-by").read_text().strip() == str(python)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_python_that_was_named_is_taken(place: Place) -> None:
    place.python(place.system, "python3")
    place.python(place.path, "python3")
    named = place.python(place.folder, "named")
    assert place.makes(named, PYTHON=str(named))


@pytest.mark.parametrize("what", ["old", "not there"])
def test_no_other_is_taken_for_one_that_was_named_and_is_no_good(place: Place, what: str) -> None:
    place.python(place.system, "python3")
    if what == "old":
        place.python(place.folder, "named", old=True)
    done = place.run(PYTHON=str(place.folder / "named"))
    assert done.returncode == 1
    assert done.stderr == f"make: PYTHON={place.folder}/named does not run, or is older than Python 3.11\n"
    assert not place.made.exists()


def test_no_other_is_taken_for_one_that_was_named_and_is_incomplete(place: Place) -> None:
    place.python(place.system, "python3")
    done = place.run(PYTHON=str(place.python(place.folder, "named", complete=False)))
    assert done.returncode == 1
    assert "apt-get install python3.11-venv" in done.stderr


def test_the_systems_own_comes_before_that_on_path(place: Place) -> None:
    place.python(place.path, "python3")
    assert place.makes(place.python(place.system, "python3.12"))


@pytest.mark.parametrize("what", ["old", "incomplete"])
def test_a_system_python_that_is_old_or_incomplete_leaves_it_to_that_on_path_and_nothing_is_installed(place: Place, what: str) -> None:
    system = place.python(place.system, "python3", complete=False, old=what == "old")
    log = place.apt(user=0, completes=system)
    place.python(place.path, "python3", old=True)
    assert place.makes(place.python(place.path, "python3.13"))
    assert not log.exists()


def test_root_completes_the_first_usable_one_where_none_can_make_an_environment(place: Place) -> None:
    place.python(place.path, "python3", complete=False)
    system = place.python(place.system, "python3", complete=False)
    log = place.apt(user=0, completes=system)
    assert place.makes(system)
    assert log.read_text().splitlines()[-1].split()[-1] == "python3.11-venv"


def test_others_are_told_what_root_has_to_install(place: Place) -> None:
    system = place.python(place.system, "python3", complete=False)
    log = place.apt(user=1000, completes=system)
    done = place.run()
    assert done.returncode == 1
    assert "Run 'apt-get install python3.11-venv' as root" in done.stderr
    assert not log.exists() or "install" not in log.read_text()
    assert not place.made.exists()


def test_without_any_python_it_says_what_is_needed(place: Place) -> None:
    place.python(place.system, "python3", old=True)
    done = place.run()
    assert done.returncode == 1
    assert done.stderr.startswith("make: Python 3.11 or newer is needed and none was found.")


def test_an_environment_that_works_stays_as_it_is(place: Place) -> None:
    first = place.python(place.path, "python3")
    assert place.makes(first)
    place.python(place.system, "python3")
    assert place.makes(first)


def test_a_real_python_gets_an_environment_with_pip(tmp_path: Path) -> None:
    made = tmp_path / "made"
    subprocess.run(["/bin/sh", str(SCRIPT), str(made)], env={**os.environ, "PYTHON": sys.executable}, check=True)
    done = subprocess.run(
        [made / "bin" / "python", "-c", "import pip, sys; print(sys.version)"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == sys.version
