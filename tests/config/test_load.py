"""Loading `hub.yaml`: types, places, references, secrets, bounds."""

import time
from pathlib import Path

import pytest

from hub.config.load import ConfigError, load
from hub.config.model import Config
from hub.config.restart import changes_that_need_restart
from hub.config.values import Address, Secret

KEY = "hub_" + "a" * 12 + "_" + "b" * 49


def write(folder: Path, text: str) -> Path:
    path = folder / "hub.yaml"
    path.write_text(text)
    return path


def faults(folder: Path, text: str, **environ: str) -> list[tuple[int, str, str]]:
    with pytest.raises(ConfigError) as caught:
        load(write(folder, text), environ=environ)
    return [(problem.line, problem.path, problem.message) for problem in caught.value.problems]


def good(folder: Path, text: str, **environ: str) -> Config:
    return load(write(folder, text), environ=environ).config


def test_no_file_is_the_defaults(tmp_path: Path) -> None:
    loaded = load(None, environ={})
    assert loaded.config == Config()
    assert loaded.source is None
    assert loaded.hash.startswith("sha256:")
    assert load(write(tmp_path, ""), environ={}).config == Config()
    assert load(write(tmp_path, "# nothing yet\nserver:\nkeys:\n"), environ={}).hash == loaded.hash


def test_every_problem_is_reported_with_its_line_and_path_in_the_order_of_the_file(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        """\
server:
  prot: 8080
  workers: yes
upstreams:
  a: {stdio: {command: x}, url: "http://x"}
  Bad: {url: "ftp://x"}
virtual_servers:
  v:
    include: [{from: b}]
    tools: {c/x: {name: "a b"}}
limits:
  - {name: l, scope: kye, per_minute: 0}
""",
    )
    assert sorted((line, path) for line, path, _ in found) == [
        (2, "server.prot"),
        (3, "server.workers"),
        (5, "upstreams.a"),
        (6, "upstreams.Bad"),
        (6, "upstreams.Bad.url"),
        (9, "virtual_servers.v.include[0].from"),
        (10, "virtual_servers.v.tools.c/x"),
        (10, "virtual_servers.v.tools.c/x.name"),
        (12, "limits[0]"),
        (12, "limits[0].per_minute"),
        (12, "limits[0].scope"),
    ]
    assert [line for line, _, _ in found] == sorted(line for line, _, _ in found)
    assert "did you mean `port`?" in found[0][2]


def test_a_duplicate_key_is_an_error_that_names_both_lines(tmp_path: Path) -> None:
    found = faults(tmp_path, "upstreams:\n  a: {url: 'http://x'}\n  b: {url: 'http://y'}\n  a: {url: 'http://z'}\n")
    assert found == [(4, "upstreams.a", "the key `a` stands here a second time, first on line 2")]


def test_wrong_types_say_what_was_expected(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        "server: {host: 1, port: x, allowed_hosts: a, drain: []}\nkeys: {}\norgs: []\nupstreams: {a: {shared: on, stdio: {command: x}}}\n",
    )
    assert [message for _, _, message in found] == [
        "expected a text, found a number; write it in quotes",
        "expected a whole number",
        "expected a list, found a text",
        "expected a number",
        "expected a list, found a mapping",
        "expected a mapping, found a list",
        "expected true or false",
    ]


def test_scalars_follow_yaml_1_2(tmp_path: Path) -> None:
    config = good(
        tmp_path,
        "upstreams: {a: {protocol: 2025-11-25, timeout: 1e1, stdio: {command: on, args: [no, 12:30:00, 2030-01-01, '8', 1_0]}}}\nserver: {port: 012}",
    )
    spec = config.upstreams["a"]
    assert spec.stdio is not None
    assert (spec.protocol, spec.timeout, spec.stdio.command) == ("2025-11-25", 10.0, "on")
    assert spec.stdio.args == ("no", "12:30:00", "2030-01-01", "8", "1_0")
    assert config.server.port == 12


def test_anchors_aliases_and_merges_are_followed(tmp_path: Path) -> None:
    config = good(
        tmp_path,
        "upstreams:\n  a: &base {url: 'http://a', timeout: 5, headers: &h {X-A: b}}\n  b: {<<: *base, url: 'http://b'}\n  c: {url: 'http://c', headers: *h}\n",
    )
    assert config.upstreams["b"].url == "http://b"
    assert config.upstreams["b"].timeout == 5
    assert config.upstreams["c"].headers == {"X-A": "b"}


