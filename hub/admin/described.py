"""What operators' routes say of themselves: one operation for each, held against the routes by a test (tests/openapi/)."""

from typing import Any

from msgspec.structs import replace

from hub.admin import answered as told
from hub.admin.answers import problem
from hub.admin.prices import NewTable, StagedDecision
from hub.admin.vault import NewValue
from hub.budget.override_vet import Wish
from hub.identity.giving import Wanted
from hub.identity.roles import HUB_WIDE, OPERATORS, ROLES, TABLE
from hub.openapi.operation import Answer, Body, Errors, Operation, Parameter
from hub.openapi.refusals import example, grouped, kinds
from hub.openapi.shapes import BARE, named

_SENT = frozenset(
    {
        "invalid_request",
        "invalid_params",
        "unauthenticated",
        "denied",
        "not_found",
        "journal_unavailable",
        "store_unavailable",
        "outcome_unrecorded",
        "internal",
    }
)
PROBLEMS = Errors(
    "problem",
    named("Problem"),
    grouped((problem(example(kind)).status_code, kind.code) for kind in kinds() if kind.code in _SENT),
    media="application/problem+json",
)
"""Refusals of operators' routes, by the status they have there."""

_ORG = Parameter("org", "query", "The organisation meant. Operators of the hub may name any; others have their own, whatever is said.")
_SECRET = Parameter("name", "path", "The name of a secret.", example="openai")
_CALL = Parameter("call", "path", "The id of a call: its `x-request-id`.", example="01a1fdfb-c180-75de-a1ea-db20d204fcd0")
_BASE64: dict[str, Any] = {"table": "eyJ2ZXJzaW9uIjoxfQ==", "allow": []}


def _guarded(one: Operation) -> Operation:
    """With what the table of permissions says of it."""
    if one.permission not in TABLE:
        return one
    cells = dict(zip(ROLES, TABLE[one.permission], strict=True))
    own = [f"`{role}`" for role, cell in cells.items() if cell == "own"]
    notes = [one.description] if one.description else []
    if one.permission in HUB_WIDE:
        notes.append(f"It is about the whole hub: for keys of the organisation `{OPERATORS}` only.")
    if own:
        notes.append(f"For {' and '.join(own)}: what is its own.")
    return replace(one, description="\n\n".join(notes), roles=tuple(role for role, cell in cells.items() if cell))


def json(schema: Any, description: str, status: str = "200") -> tuple[Answer, ...]:
    """One answer in JSON, as operators' routes have it."""
    return (Answer(status, description, {"application/json": schema}),)


