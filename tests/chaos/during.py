"""What can be seen of several replicas while clients are calling them: looked at after each strike, the journal only as far as it is new."""

import asyncio
import collections
import json
import time
from typing import Any

from hub.audit.reader import snapshot
from hub.audit.tree import leaf_hash
from tests.chaos.evidence import Journal, Record, answered, gapless, noted
from tests.chaos.load import Answer
from tests.chaos.revoked import stay_revoked
from tests.chaos.roamers import Roaming
from tests.chaos.several import ORGS, STDIO_SERVERS, WORKERS, Replica, World, modules, servers
from tests.chaos.whole import counted, crowded, examine, executed, none, paced, paired, too_many_connections

LOGS = ("default", "acme", "-")
BEFORE = 60.0
"""Seconds before the last look from which rates are added up anew; those of all time are when the round is over."""


class Watch:
    """Looks at a world and at what its clients were told, again and again. `rest`: see `quiet`."""

    def __init__(self, world: World, roaming: Roaming) -> None:
        self.world = world
        self.roaming = roaming
        self.journals = {org: Journal("", []) for org in LOGS}
        """As far as they were read."""
        self._rest: dict[int, int] = {}
        self._told: collections.Counter[str] = collections.Counter()
        """Answers that were held against the journal, by key."""
        self._reopened: collections.Counter[int] = collections.Counter()
        self._since = 0.0

    async def look(self) -> dict[str, Any]:
        """After one strike, under load: all that was answered by now is recorded once, nothing is exceeded, nothing is left over. Figures."""
        began, reopened = time.monotonic(), self._new_sessions()
        told = {key: list(answers) for key, answers in self.roaming.answers.items()}  # before the journal is read
        figures = await asyncio.to_thread(self._read, told)
        await none(lambda: next(filter(None, map(misfit, self.world.replicas)), ""), 30.0)
        await self.world.no_orphans()
        await none(lambda: too_many_connections(self.world, self.world.descriptors()))
        revoked = await stay_revoked(self.world)
        return {**figures, "reopened": reopened, "revoked": revoked, "seconds": round(time.monotonic() - began, 1)}

    async def examine(self) -> dict[str, Any]:
        """When the round is over and nobody is calling: everything, offline."""
        return await examine(self.world, self.roaming, self._rest, self.journals)

    def _new_sessions(self) -> int:
        """How many clients had to initialize again since the last look: none of them, in all, more often than Redis lost its data. (One may
        notice a loss only after a look, and the next one before the look after it.)"""
        times = self.roaming.reopened
        assert all(many <= len(self.world.losses) for many in times.values()), f"clients had to initialize again: {times}"
        new = (times - self._reopened).total()
        self._reopened = collections.Counter(times)
        return new

    def _read(self, told: dict[str, list[Answer]]) -> dict[str, Any]:
        lines = self.world.notes.read_text().splitlines()
        for org in LOGS:
            self.journals[org] = read_on(self.world.database, org, self.journals[org])
            answers = [one for key in told if ORGS.get(key) == org for one in told[key][self._told[key] :] if one.status != 202]
            gapless(self.journals[org])
            answered(self.journals[org], answers)
            if org != "-":
                paired(self.journals[org], answers, may_be_open=True)
        both = Journal("", [record for org in ("default", "acme") for record in self.journals[org].records])
        everybody = [one for answers in told.values() for one in answers]
        lately = [one for one in told.get("paced", []) if one.began >= self._since - BEFORE]
        new = len(everybody) - self._told.total()
        self._told.update({key: len(answers) - self._told[key] for key, answers in told.items()})
        self._since = max((one.began for one in everybody), default=0.0)
        return {
            "answers": new,
            "records": len(both.records),
            "sent": noted(both, lines),
            "executed": executed(self.world.notes, everybody),
            "paced": paced(lately, self.world.outages, self.world.losses),
            "days": counted(self.world, self.roaming),
            "crowd": crowded(self.world.notes),
        }


def read_on(database: str, org: str, known: Journal) -> Journal:
    """What is known of a log and what has come since, signed or not: each at the index after the one before, with the hash of its leaf."""
    with snapshot(database) as reader:
        log = reader.find(org)
        if log is None:
            return known
        records = list(known.records)
        for index, found, leaf in reader.leaves(log, len(records), log.size):
            assert (index, found) == (len(records), leaf_hash(leaf)), (org, index, len(records))
            records.append(Record(index, found.hex(), json.loads(leaf)))
        assert len(records) == log.size, (org, len(records), log.size)
        return Journal(log.origin, records)


def misfit(replica: Replica) -> str:
    """What is too much or too little among a replica's processes; empty where there is nothing."""
    own, started = modules(replica), servers(replica)
    wanted = {"hub.cli": 1, "hub.processes.worker": WORKERS, "hub.processes.host": 1}
    if own != wanted:
        return f"processes {own} in place of {wanted}"
    return f"{started} stdio servers" if started > STDIO_SERVERS else ""