def test_aliases_that_multiply_are_refused_quickly(tmp_path: Path) -> None:
    lines = ["x0: &x0 [a,a,a,a,a,a,a,a,a,a]"] + [f"x{i}: &x{i} [{','.join([f'*x{i - 1}'] * 10)}]" for i in range(1, 12)]
    started = time.process_time()
    found = faults(tmp_path, "\n".join(lines))
    assert len(found) == 1
    assert "aliases followed" in found[0][2]
    assert time.process_time() - started < 5  # of ten to the twelfth there would be no end


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested deeper"),
        ("a: &a [*a]", "contains itself"),
        ("a: *b", "no anchor"),
        ("a: b: c", "not YAML"),
        ("server: {port: 1", "not YAML"),
        ("a: 1\n---\nb: 2", "second"),
        ("server: !!python/object:os.system {}", "tag"),
        ("? [a]\n: b", "a key must be a text"),
        ("server: {<<: 3}", "takes a mapping"),
        ("just text", "expected a mapping"),
        ("\x01", "not YAML"),
    ],
)
def test_a_text_that_cannot_be_read_is_one_problem(tmp_path: Path, text: str, message: str) -> None:
    found = faults(tmp_path, text)
    assert len(found) == 1
    assert message in found[0][2]


def test_files_that_cannot_be_read_are_problems(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            load(path, environ={})
    (tmp_path / "latin").write_bytes(b"server: {host: \xff}")
    with pytest.raises(ConfigError, match="UTF-8"):
        load(tmp_path / "latin", environ={})


def test_references_are_resolved_in_scalars_of_any_type(tmp_path: Path) -> None:
    (tmp_path / "host").write_text("::1\n")
    config = good(
        tmp_path,
        'server: {port: "${PORT}", host: "${file:host}", drain: "${DRAIN:-2.5}"}\ntelemetry: {log_level: "${LEVEL:-debug}"}\nupstreams: {a: {shared: "${S}", url: "http://${H:-x}/$${y}$"}}',
        PORT="0",
        S="true",
    )
    assert (config.server.port, config.server.host, config.server.drain) == (0, "::1", 2.5)
    assert config.telemetry.log_level == "debug"
    assert config.upstreams["a"].shared is True
    assert config.upstreams["a"].url == "http://x/${y}$"


def test_faulty_references_are_problems_with_a_line(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        'server:\n  host: "${NOPE}"\n  port: "${file:/nope}"\nupstreams: {a: {url: "http://${a-b}"}, b: {url: "${B"}}\naudit: {origin: "${A:-${B}}"}',
    )
    assert [(line, path) for line, path, _ in found] == [
        (2, "server.host"),
        (3, "server.port"),
        (4, "upstreams.a.url"),
        (4, "upstreams.b.url"),
        (5, "audit.origin"),
    ]
    assert "NOPE is not set" in found[0][2]
    assert "No such file" in found[1][2]


def test_a_value_from_outside_that_does_not_fit_is_refused_without_being_shown(tmp_path: Path) -> None:
    found = faults(tmp_path, 'server: {port: "${P}"}\ntelemetry: {log_level: "${P}"}\nkeys: [{name: a, secret: "${P}"}]', P="s3cr3t")
    assert len(found) == 3
    assert "s3cr3t" not in str(found)


@pytest.mark.parametrize(
    "text",
    [
        "keys: [{name: a, secret: hunter2}]",
        "keys: [{name: a, secret: '${X:-hunter2}'}]",
        "secrets: {master: hunter2}",
        "upstreams: {a: {url: 'http://x', headers: {Authorization: Bearer hunter2}}}",
        "upstreams: {a: {url: 'http://x', headers: {x-api-key: hunter2}}}",
        "upstreams: {a: {url: 'http://x', headers: {X-Auth-Token: hunter2}}}",
        "upstreams: {a: {url: 'http://x', headers: {Cookie: hunter2}}}",
        "upstreams: {a: {stdio: {command: x, env: {GITHUB_TOKEN: hunter2}}}}",
        "upstreams: {a: {stdio: {command: x, env: {DB_PASSWORD: hunter2}}}}",
        "upstreams: {a: {url: 'http://user:hunter2@x'}}",
        "upstreams: {a: {url: 'http://x/?api_key=hunter2'}}",
        "stores: {redis: 'redis://:hunter2@x'}",
        "upstreams: {a: {stdio: {command: x, args: ['postgres://u:hunter2@h/d']}}}",
    ],
)
def test_a_literal_secret_is_refused_and_not_repeated(tmp_path: Path, text: str) -> None:
    found = faults(tmp_path, text, X="from outside")
    assert any("may not stand in the file" in message for _, _, message in found)
    assert "hunter2" not in str(found)


def test_secrets_from_outside_are_taken_and_never_printed(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("tok\n")
    config = good(
        tmp_path,
        'keys: [{name: a, secret: "${K}"}]\nupstreams: {a: {url: "http://x", headers: {Authorization: "Bearer ${file:t}", X-Team: ops}}, b: {stdio: {command: x, env: {A_TOKEN: "${P}", KEY_FILE: /k, TOKENIZERS_PARALLELISM: "false", HOME: "${H}"}}}}',
        K=KEY,
        P="hunter2",
        H="/root",
    )
    assert config.keys[0].secret.value == KEY
    assert config.upstreams["a"].headers == {"Authorization": Secret("Bearer tok"), "X-Team": "ops"}
    stdio = config.upstreams["b"].stdio
    assert stdio is not None
    assert stdio.env == {"A_TOKEN": Secret("hunter2"), "KEY_FILE": "/k", "TOKENIZERS_PARALLELISM": "false", "HOME": Secret("/root")}
    shown = repr(config.keys) + repr(config.upstreams["a"].headers) + repr(stdio)
    assert KEY not in shown
    assert "tok" not in shown.replace("TOKEN", "")


def test_the_hash_follows_the_resolved_content_but_never_a_secret(tmp_path: Path) -> None:
    text = 'server: {port: "${P}"}\nkeys: [{name: a, secret: "${K}"}]\nupstreams: {a: {url: "http://x/?api_key=${W}"}}\nstores: {redis: "redis://:${W}@x"}'
    path = write(tmp_path, text)
    base = load(path, environ={"P": "1", "K": KEY, "W": "one"})
    other = load(path, environ={"P": "1", "K": KEY[:-1] + "c", "W": "two"})
    assert base.hash == other.hash
    assert base.config != other.config
    assert load(path, environ={"P": "2", "K": KEY, "W": "one"}).hash != base.hash
    defaults = load(write(tmp_path, "server: {port: 8080}"), environ={})
    assert defaults.hash == load(None, environ={}).hash


def test_redis_without_use_is_a_warning(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, 'stores: {redis: "${R:-}"}'), environ={"R": "redis://x"})
    assert [warning.path for warning in loaded.warnings] == ["stores.redis"]
    assert load(write(tmp_path, 'stores: {redis: "${R:-}"}'), environ={}).warnings == ()


def test_references_across_organisations_are_refused_unless_shared(tmp_path: Path) -> None:
    text = """\
upstreams:
  a: {org: acme, url: "http://a"}
  b: {org: acme, shared: true, url: "http://b"}
virtual_servers:
  v: {include: [{from: a}, {from: b}]}
  w: {org: acme, include: [{from: a}]}
keys:
  - {name: k, secret: "${K}", grants: [{virtual_server: v}, {virtual_server: w}, {virtual_server: "*"}, {virtual_server: vv}]}
"""
    found = faults(tmp_path, text, K=KEY)
    assert [(line, path) for line, path, _ in found] == [
        (5, "virtual_servers.v.include[0].from"),
        (8, "keys[0].grants[1].virtual_server"),
        (8, "keys[0].grants[3].virtual_server"),
    ]


def test_a_shared_virtual_server_needs_shared_upstreams_also_of_its_own_organisation(tmp_path: Path) -> None:
    text = """\
upstreams:
  a: {url: "http://a"}
  b: {shared: true, url: "http://b"}
virtual_servers:
  v: {shared: true, include: [{from: b}, {from: a}]}
  w: {include: [{from: b}, {from: a}]}
"""
    sentence = "a shared virtual server needs shared upstreams: `a` is not"
    assert faults(tmp_path, text) == [(5, "virtual_servers.v.include[1].from", sentence)]


def test_where_organisations_are_declared_others_are_unknown(tmp_path: Path) -> None:
    found = faults(tmp_path, "orgs: {acme: {}}\nupstreams: {a: {org: acem, url: 'http://x'}, b: {url: 'http://x'}}")
    assert found == [(2, "upstreams.a.org", "no organisation `acem` is declared; did you mean `acme`?")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("keys: [{name: a, secret: '${K}'}, {name: a, secret: '${K}'}]", "is taken"),
        ("keys: [{name: a, secret: '${E}'}]", "the secret is empty"),
        ("keys: [{name: a, secret: '${S}'}]", "hub keys mint"),
        ("keys: [{name: a, secret: '${K}', expires: tomorrow}]", "RFC 3339"),
        ("keys: [{name: a, secret: '${K}', expires: 2030-01-01T00:00:00}]", "RFC 3339"),
        ("keys: [{name: a, secret: '${K}', grants: [{}]}]", "opens nothing"),
        ("limits: [{name: a, scope: key}]", "limits nothing"),
        ("limits: [{name: a, scope: key, per_day: 1, burst: 2}]", "beside `per_minute`"),
        ("policies: {sets: {a: {}}}", "exactly one of `cedar`"),
        ("policies: {sets: {a: {file: no.cedar}}}", "no file no.cedar"),
        ("upstreams: {a: {}}", "exactly one of `stdio`"),
        ("upstreams: {a: {stdio: {command: x}, headers: {A: b}}}", "beside `url`"),
        ("upstreams: {a: {url: 'http://x', timeout: 900}}", "less than `timeout`"),
        ("upstreams: {a: {url: 'http://x', headers: {A: \"b\\r\\nC: d\"}}}", "line breaks"),
        ("upstreams: {a: {url: 'http://x', headers: {'A B': c}}}", "not a header name"),
        ("upstreams: {a: {url: 'http://[x'}}", "not an http or https URL"),
        ("upstreams: {a: {url: 'http://${S}@x'}}", "a user or password in the URL is never sent"),
        ("upstreams: {a: {url: 'https://u:${S}@x/mcp'}}", "a user or password in the URL is never sent"),
        ("upstreams: {a: {stdio: {command: x, env: {'A=B': c}}}}", "not an environment variable"),
        ("virtual_servers: {a: {tools: {x: {}}}}", "`upstream/name`"),
    ],
)
def test_what_has_no_meaning_is_refused(tmp_path: Path, text: str, message: str) -> None:
    found = faults(tmp_path, text, K=KEY, E="", S="short")
    assert any(message in one for _, _, one in found), found