_DESCRIBED: tuple[Operation, ...] = (
    Operation("GET", "/health", "health", "Health", "Whether the process answers", json(told.Alive, "It does."), BARE, open=True),
    Operation(
        "GET",
        "/health/ready",
        "ready",
        "Health",
        "Whether this process should get traffic",
        (
            *json(told.Standing, "It should."),
            *json(told.Standing, "It should not: `reasons` says why.", "503"),
        ),
        BARE,
        "For load balancers. It also tells replicas apart that run different configurations.",
        open=True,
    ),
    Operation(
        "GET",
        "/metrics",
        "metrics",
        "Operations",
        "Metrics for Prometheus",
        (Answer("200", "Counts since the process began, of all workers together.", {"text/plain": str}),),
        PROBLEMS,
        permission="metrics:read",
    ),
    Operation(
        "GET",
        "/admin/v1/status",
        "status",
        "Operations",
        "What runs, in which state",
        json(told.Status, "The process that was asked, as it sees itself."),
        PROBLEMS,
        permission="status:read",
    ),
    Operation(
        "GET",
        "/admin/v1/keys",
        "list_keys",
        "Keys",
        "List keys",
        json(told.KeyList, "Every key of the organisation, or of all."),
        PROBLEMS,
        parameters=(_ORG,),
        permission="keys:read",
    ),
    Operation(
        "POST",
        "/admin/v1/keys",
        "create_key",
        "Keys",
        "Make a key",
        json(told.KeyMade, "It counts everywhere from now on. Keep `key`: it is shown once.", "201"),
        PROBLEMS,
        "A key may do what its grants say, and its roles. Times are RFC 3339 with an offset; an empty `expires` is never.",
        body=Body(Wanted, {"name": "shop", "subject": "app:shop", "grants": [{"model": "fast"}, {"virtual_server": "demo"}]}),
        permission="keys:write",
    ),
    Operation(
        "DELETE",
        "/admin/v1/keys/{key}",
        "revoke_key",
        "Keys",
        "Revoke a key",
        json(told.KeyRevoked, "Nobody is let in with it any more; what ran under it is cut off."),
        PROBLEMS,
        parameters=(Parameter("key", "path", "The name or the id of a live key.", example="shop"),),
        permission="keys:write",
    ),
    Operation(
        "GET",
        "/admin/v1/prices",
        "price_state",
        "Prices",
        "Which price table is in force",
        json(told.PriceState, "The table in force, and the one that waits."),
        PROBLEMS,
        permission="prices:read",
    ),
    Operation(
        "POST",
        "/admin/v1/prices/diff",
        "compare_prices",
        "Prices",
        "What a price table would change",
        json(told.PriceDiff, "Changes against the table in force. Nothing is kept."),
        PROBLEMS,
        body=Body(NewTable, _BASE64),
        permission="prices:read",
    ),
    Operation(
        "POST",
        "/admin/v1/prices/staged",
        "stage_prices",
        "Prices",
        "Stage a price table",
        json(told.PriceDiff, "It waits to be confirmed; this is what it changes."),
        PROBLEMS,
        "Refused where a change is not to be believed and not allowed by name.",
        body=Body(NewTable, _BASE64),
        permission="prices:write",
    ),
    *(
        Operation(
            "POST",
            f"/admin/v1/prices/{verb}",
            f"{verb}_prices",
            "Prices",
            summary,
            json(told.PriceDecided, said),
            PROBLEMS,
            body=Body(StagedDecision, {"table": "sha256:…"}, required=False),
            permission="prices:write",
        )
        for verb, summary, said in (
            ("confirm", "Put the staged price table in force", "It prices every call from now on."),
            ("reject", "Drop the staged price table", "It is gone."),
        )
    ),
    Operation(
        "GET",
        "/admin/v1/budgets",
        "list_budgets",
        "Budgets",
        "List budgets",
        json(told.BudgetList, "Budgets of the configuration, with the overrides that hold."),
        PROBLEMS,
        parameters=(_ORG,),
        permission="budgets:read",
    ),
    Operation(
        "GET",
        "/admin/v1/budgets/overrides",
        "list_overrides",
        "Budgets",
        "List overrides of budgets",
        json(told.OverrideList, "At most 1000, the newest first."),
        PROBLEMS,
        parameters=(_ORG, Parameter("ended", "query", "Those that have ended, or were taken back, too.", bool)),
        permission="budgets:read",
    ),
    Operation(
        "POST",
        "/admin/v1/budgets/{budget}/overrides",
        "override_budget",
        "Budgets",
        "Raise or set what a budget may spend, for a while",
        json(told.OverrideGiven, "It holds in every process from now on.", "201"),
        PROBLEMS,
        "Another that holds for the same budget, organisation and `who` is replaced. What counts all organisations together, or is meant "
        f"for all of them, is for keys of the organisation `{OPERATORS}`.",
        parameters=(Parameter("budget", "path", "The name of a budget.", example="team-day"),),
        body=Body(Wish, {"amount": "25", "until": "window", "reason": "release week", "who": "core"}),
        permission="budgets:write",
    ),
    Operation(
        "DELETE",
        "/admin/v1/budgets/overrides/{override}",
        "restore_budget",
        "Budgets",
        "Take an override back",
        json(told.OverrideEnded, "What is configured, or a wider override, holds again in every process."),
        PROBLEMS,
        parameters=(Parameter("override", "path", "The id of an override.", example="01a1fdfb-c180-75de-a1ea-db20d204fcd0"),),
        permission="budgets:write",
    ),
    Operation(
        "GET",
        "/admin/v1/vault",
        "list_secrets",
        "Vault",
        "List the secrets of the vault",
        json(told.SecretList, "Names, versions and, of long values, the last four characters."),
        PROBLEMS,
        parameters=(_ORG,),
        permission="vault:read",
    ),
    Operation(
        "POST",
        "/admin/v1/vault/rotate",
        "rotate_vault",
        "Vault",
        "Wrap every secret under the present key",
        json(told.SecretsRotated, "All of them are."),
        PROBLEMS,
        "One transaction: where one value cannot be opened, nothing changes.",
        permission="vault:rotate",
    ),
    Operation(
        "PUT",
        "/admin/v1/vault/{name}",
        "set_secret",
        "Vault",
        "Store or replace a secret",
        json(told.SecretSet, "It is used from now on."),
        PROBLEMS,
        "The value goes in and never comes out. For `overlap` seconds the one before it is kept, should the new one be refused.",
        parameters=(_SECRET,),
        body=Body(NewValue, {"value": "sk-a-providers-key", "overlap": 600}),
        permission="vault:write",
    ),
    Operation(
        "DELETE",
        "/admin/v1/vault/{name}",
        "remove_secret",
        "Vault",
        "Remove a secret",
        json(told.SecretRemoved, "Every version of it is gone."),
        PROBLEMS,
        parameters=(_SECRET, _ORG),
        permission="vault:write",
    ),
    Operation(
        "GET",
        "/admin/v1/contents",
        "list_contents",
        "Contents",
        "Of which calls content is kept",
        json(told.ContentList, "Parts of calls, the newest first, without what was said."),
        PROBLEMS,
        parameters=(
            _ORG,
            Parameter("before", "query", "From before that moment: the `at` of the last of the page before.", int),
            Parameter("limit", "query", "Parts of a page; 50 where nobody says.", int),
        ),
        permission="contents:list",
    ),
    Operation(
        "GET",
        "/admin/v1/contents/{call}",
        "read_content",
        "Contents",
        "What was said in a call",
        json(told.ContentRead, "Question and answer, opened. That they were read is on record."),
        PROBLEMS,
        parameters=(_CALL,),
        permission="contents:read",
    ),
    Operation(
        "DELETE",
        "/admin/v1/contents/{call}",
        "erase_content",
        "Contents",
        "Erase what was said in a call",
        json(told.ContentErased, "It is gone. That it was erased is on record."),
        PROBLEMS,
        parameters=(_CALL,),
        permission="contents:erase",
    ),
    Operation(
        "GET",
        "/openapi.json",
        "document",
        "Document",
        "This document",
        json({"type": "object", "required": ["openapi"]}, "OpenAPI 3.1."),
        BARE,
        open=True,
    ),
    *(
        Operation("GET", path, name, "Document", summary, (Answer("200", "As it stands in the package.", {media: str}),), BARE, open=True)
        for path, name, summary, media in (
            ("/docs", "page", "A page that shows this document", "text/html"),
            ("/docs/page.css", "page_style", "Its style", "text/css"),
            ("/docs/page.js", "page_script", "Its script", "text/javascript"),
        )
    ),
)

OPERATIONS: tuple[Operation, ...] = tuple(map(_guarded, _DESCRIBED))
