"""The URLs under `stores`: what is taken, what is refused in which words, and that no password of theirs is ever shown."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.config import stores
from hub.config.load import ConfigError, load
from hub.config.values import Address


def faults(folder: Path, text: str, **environ: str) -> list[tuple[str, str]]:
    (folder / "hub.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(folder / "hub.yaml", environ=environ)
    return [(problem.path, problem.message) for problem in caught.value.problems]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://h/d",
        "postgres://u@h/d",
        "postgresql://u:p%40%2Fw@h:5432/d?sslmode=verify-full&sslrootcert=/ca.pem",
        "postgresql://u@a:1,b:2,c/d?target_session_attrs=read-write",
        "postgresql://[::1]:5432/d",
        "postgresql://u@/d?host=/run/postgresql",
        "postgresql:///d?host=/run/postgresql&application_name=x",
    ],
)
def test_postgresql_urls_that_are_taken(url: str) -> None:
    assert stores.database(Address(url)) == stores.PostgresDatabase(Address(url))


@pytest.mark.parametrize(
    ("url", "form", "tls"),
    [
        ("redis://h", "single", False),
        ("redis://:pw@h:6379/3", "single", False),
        ("rediss://u:pw@[::1]:6380/0", "single", True),
        ("redis+sentinel://a:26379,b:26379/hub", "sentinel", False),
        ("redis+sentinel://:pw@a,b,c/hub/2", "sentinel", False),
        ("rediss+sentinel://a/hub", "sentinel", True),
        ("redis+cluster://a:7000,b:7001", "cluster", False),
        ("rediss+cluster://u:pw@a:7000/0", "cluster", True),
    ],
)
def test_redis_urls_that_are_taken(url: str, form: str, tls: bool) -> None:
    found = stores.redis(Address(url))
    assert found is not None
    assert (found.form, found.tls) == (form, tls)


def test_sqlite_urls_name_a_file() -> None:
    assert stores.database(Address("sqlite:///.hub/hub.db")) == stores.SqliteFile(Path(".hub/hub.db"))
    assert stores.database(Address("sqlite:////var/hub.db")) == stores.SqliteFile(Path("/var/hub.db"))
    assert stores.redis(Address("")) is None


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite://hub.db", "absolute"),
        ("sqlite:///", "absolute"),
        ("mysql://u@h/d", "postgresql://"),
        ("", "postgresql://"),
        ("postgresql://h", "names no database"),
        ("postgresql://h/", "names no database"),
        ("postgresql://h/a/b", "names no database"),
        ("postgresql:///d", "names no host"),
        ("postgresql:d", "not a URL"),
        ("postgresql://h:0/d", "`host:port`"),
        ("postgresql://h:65536/d", "`host:port`"),
        ("postgresql://h:x/d", "`host:port`"),
        ("postgresql://h/d?sslmod=require", "did you mean `sslmode`?"),
        ("postgresql://h/d?pool_size=3", "`pool_size` is no parameter"),
        ("postgresql://h/d?sslmode=yes", "verify-full"),
        ("postgresql://h/d#x", "not a URL"),
        ("postgresql://h/d d", "not a URL"),
        ("postgresql://u@corp:pw@h/d", "`%40`"),
    ],
)
def test_what_is_wrong_with_a_database_url_is_said_in_a_sentence(tmp_path: Path, url: str, says: str) -> None:
    ((path, message),) = faults(tmp_path, "stores: {database: '${D}'}", D=url)
    assert path == "stores.database"
    assert says in message


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://h", "redis://"),
        ("redis://", "names no host"),
        ("redis://a,b", "several hosts"),
        ("redis://h/x", "number of a database"),
        ("redis+sentinel://a:26379", "names no service"),
        ("redis+sentinel://a/svc/x", "number of a database"),
        ("redis+cluster://a/1", "database 0 only"),
        ("redis://h:99999", "`host:port`"),
        ("redis://h%2d:6379", "`host:port`"),
        ("redis://h?ssl_ca_cert=x", "did you mean `ssl_ca_certs`?"),
        ("rediss://h?timeout=1", "; there are ssl_ca_certs, ssl_certfile, ssl_keyfile, sentinel_username, sentinel_password"),
        ("redis://h?ssl_ca_certs=x", "with TLS only"),
        ("redis://h?sentinel_username=x", "in `redis+sentinel://…` only"),
        ("rediss://h?ssl_ca_certs=x&ssl_ca_certs=y", "twice"),
        ("rediss://h?ssl_keyfile=x", "beside `ssl_certfile`"),
    ],
)
def test_what_is_wrong_with_a_redis_url_is_said_in_a_sentence(tmp_path: Path, url: str, says: str) -> None:
    ((path, message),) = faults(tmp_path, "stores: {redis: '${R}'}", R=url)
    assert path == "stores.redis"
    assert says in message


SECRET = "hunter2"


@pytest.mark.parametrize(
    "text",
    [
        "stores: {database: 'postgresql://u:hunter2@h/d'}",
        "stores: {database: 'postgresql://h/d?user=u&password=hunter2'}",
        "stores: {database: '${D:-postgresql://u:hunter2@h/d}'}",
        "stores: {redis: 'redis://:hunter2@h'}",
        "stores: {redis: 'redis+sentinel://u:hunter2@a,b/svc'}",
        "stores: {redis: 'redis+cluster://u:hunter2@a,b'}",
    ],
)
def test_a_literal_password_is_refused_and_not_repeated(tmp_path: Path, text: str) -> None:
    found = faults(tmp_path, text)
    assert any("may not stand in the file" in message for _, message in found)
    assert SECRET not in str(found)


@pytest.mark.parametrize(
    "url", ["postgresql://u:hunter2/@h/d", "postgresql://u:hun ter2@h/d", "postgresql://u:hunter2@h:x/d", "x://u:hunter2@h"]
)
def test_a_url_from_outside_that_cannot_be_read_is_refused_without_its_password(tmp_path: Path, url: str) -> None:
    found = faults(tmp_path, "stores: {database: '${D}', redis: '${D}'}", D=url)
    assert len(found) == 2
    assert "ter2" not in str(found)


def test_a_password_from_outside_is_taken_never_shown_and_not_in_the_hash(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("hunter2\n")
    path = tmp_path / "hub.yaml"
    path.write_text("stores: {database: 'postgresql://u:${file:pw}@h/d', redis: '${R}'}")
    loaded = load(path, environ={"R": "redis://:hunter3@r/0"})
    given = loaded.config.stores
    assert given.database.url == "postgresql://u:hunter2@h/d"
    assert str(given.database) == "postgresql://u:***@h/d"
    for shown in (repr(loaded), str(loaded), repr(stores.database(given.database)), repr(stores.redis(given.redis))):
        assert "hunter" not in shown
    other = load(path, environ={"R": "redis://:changed@r/0"})
    assert other.hash == loaded.hash, "the password is no part of the hash"
    assert other.config != loaded.config
    assert load(path, environ={"R": "redis://:hunter3@elsewhere/0"}).hash != loaded.hash


@given(
    user=st.text(alphabet="ab@%:", max_size=3), password=st.text(min_size=1, max_size=8), rest=st.text(alphabet="h/d?&=@:#", max_size=12)
)
def test_however_a_url_is_mangled_its_password_is_not_shown(user: str, password: str, rest: str) -> None:
    mark = "Qq7" + password + "Zz9"
    shown = str(Address(f"postgresql://{user}:{mark}@{rest}"))
    assert "Qq7" not in shown
    assert "Zz9" not in shown


def test_several_workers_need_both(tmp_path: Path) -> None:
    sentence = f"more than one worker: {stores.NEEDED}"
    for written in ("{}", "{database: 'postgresql://h/d'}", "{redis: 'redis://h'}"):
        assert faults(tmp_path, f"server: {{workers: 2}}\nstores: {written}") == [("server.workers", sentence)]
    path = tmp_path / "hub.yaml"
    path.write_text("server: {workers: 2}\nstores: {database: 'postgresql://h/d', redis: 'redis://h'}")
    assert load(path, environ={}).config.server.workers == 2


def test_several_hubs_without_secrets_from_outside_are_warned(tmp_path: Path) -> None:
    path = tmp_path / "hub.yaml"
    path.write_text("stores: {database: 'postgresql://h/d', redis: '${R:-}'}\nsecrets: {master: '${M}'}")
    (warning,) = load(path, environ={"R": "redis://h", "M": "x"}).warnings
    assert warning.path == "stores.redis"
    assert "give `secrets.log`" in warning.message
    assert load(path, environ={"M": "x"}).warnings == (), "one hub makes its own"
