"""What values of a configuration must mean together: references, exclusions, what this version can serve. Types are checked before."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from hub.config import keyrules, spending, stores
from hub.config.callers import role_fault
from hub.config.checked import Checked, Fault
from hub.config.convert import Place
from hub.config.mcp import Include, UpstreamSpec, VirtualServerSpec
from hub.config.model import Config
from hub.config.models import Deployment, ModelSpec, ProviderSpec
from hub.config.money import RatesSpec
from hub.config.problem import Keys, Problem, suggestion
from hub.config.telemetry import OtlpSpec
from hub.config.values import Secret

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FRAMING = frozenset(
    {
        *("connection", "content-length", "expect", "host", "keep-alive", "proxy-connection"),
        *("te", "trailer", "transfer-encoding", "upgrade"),
    }
)
"""Header names that decide how a request is read and by whom (RFC 9110, 7.2 and 7.6.1; RFC 9112, 6): never an operator's to set."""


def problems(config: Config, places: Mapping[Keys, Place], base: Path) -> list[Problem]:
    """Every rule the configuration breaks."""
    checked = Checked(config, places, base)
    return [checked.problem(fault) for rule in RULES for fault in rule(checked)]


def warnings(config: Config, places: Mapping[Keys, Place], base: Path) -> list[Problem]:
    """What is allowed but has no effect."""
    found: list[Fault] = []
    if config.stores.redis.url and isinstance(stores.database(config.stores.database), stores.SqliteFile):
        found.append((("stores", "redis"), "not used: with SQLite one process serves, which needs no Redis"))
    lacking = [f"`secrets.{name}`" for name, given in (("master", config.secrets.master), ("log", config.secrets.log)) if given is None]
    if lacking and stores.several(config.stores):
        said = f"several hubs need the same key material: give {' and '.join(lacking)}, or each machine makes its own and is refused"
        found.append((("stores", "redis"), said))
    return [Checked(config, places, base).problem(fault) for fault in found]


def _stores(checked: Checked) -> Iterator[Fault]:
    given, faults = checked.config.stores, list[Fault]()
    for name, read, address in (("database", stores.database, given.database), ("redis", stores.redis, given.redis)):
        try:
            read(address)
        except ValueError as error:
            faults.append((("stores", name), str(error)))
    yield from faults
    if not faults and checked.config.server.workers > 1 and not stores.several(given):
        yield ("server", "workers"), f"more than one worker: {stores.NEEDED}"


def _vault(checked: Checked) -> Iterator[Fault]:
    given = checked.config.secrets.vault
    if given is not None and given.key is not None and given.command:
        yield ("secrets", "vault"), "give at most one of `key` and `command`"


def _orgs(checked: Checked) -> Iterator[Fault]:
    known = checked.declared("orgs")
    if not known:
        return
    owners: list[tuple[Keys, str]] = [(("keys", i, "org"), key.org) for i, key in enumerate(checked.config.keys)]
    owners += [(("limits", i, "org"), limit.org) for i, limit in enumerate(checked.config.limits) if limit.org != "*"]
    owners += [(("budgets", i, "org"), budget.org) for i, budget in enumerate(checked.config.budgets) if budget.org != "*"]
    owners += [(("policies", "sets", name, "org"), one.org) for name, one in checked.config.policies.sets.items() if one.org != "*"]
    owners += [(("prices", i, "org"), price.org) for i, price in enumerate(checked.config.prices) if price.org != "*"]
    owners += [(("upstreams", name, "org"), one.org) for name, one in checked.config.upstreams.items()]
    owners += [(("virtual_servers", name, "org"), one.org) for name, one in checked.config.virtual_servers.items()]
    owners += [(("providers", name, "org"), one.org) for name, one in checked.config.providers.items()]
    owners += [(("models", name, "org"), one.org) for name, one in checked.config.models.items()]
    owners += [((section, name, "org"), one.org) for section in keyrules.UNITS for name, one in keyrules.units(checked, section)]
    for path, org in owners:
        if org != "default" and org not in known:
            yield path, f"no organisation `{org}` is declared{suggestion(org, known)}"


def _names(checked: Checked) -> Iterator[Fault]:
    config = checked.config
    for section, named in (("keys", config.keys), ("limits", config.limits), ("budgets", config.budgets)):
        seen: set[str] = set()
        for index, name in enumerate(one.name for one in named):
            if name in seen:
                yield (section, index, "name"), f"the name `{name}` is taken: names are unique in the hub, whatever the organisation"
            seen.add(name)


