"""Ceilings: what a key may use is what its own grants and those of everything it belongs to allow together."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.call import Caller, Ceiling, Credential, Grant, Target
from hub.config.belonging import Units
from hub.config.callers import GrantSpec, KeySpec
from hub.config.units import ProjectSpec, UnitSpec
from hub.config.values import Secret
from hub.grants import granted
from hub.identity.authenticate import Identity
from hub.identity.keys import mint
from hub.policy.explain import explain
from hub.refusal import InvalidRequest
from tests.support.media import Store

DOORS = st.sampled_from(["", "*", "a", "a*"])
NAMES = st.lists(st.sampled_from(["*", "x", "u/x", "u/*", "y"]), max_size=2).map(tuple)
GRANTS = st.lists(
    st.builds(Grant, virtual_server=DOORS, model=DOORS, tools=NAMES, deployments=NAMES, endpoints=NAMES, deny=NAMES), max_size=2
).map(tuple)
TARGETS = [None, *(Target(*each) for each in product(("u", "v"), ("tool", "model"), ("x", "y")))]


def who(grants: tuple[Grant, ...], *ceilings: Ceiling) -> Caller:
    return Caller("o", "s", "k", grants, ceilings=ceilings)


@settings(max_examples=200, deadline=None)
@given(GRANTS, st.lists(st.one_of(st.none(), GRANTS), max_size=3))
def test_a_call_is_allowed_where_the_key_and_every_ceiling_allow_it(own: tuple[Grant, ...], others: list[tuple[Grant, ...] | None]) -> None:
    everyone = who(own, *(Ceiling(f"team:t{index}", grants) for index, grants in enumerate(others)))
    each = [who(grants) if grants is not None else None for grants in (own, *others)]
    for target, door, endpoint in product(TARGETS, ("a", "ab", "b"), ("x", "y")):
        kind = "model" if target is None or target.kind == "model" else "virtual_server"
        asked = (kind, door, target, endpoint if kind == "model" else "")
        found = granted(everyone, *asked)
        alone = [caller is not None and granted(caller, *asked).allowed for caller in each]
        assert found.allowed == all(alone), asked
        if alone[0] and not found.allowed:
            assert found.reason.startswith(f"grant:team:t{alone.index(False) - 1}:"), asked


UNITS = Units(
    user={"ann": UnitSpec(org="acme", grants=(GrantSpec(model="*", deny=("evil",)),))},
    team={"core": UnitSpec(org="acme", grants=(GrantSpec(model="fast"),)), "free": UnitSpec(org="acme")},
    project={"apollo": ProjectSpec(org="acme", team="core"), "gemini": ProjectSpec(org="acme", grants=(GrantSpec(model="*"),))},
)


def reason(identity: Identity, text: str, door: str = "fast", name: str = "m") -> str:
    return granted(identity.authenticate(Credential(text)), "model", door, Target("p", "model", name), "chat").reason


async def test_stored_and_declared_keys_have_the_ceilings_of_what_they_belong_to_and_a_reload_changes_them(store: Store) -> None:
    identity, text = Identity(store.keys, b"p" * 32), mint().text
    spec = KeySpec(name="declared", org="acme", secret=Secret(text), subject="user:ann", project="apollo", grants=(GrantSpec(model="*"),))
    identity.declare((spec,), UNITS)
    await identity.open()
    try:
        made = await identity.create("acme", "stored", subject="user:ann", project="apollo", grants=(Grant(model="*"),))
        for key in (text, made.text):
            caller = identity.authenticate(Credential(key))
            assert (caller.team, [one.unit for one in caller.ceilings]) == ("core", ["user:ann", "team:core"])
            assert reason(identity, key) == "grant:0"
            assert reason(identity, key, "slow") == "grant:team:core:no-door"
            assert reason(identity, key, name="evil") == "grant:user:ann:0:deny"
        before = identity.authenticate(Credential(made.text)).grants_version
        for faulty in ({"team": "cor"}, {"subject": "user:ben"}, {"project": "apollo", "team": "free"}):
            with pytest.raises(InvalidRequest, match="cannot be made"):
                await identity.create("acme", "faulty", **faulty)
        identity.declare((spec,), Units(user={"ben": UnitSpec(org="acme")}))
        for key in (text, made.text):
            assert reason(identity, key) == "grant:user:ann:undeclared"
        identity.declare((spec,))
        for key in (text, made.text):
            assert reason(identity, key, "slow") == "grant:0"
            assert identity.authenticate(Credential(key)).ceilings == ()
        assert identity.authenticate(Credential(made.text)).grants_version != before
        await identity.create("default", "elsewhere", team="cor")
    finally:
        await identity.close()


@pytest.mark.parametrize(
    ("reasons", "said"),
    [
        (["no-grant", "grant:team:core:no-door"], "but not those of team core"),
        (["grant-deny", "grant:user:a.b@c:0:deny"], "but user a.b@c denies it"),
        (["no-grant", "grant:project:x:undeclared"], "No such unit as project x is declared"),
        (["no-grant", "grant:no-door"], "No grant of the caller covers it"),
    ],
)
def test_an_explanation_says_which_ceiling_refused(reasons: list[str], said: str) -> None:
    record = {"kind": "llm.chat", "actor": {"sub": "user:ann"}, "target": {"upstream": "p", "name": "m", "door": "fast", "kind": "model"}}
    made = explain({**record, "decision": {"effect": "deny", "reasons": reasons}}, None, org="acme")
    assert said in made.text()
