"""The part of the long run that calls models, in small: what was called is in the ledger, the counters and the records, to the nano-dollar."""

import asyncio
from pathlib import Path

from tests.chaos import modelled
from tests.chaos.evidence import complete, gapless, journal, signed
from tests.chaos.world import victim


async def test_ledger_counters_and_records_say_the_same_of_calls_of_every_kind(tmp_path: Path) -> None:
    with modelled.scripted() as url, victim(tmp_path, modelled.settings(url)) as hub:
        hub.start()
        assert await modelled.ask(hub, 125, 12, 60) == 125
        assert await modelled.ask(hub, 1, 1, 60) == 1
        await signed(hub.database)
        found = await asyncio.to_thread(journal, hub.database)
        gapless(found)
        assert complete(found, []) == {"ok": 126}
        spent = modelled.ledger(hub.database)
        assert modelled.counted(found) == spent
        assert spent == modelled.Spent(126, 0, 126 * modelled.COST, 126 * 60, 126 * 64, 0)
        assert hub.stop() == 0
        assert "Traceback" not in hub.log.read_text()