def _keys(checked: Checked) -> Iterator[Fault]:
    for index, key in enumerate(checked.config.keys):
        path: Keys = ("keys", index)
        if key.secret.value and not keyrules.KEY_FORMAT.fullmatch(key.secret.value):
            yield (*path, "secret"), "its value is not in the hub's key format; `hub keys mint` prints one"
        if key.expires and not _is_instant(key.expires):
            yield (*path, "expires"), "not an RFC 3339 time with an offset, such as 2030-01-31T12:00:00Z"
        if fault := role_fault(key):
            yield (*path, "roles"), fault
        yield from keyrules.grants(checked, key, path)


def _limits(checked: Checked) -> Iterator[Fault]:
    for index, limit in enumerate(checked.config.limits):
        given = ("per_minute", "concurrency", "per_day", *spending.TOKEN_LIMITS)
        if all(getattr(limit, name) is None for name in given):
            yield ("limits", index), "it limits nothing; give `per_minute`, `concurrency`, `per_day` or `tokens_per_minute`"
        if limit.burst is not None and limit.per_minute is None:
            yield ("limits", index, "burst"), "it has a meaning only beside `per_minute`"


def _prices(checked: Checked) -> Iterator[Fault]:
    for index, price in enumerate(checked.config.prices):
        path: Keys = ("prices", index)
        written = [name for name in (*RatesSpec.__struct_fields__, "call", "search", "long") if getattr(price, name)]
        if price.free and written:
            yield (*path, "free"), f"what is free has no `{written[0]}`"
        if not price.free and not checked.written((*path, "input")):
            yield path, "give `input`, in US dollars per million tokens, or `free: true`"
        if price.effective_from and not _is_instant(price.effective_from):
            yield (*path, "effective_from"), "not an RFC 3339 time with an offset, such as 2030-01-31T12:00:00Z"
        for place, (before, long) in enumerate(zip((0, *(one.over for one in price.long)), price.long, strict=False)):
            if long.over <= before:
                yield (*path, "long", place, "over"), "each must be longer than the one before"
            if not checked.written((*path, "long", place, "input")):
                yield (*path, "long", place), "`input` is missing"


def _budgets(checked: Checked) -> Iterator[Fault]:
    yield from spending.faults(checked.config)


def _policies(checked: Checked) -> Iterator[Fault]:
    for name, spec in checked.config.policies.sets.items():
        path: Keys = ("policies", "sets", name)
        if checked.written((*path, "cedar")) == checked.written((*path, "file")):
            yield path, "give exactly one of `cedar` and `file`"
        elif spec.file and not (checked.base / spec.file).is_file():
            yield (*path, "file"), f"there is no file {spec.file} beside the configuration"


def _upstreams(checked: Checked) -> Iterator[Fault]:
    for name, spec in checked.config.upstreams.items():
        path: Keys = ("upstreams", name)
        if checked.written((*path, "stdio")) == checked.written((*path, "url")):
            yield path, "give exactly one of `stdio` and `url`"
        if spec.url:
            yield from _url(spec.url, (*path, "url"))
        elif spec.headers:
            yield (*path, "headers"), "they have a meaning only beside `url`"
        if spec.max_timeout < spec.timeout:
            yield (*path, "max_timeout"), "it must not be less than `timeout`"
        yield from _headers(spec, path)
        yield from _environment(spec, path)


def _url(url: str, path: Keys) -> Iterator[Fault]:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        named = "@" in parts.netloc
    except ValueError:
        usable = named = False
    if not usable or any(character.isspace() for character in url):
        yield path, "not an http or https URL"
    elif named:
        yield path, "a user or password in the URL is never sent; give the server's credentials in `headers`"


def _headers(spec: UpstreamSpec | ProviderSpec | OtlpSpec, path: Keys) -> Iterator[Fault]:
    for name, value in spec.headers.items():
        text = value.value if isinstance(value, Secret) else value
        if not _HEADER.fullmatch(name):
            yield (*path, "headers", name), "not a header name"
        elif name.lower() in _FRAMING:
            yield (*path, "headers", name), "the hub sets this header itself: it says where a message ends or goes"
        if any((ord(character) < 32 and character != "\t") or ord(character) == 127 for character in text):
            yield (*path, "headers", name), "a header value may not hold line breaks or control characters"


def _environment(spec: UpstreamSpec, path: Keys) -> Iterator[Fault]:
    if spec.stdio is None:
        return
    if not spec.stdio.command:
        yield (*path, "stdio", "command"), "it is empty"
    for name, value in spec.stdio.env.items():
        text = value.value if isinstance(value, Secret) else value
        if not name or "=" in name or "\0" in name or "\0" in text:
            yield (*path, "stdio", "env", name), "not an environment variable: no `=` in the name, no NUL byte anywhere"