FRAMING = [
    *("Connection", "content-length", "Transfer-Encoding", "upgrade", "Expect"),
    *("TE", "trailer", "Keep-Alive", "Proxy-Connection", "HOST"),
]


@pytest.mark.parametrize("name", FRAMING)
def test_headers_that_frame_a_message_are_the_hubs_own(tmp_path: Path, name: str) -> None:
    found = faults(tmp_path, f"upstreams: {{a: {{url: 'http://x', headers: {{{name}: '5'}}}}}}")
    assert found == [(1, f"upstreams.a.headers.{name}", "the hub sets this header itself: it says where a message ends or goes")]


def test_a_refused_user_in_a_url_is_not_repeated(tmp_path: Path) -> None:
    assert "hunter2" not in str(faults(tmp_path, "upstreams: {a: {url: 'http://u:${P}@x'}}", P="hunter2"))


def test_parts_can_be_read_where_the_rest_cannot_be_resolved(tmp_path: Path) -> None:
    path = write(tmp_path, "stores: {database: 'sqlite:////tmp/x.db'}\nkeys: [{name: a, secret: '${NOPE}'}]")
    assert load(path, environ={}, only=("stores",)).config.stores.database == Address("sqlite:////tmp/x.db")


def test_changes_that_need_a_restart_are_named(tmp_path: Path) -> None:
    old = good(tmp_path, "server: {port: 1}\naudit: {origin: a}\nsecrets: {master: '${M}'}", M="1")
    new = good(
        tmp_path, "server: {port: 2, drain: 1}\naudit: {origin: b}\nsecrets: {master: '${M}'}\nstores: {database: 'sqlite:///b'}", M="2"
    )
    assert changes_that_need_restart(old, new) == ["server.port", "stores.database", "secrets.master", "audit.origin"]
    assert changes_that_need_restart(old, old) == []


def test_a_file_of_200_lines_loads_quickly(tmp_path: Path) -> None:
    text = "upstreams:\n" + "".join(f"  u{i}:\n    url: http://h{i}\n    timeout: {i + 1}\n" for i in range(50))
    text += "virtual_servers:\n" + "".join(f"  v{i}: {{include: [{{from: u{i}}}]}}\n" for i in range(48))
    path = write(tmp_path, text)
    load(path, environ={})
    started = time.process_time()
    load(path, environ={})
    assert time.process_time() - started < 2
