"""`hub check --connect`: starts every upstream and compiles everything once, with nothing served and nothing kept."""

import asyncio

from msgspec import Struct

from hub.call import new_id
from hub.config.load import Loaded
from hub.egress import Egress
from hub.policy.decide import Places, Policy, PolicyInvalid
from hub.refusal import Refusal
from virtual_servers.catalog import Catalogue
from virtual_servers.compose import compose
from virtual_servers.generation import targets_of
from virtual_servers.guard import Guard
from virtual_servers.upstream import McpUpstream


class Findings(Struct, frozen=True):
    """Sentences. `errors` are what would keep something from being served, `warnings` what an operator may want to know."""

    errors: list[str]
    warnings: list[str]


async def dry_run(loaded: Loaded) -> Findings:
    """What would be wrong if this configuration were served now."""
    guard, egress = Guard(f"check-{new_id()}"), Egress(loaded.config.egress)
    guard.start()
    await egress.open()
    upstreams = {name: McpUpstream(name, spec, egress=egress, guard=guard) for name, spec in loaded.config.upstreams.items()}
    try:
        found = await asyncio.gather(*(upstream.catalogue() for upstream in upstreams.values()), return_exceptions=True)
    finally:
        await asyncio.gather(*(upstream.stop() for upstream in upstreams.values()))
        await egress.close()
        await asyncio.to_thread(guard.close)
    catalogues: dict[str, Catalogue] = {}
    unreachable: list[str] = []
    for name, result in zip(upstreams, found, strict=True):
        if isinstance(result, Catalogue):
            catalogues[name] = result
        else:
            unreachable.append(f"upstream {name}: {_reason(result)}")
    found = _compiled(loaded, catalogues)
    return Findings(unreachable + found.errors, found.warnings)


def _compiled(loaded: Loaded, catalogues: dict[str, Catalogue]) -> Findings:
    config = loaded.config
    views = {name: compose(name, spec, catalogues) for name, spec in config.virtual_servers.items()}
    problems = [(problem.severity, f"virtual server {name}: {problem}") for name, view in views.items() for problem in view.problems]
    errors = [sentence for severity, sentence in problems if severity == "error"]
    awaited = [name for name in config.upstreams if name not in catalogues]
    try:
        Policy.compile(config.policies, loaded.base, targets_of(catalogues), Places.of(config), awaited)
    except PolicyInvalid as error:
        errors += [f"policy: {sentence}" for sentence in str(error).splitlines()]
    return Findings(errors, [sentence for severity, sentence in problems if severity == "warning"])


def _reason(error: BaseException) -> str:
    if isinstance(error, Refusal):
        return f"{error.message} ({error.detail})" if error.detail else error.message
    raise error
