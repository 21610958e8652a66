"""kill -9 of the hub under mixed load: what was answered is on record, what was under way is closed as unknown, nothing is left over."""

import random
from pathlib import Path
from typing import Any

from tests.chaos.evidence import examine
from tests.chaos.load import Answer, Load
from tests.chaos.world import Victim, marked, no_orphans, settings, victim, web
from tests.support.hub import wait_for
from tests.support.mcp import Client

ROUNDS = 3
LINES = 32


async def round_of_kill(hub: Victim, notes: Path, answers: list[Answer], seed: int) -> dict[str, Any]:
    """Load, kill at a moment drawn from `seed`, start again, compare. `answers` are those of all rounds on this state."""
    status = hub.settled("web", "pipe", "wrapped").status()
    boot = status["boot"]
    wait_for(lambda: len(marked(f"CHAOS={notes}")) >= 4)  # the server, the shell, the server under it, its grandchild
    draw = random.Random(seed)
    load = Load(hub, LINES, seed).start()
    await load.busy(draw.randint(300, 2000))
    hub.kill()
    await load.ended()
    orphans_gone = no_orphans(notes, boot)
    answers += load.answers
    unexpected = [answer for answer in load.answers if answer.status not in (200, 401, 429)]
    assert not unexpected, unexpected[:3]
    hub.stumble(draw.uniform(0.2, 1.2))  # also while it recovers, or before it has begun to
    hub.start()
    assert (await Client(hub, "user").modern("tools/list")).status == 200
    assert hub.status()["boot"] != boot
    return {"orphans gone after": round(orphans_gone, 2), **await examine(hub.database, notes, answers)}


async def test_kill_under_load_loses_no_answered_call_and_leaves_no_process(tmp_path: Path):
    notes = tmp_path / "notes"
    answers: list[Answer] = []
    with web(notes) as (url, _), victim(tmp_path, settings(url, notes)) as hub:
        hub.start()
        made = hub.admin("POST", "/admin/v1/keys", {"name": "stored", "grants": [{"virtual_server": "main"}]})["key"]
        gone = hub.admin("POST", "/admin/v1/keys", {"name": "gone", "grants": [{"virtual_server": "main"}]})["key"]
        hub.admin("DELETE", "/admin/v1/keys/gone")
        for number in range(ROUNDS):
            found = await round_of_kill(hub, notes, answers, number)
            assert (await Client(hub, made).modern("tools/list")).status == 200
            assert (await Client(hub, gone).modern("tools/list")).status == 401
        assert found["outcomes"].get("unknown"), found  # else the kills came when nothing was under way, and nothing was tried
        assert hub.stop() == 0, hub.tail
    assert "Traceback" not in hub.log.read_text()
