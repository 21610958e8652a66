"""The master key, and teams, projects, applications and users, as a configuration may and may not declare them."""

from pathlib import Path

import pytest

from hub.commands.app import run
from hub.config.load import ConfigError, load
from hub.identity.keys import mint

KEY, OTHER = mint().text, mint().text
ORGS = "orgs: {acme: {}}\n"
TEAMS = (
    ORGS
    + "teams: {core: {org: acme}, ops: {org: acme}, else: {}}\nprojects: {apollo: {org: acme, team: core}}\nusers: {ann: {org: acme}}\n"
)


def faults(folder: Path, text: str, **environ: str) -> list[tuple[str, str]]:
    file = folder / "hub.yaml"
    file.write_text(text)
    try:
        load(file, environ={"K": KEY, "L": OTHER, **environ})
    except ConfigError as error:
        return [(one.path, one.message) for one in error.problems]
    return []


def key(**more: str) -> str:
    return "keys:\n  - {name: ci, org: acme, secret: '${L}'" + "".join(f", {name}: {value}" for name, value in more.items()) + "}\n"


def test_a_master_key_is_enough_and_owns_the_hub(tmp_path: Path) -> None:
    file = tmp_path / "hub.yaml"
    file.write_text("master_key: ${HUB_MASTER_KEY}\n")
    loaded = load(file, environ={"HUB_MASTER_KEY": KEY})
    (master,) = loaded.config.declared
    assert (master.name, master.org, master.roles, master.secret.value) == ("master", "default", ("owner",), KEY)
    assert KEY not in repr(loaded)
    assert load(file, environ={"HUB_MASTER_KEY": OTHER}).hash == loaded.hash
    assert [message for _, message in faults(tmp_path, "master_key: ${HUB_MASTER_KEY:-}\n")] == ["the secret is empty"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("sk-1234", "`hub keys mint` prints"),
        ("correct horse battery staple", "`hub keys mint` prints"),
        ("hub_" + "0" * 12 + "_" + "0" * 49, "can be guessed"),
        ("hub_" + "0" * 12 + "_" + "abcd1234" * 5 + "abc" + "000000", "can be guessed"),
    ],
)
def test_a_weak_master_key_is_refused_and_not_shown(
    tmp_path: Path, value: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ((path, message),) = faults(tmp_path, "master_key: ${W}\n", W=value)
    assert path == "master_key"
    assert said in message
    monkeypatch.setenv("W", value)
    assert run(["check", str(tmp_path / "hub.yaml")]) == 1
    shown = "".join(capsys.readouterr())
    assert said in shown
    assert value not in shown


def test_a_master_key_with_a_digit_mistyped_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hub.yaml").write_text("master_key: ${W}\n")
    monkeypatch.setenv("W", KEY[:-1] + ("0" if KEY[-1] != "0" else "1"))
    assert run(["check", str(tmp_path / "hub.yaml")]) == 1
    assert "`hub keys mint` prints one" in "".join(capsys.readouterr())


def test_the_master_key_is_written_in_no_file_and_is_nobody_elses(tmp_path: Path) -> None:
    assert [path for path, _ in faults(tmp_path, f"master_key: {KEY}\n")] == ["master_key"]
    found = faults(tmp_path, "master_key: ${K}\nkeys: [{name: master, secret: '${L}'}, {name: b, secret: '${K}'}]\n")
    assert [path for path, _ in found] == ["keys[0].name", "keys[1].secret"]


@pytest.mark.parametrize(
    ("more", "path", "said"),
    [
        ({"team": "cor"}, "keys[0].team", "did you mean `core`"),
        ({"team": "else"}, "keys[0].team", "no team `else` is declared for organisation `acme`"),
        ({"project": "gemini"}, "keys[0].project", "no project `gemini`"),
        ({"user": "ben"}, "keys[0].user", "no user `ben`"),
        ({"subject": "user:ben"}, "keys[0].user", "no user `ben`"),
        ({"project": "apollo", "team": "ops"}, "keys[0].team", "belongs to team `core`"),
        ({"roles": "[member]"}, "keys[0].roles", "a member is a person"),
    ],
)
def test_keys_belong_to_what_is_declared(tmp_path: Path, more: dict[str, str], path: str, said: str) -> None:
    ((at, message),) = faults(tmp_path, TEAMS + key(**more))
    assert at == path
    assert said in message


def test_keys_of_an_organisation_that_declares_none_of_a_kind_name_what_they_like(tmp_path: Path) -> None:
    assert faults(tmp_path, TEAMS + key(app="anything", project="apollo", team="core", subject="user:ann", roles="[member]")) == []
    assert faults(tmp_path, TEAMS + "keys: [{name: ci, secret: '${L}', project: anything, user: anybody}]\n") == []


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("teams: {a: {org: nowhere}}", "teams.a.org"),
        ("projects: {a: {team: b}}", "projects.a.team"),
        ("teams: {b: {org: acme}}\nprojects: {a: {team: b}}", "projects.a.team"),
        ("apps: {a: {grants: [{deny: ['*']}]}}", "apps.a.grants"),
        ("users: {a: {grants: [{model: fast}]}}", "users.a.grants[0].model"),
        ("users: {'a b': {}}", "users.a b"),
        ("users: {a: {team: b}}", "users.a.team"),
    ],
)
def test_what_is_declared_fits_together(tmp_path: Path, text: str, path: str) -> None:
    assert path in [at for at, _ in faults(tmp_path, ORGS + text + "\n")]
