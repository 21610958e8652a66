"""Sections of who calls: organisations, keys and their grants, limits, policies."""

from typing import Annotated, Literal

from msgspec import Meta, field

from hub.config.values import SPENDER, Most, Name, Owner, Part, Secret


class Capture(Part, frozen=True):
    """What is kept of questions to models and their answers. They are encrypted, and go after so many days."""

    days: Annotated[int, Meta(ge=1, le=3660, description="Days (UTC) it is kept, today among them.")] = 30
    max_bytes: Annotated[int, Meta(ge=1024, le=64 * 1024 * 1024, description="Bytes kept of each question and each answer.")] = 1024 * 1024


class Org(Part, frozen=True):
    """An organisation. Where any is declared, `org` elsewhere must name one of them or `default`."""

    title: Annotated[str, Meta(description="Name for people.")] = ""
    capture: Annotated[
        Capture | None, Meta(description="Keep questions and answers (docs/content.md); unset: nothing of them is kept anywhere.")
    ] = None


class GrantSpec(Part, frozen=True):
    """One thing a caller may use. Patterns are globs over `upstream/name`; one without `/` matches the name at any upstream."""

    virtual_server: Annotated[str, Meta(description="Virtual servers it opens: a name or a glob, within the key's organisation.")] = ""
    model: Annotated[
        str,
        Meta(description="Models it opens: a name of `models`, `provider:model`, or a glob over both, within the key's organisation."),
    ] = ""
    agent: Annotated[str, Meta(description="Agents it opens.")] = ""
    tools: Annotated[tuple[str, ...], Meta(description="Tools it opens there.")] = ("*",)
    prompts: Annotated[tuple[str, ...], Meta(description="Prompts it opens there.")] = ("*",)
    resources: Annotated[tuple[str, ...], Meta(description="Resources it opens there.")] = ("*",)
    deployments: Annotated[tuple[str, ...], Meta(description="Which of a model's deployments it opens, over `provider/model`.")] = ("*",)
    endpoints: Annotated[
        tuple[str, ...],
        Meta(
            description="Which kinds of model calls: `chat`, `responses`, `messages`, `completions`, `embeddings`, `moderations`, or globs."
        ),
    ] = ("*",)
    deny: Annotated[tuple[str, ...], Meta(description="Never, of any kind: wins over what any grant of the key allows.")] = ()


class KeySpec(Part, frozen=True):
    """A key declared in the file. It is never written to the database; taking it out of the file revokes it."""

    name: Name
    secret: Annotated[Secret, Meta(description="The key itself, as `hub keys mint` prints one.")]
    org: Owner = "default"
    subject: Annotated[
        str,
        Meta(pattern=r"^(user|app|agent):[A-Za-z0-9_.@-]{1,128}$", description="Who it stands for: `user:…`, `app:…` or `agent:…`."),
    ] = ""
    grants: Annotated[tuple[GrantSpec, ...], Meta(description="What it may use.")] = ()
    roles: Annotated[
        tuple[Literal["owner", "admin", "member", "auditor", "service"], ...],
        Meta(description="What it may do on the admin API; a `member` is a person and needs a `subject` that says whom: `user:…`."),
    ] = ()
    user: Annotated[str, Meta(pattern=SPENDER, description="User whose money it spends; unset: the subject, where that is a user.")] = ""
    app: Annotated[str, Meta(pattern=SPENDER, description="Application whose money it spends; unset: the subject, where it is one.")] = ""
    team: Annotated[str, Meta(pattern=SPENDER, description="Team whose money it spends.")] = ""
    project: Annotated[str, Meta(pattern=SPENDER, description="Project whose money it spends.")] = ""
    expires: Annotated[str, Meta(description="RFC 3339 time after which the key is refused.")] = ""


def role_fault(key: KeySpec) -> str:
    """What is wrong with the roles of a key; empty where nothing is."""
    if "member" in key.roles and not key.subject.startswith("user:"):
        return "a member is a person: give the key a `subject` that says whom, such as `user:ann`"
    return ""


class LimitSpec(Part, frozen=True):
    """One rule. It counts separately for each key, subject, organisation or (organisation, tool) it matches."""

    name: Name
    scope: Annotated[Literal["key", "subject", "org", "tool"], Meta(description="What is counted separately.")]
    match: Annotated[str, Meta(description="Glob over the key's name or id, the subject, the organisation or `upstream/tool`.")] = "*"
    org: Annotated[str, Meta(description="Only for callers of this organisation; `*` is all.")] = "*"
    per_minute: Annotated[int, Meta(ge=1, description="Requests a minute (GCRA).")] | None = None
    burst: Annotated[int, Meta(ge=1, description="Requests that may come at once; default `per_minute`.")] | None = None
    concurrency: Annotated[int, Meta(ge=1, description="Calls in flight.")] | None = None
    per_day: Annotated[int, Meta(ge=1, description="Calls a calendar day, UTC; kept across restarts.")] | None = None
    tokens_per_minute: Annotated[Most, Meta(description="Tokens of models, read and written, in any minute.")] | None = None
    tokens_in_per_minute: Annotated[Most, Meta(description="Tokens of models read in any minute.")] | None = None
    tokens_out_per_minute: Annotated[Most, Meta(description="Tokens of models written in any minute.")] | None = None


class PolicySpec(Part, frozen=True):
    """Cedar policies, inline or in a file beside `hub.yaml`. Exactly one of `cedar` and `file`."""

    org: Annotated[str, Meta(description="Whose calls it judges; `*` is all.")] = "default"
    cedar: Annotated[str, Meta(description="Policies as text.")] = ""
    file: Annotated[str, Meta(description="File that holds them, relative to `hub.yaml`.")] = ""


class Policies(Part, frozen=True):
    """What is decided on each call, after the caller is known."""

    default: Annotated[
        Literal["grants", "deny"],
        Meta(
            description="`grants`: what a key's grants allow is allowed unless a policy forbids. `deny`: a Cedar permit is needed as well."
        ),
    ] = "grants"
    sets: Annotated[dict[Name, PolicySpec], Meta(description="Policies by name of their set.")] = field(
        default_factory=dict[str, PolicySpec]
    )
