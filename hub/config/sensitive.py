"""Which names hold secrets, and which texts hold one in the open. It knows names and texts, not the configuration."""

import re

from hub.config.interpolate import OUTSIDE, Expanded

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SECRET = {"key", "keys", "pat", "pass", "pwd", "auth", "authorization", "cookie", "credential", "credentials", "jwt", "tokens", "secrets"}
_ENDINGS = ("token", "secret", "password", "passwd", "passphrase", "apikey")
_USERINFO = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/@\s:?#]*:(?P<password>[^/@\s]+)@")
_PASSWORD = re.compile(r"(://[^:]*:).*@", re.DOTALL)
"""Up to the last `@`: a password that is not percent-encoded, as it should be, is covered all the same."""
_PARAMETER = re.compile(r"[?&](?P<name>[^=&#]+)=(?P<value>[^&#]+)")


def looks_secret(name: str) -> bool:
    """Whether a variable or header of this name holds a secret: judged by its last word, so `TOKEN_FILE` and `KEY_ID` do not."""
    words = [word.lower() for word in _WORDS.findall(name) if not word.isdigit()]
    if not words or name == "PWD":
        return False
    return words[-1] in _SECRET or words[-1].endswith(_ENDINGS)


def literal(text: Expanded) -> bool:
    """Whether the text is written in the file with no part from outside. An empty text holds nothing."""
    return bool(text.static) and not text.outside


def url_with_literal_secret(text: Expanded) -> str:
    """What of a URL is a secret in the open: `password`, the name of a query parameter, or nothing."""
    found = _USERINFO.search(text.static)
    if found and OUTSIDE not in found["password"]:
        return "the password"
    for match in _PARAMETER.finditer(text.static):
        if looks_secret(match["name"]) and OUTSIDE not in match["value"]:
            return f"the parameter `{match['name']}`"
    return ""


def holds_secret(text: Expanded) -> bool:
    """Whether what came from outside must not be shown or hashed.

    So it is when it came from a file, from a variable named as a secret is, or stands in a URL with a password or a secret parameter.
    """
    if not text.sources:
        return False
    if any(source.startswith("file:") or looks_secret(source) for source in text.sources) or _USERINFO.search(text.static):
        return True
    return any(looks_secret(match["name"]) for match in _PARAMETER.finditer(text.static))


def without_secrets(url: str) -> str:
    """A URL as it may be shown: `***` in place of the password and of secret parameters."""

    def shown(parameter: re.Match[str]) -> str:
        return parameter[0][: -len(parameter["value"])] + "***" if looks_secret(parameter["name"]) else parameter[0]

    return _PARAMETER.sub(shown, _PASSWORD.sub(r"\1***@", url))
