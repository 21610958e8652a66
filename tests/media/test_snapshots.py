"""Policy snapshots, on every medium: kept by hash across restarts, and checked."""

from pathlib import Path

import pytest

from hub.config.callers import Policies, PolicySpec
from hub.policy.decide import Places, Policy
from hub.policy.snapshots import kept
from hub.policy.source import PolicyInvalid
from tests.support.media import Store


def compiled(folder: Path, text: str) -> Policy:
    return Policy.compile(Policies(sets={"house": PolicySpec(cedar=text)}), folder, [], Places({"demo": "default"}))


async def test_a_snapshot_is_kept_under_its_hash_across_restarts(store: Store, tmp_path: Path):
    policy = compiled(tmp_path, '@id("a") forbid (principal, action, resource);')
    await store.snapshots.save(policy)
    await store.snapshots.save(policy)
    await store.close()
    await store.open()
    again = kept(policy.hash, await store.snapshots.body(policy.hash))
    assert again is not None
    assert again.snapshot() == policy.snapshot()
    assert await store.count("policy_sets") == 1


async def test_what_was_never_kept_is_nothing(store: Store):
    assert await store.snapshots.body("sha256:00") is None
    assert kept("sha256:00", None) is None


async def test_a_snapshot_that_somebody_changed_is_refused(store: Store, tmp_path: Path):
    policy, other = (compiled(tmp_path, f'@id("{name}") forbid (principal, action, resource);') for name in "ab")
    await store.snapshots.save(policy)
    await store.snapshots.save(other)
    await store.change(f"UPDATE policy_sets SET body = (SELECT body FROM policy_sets WHERE hash = '{other.hash}')")
    with pytest.raises(PolicyInvalid, match="has another hash"):
        kept(policy.hash, await store.snapshots.body(policy.hash))