def _virtual_servers(checked: Checked) -> Iterator[Fault]:
    for name, spec in checked.config.virtual_servers.items():
        path: Keys = ("virtual_servers", name)
        for index, include in enumerate(spec.include):
            yield from _include(checked, spec, include, (*path, "include", index, "from"))
        included = [include.from_ for include in spec.include]
        for kind, overrides in (("tools", spec.tools), ("prompts", spec.prompts)):
            for key in overrides:
                upstream, slash, rest = key.partition("/")
                if not slash or not rest:
                    yield (*path, kind, key), "the key must be `upstream/name`"
                elif upstream not in included:
                    yield (*path, kind, key), f"`{upstream}` is not included by this virtual server{suggestion(upstream, included)}"


def _include(checked: Checked, spec: VirtualServerSpec, include: Include, path: Keys) -> Iterator[Fault]:
    known = checked.declared("upstreams")
    upstream = checked.config.upstreams.get(include.from_)
    if include.from_ not in known:
        yield path, f"no upstream `{include.from_}` is declared{suggestion(include.from_, known)}"
    elif upstream and spec.shared and not upstream.shared:
        yield path, f"a shared virtual server needs shared upstreams: `{include.from_}` is not"
    elif upstream and not upstream.shared and upstream.org != spec.org:
        yield path, f"the upstream `{include.from_}` belongs to organisation `{upstream.org}` and is not shared with `{spec.org}`"


def _providers(checked: Checked) -> Iterator[Fault]:
    for name, spec in checked.config.providers.items():
        path: Keys = ("providers", name)
        yield from _url(spec.base_url, (*path, "base_url"))
        if any(sign in spec.base_url for sign in "?#"):
            yield (*path, "base_url"), "it is what the API's paths are put after: no query and no fragment"
        if spec.max_timeout < spec.timeout:
            yield (*path, "max_timeout"), "it must not be less than `timeout`"
        if spec.api_key is not None and any(not 33 <= ord(character) <= 126 for character in spec.api_key.value):
            yield (*path, "api_key"), "a key may hold visible ASCII characters only"
        yield from _headers(spec, path)
        for header in spec.headers:
            if header.lower() in ("authorization", "x-api-key") and spec.api_key is not None:
                yield (*path, "headers", header), "give the key in one place: here or as `api_key`"


def _models(checked: Checked) -> Iterator[Fault]:
    for name, spec in checked.config.models.items():
        path: Keys = ("models", name)
        yield from _route(checked, spec, spec.route, (*path, "route"))
        for index, rule in enumerate(spec.rules):
            at = (*path, "rules", index)
            yield from _route(checked, spec, rule.route, (*at, "route"))
            if rule.prompt_over is None and rule.budget_under is None:
                yield at, "it fits every request; give `prompt_over` or `budget_under`"


def _route(checked: Checked, spec: ModelSpec, route: tuple[Deployment, ...], path: Keys) -> Iterator[Fault]:
    known = checked.declared("providers")
    seen: set[tuple[str, str]] = set()
    for index, deployment in enumerate(route):
        at: Keys = (*path, index, "provider")
        provider = checked.config.providers.get(deployment.provider)
        if deployment.provider not in known:
            yield at, f"no provider `{deployment.provider}` is declared{suggestion(deployment.provider, known)}"
        elif provider and spec.shared and not provider.shared:
            yield at, f"a shared model needs shared providers: `{deployment.provider}` is not"
        elif provider and not provider.shared and provider.org != spec.org:
            said = f"belongs to organisation `{provider.org}` and is not shared with `{spec.org}`"
            yield at, f"the provider `{deployment.provider}` {said}"
        if (deployment.provider, deployment.model) in seen:
            yield (*path, index), "it stands in this route already"
        seen.add((deployment.provider, deployment.model))


def _telemetry(checked: Checked) -> Iterator[Fault]:
    spec = checked.config.telemetry
    for name, one in spec.otlp.items():
        yield from _url(one.endpoint, ("telemetry", "otlp", name, "endpoint"))
        yield from _headers(one, ("telemetry", "otlp", name))
    for name, one in spec.langfuse.items():
        path: Keys = ("telemetry", "langfuse", name)
        yield from _url(one.url, (*path, "url"))
        if name in spec.otlp:
            yield path, f"the name `{name}` is taken by a collector: each target has its own"
        for key, text in (("public_key", one.public_key), ("secret_key", one.secret_key.value)):
            if ":" in text or any(not 33 <= ord(character) <= 126 for character in text):
                yield (*path, key), "a key may hold visible ASCII characters only, and no colon"


def _is_instant(text: str) -> bool:
    try:
        return "T" in text.upper() and datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


RULES: tuple[Callable[[Checked], Iterator[Fault]], ...] = (
    *(_stores, _vault, _orgs, _names, keyrules.master, _keys, keyrules.belonging, _limits, _budgets, _prices, _policies),
    *(_upstreams, _virtual_servers, _providers, _models, _telemetry),
)
