"""The URL of Redis as the client understands it."""

import pytest

from hub.config.redis_url import Login, parse


@pytest.mark.parametrize(
    ("url", "form", "seeds", "service", "database", "tls"),
    [
        ("redis://r", "single", (("r", 6379),), "", 0, False),
        ("rediss://u:p@r.example:1/3", "single", (("r.example", 1),), "", 3, True),
        ("redis://[::1]:7/", "single", (("::1", 7),), "", 0, False),
        ("redis+sentinel://a,b:1/main/2", "sentinel", (("a", 26379), ("b", 1)), "main", 2, False),
        ("rediss+cluster://a,b:1", "cluster", (("a", 6379), ("b", 1)), "", 0, True),
    ],
)
def test_forms_of_the_url(url: str, form: str, seeds: object, service: str, database: int, tls: bool):
    site = parse(url)
    assert (site.form, site.seeds, site.service, site.database, site.tls) == (form, seeds, service, database, tls)


def test_what_stands_in_a_url_besides():
    site = parse("rediss+sentinel://u%40x:p%2F@h/s?ssl_ca_certs=/ca.pem&sentinel_password=q")
    assert (site.login, site.sentinel_login, site.ca_file) == (Login("u@x", "p/"), Login("", "q"), "/ca.pem")


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "http://r",
            "redis:/r",
            "redis+other://r",
            "redis://",
            "redis://a,b",
            "redis://a:0",
            "redis://a:70000",
            "redis://secret:x y@a b",
        ),
        *("redis://a/x", "redis+sentinel://a", "redis+cluster://a/1", "redis://a?secret=1", "redis://a#secret", "redis://p/secret@a"),
    ],
)
def test_what_is_no_url_is_said_without_repeating_it(url: str):
    with pytest.raises(ValueError) as raised:
        parse(url)
    assert "secret" not in str(raised.value).replace("`secret` is no parameter", "")
