"""The steps of verifying an export, one method or comment for each number in hub/audit/verify.py. Knows no file and prints nothing."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hub.audit.bundle import Header, LineInvalid, Record, Signed, parse_line
from hub.audit.checkpoint import Checkpoint, NoteInvalid, VerifierKey, open_checkpoint
from hub.audit.entry import MAX_LEAF, base, canonical, phase
from hub.audit.report import Bad, Report, Step
from hub.audit.tree import EMPTY, Range, leaf_hash

TITLES = {
    1: "every line has its form",
    2: "the log is that of the pinned key",
    3: "records are canonical",
    4: "indices are contiguous",
    5: "leaf hashes fit their records",
    6: "records belong to this log",
    7: "counters have no gaps",
    8: "intents and outcomes pair up",
    9: "checkpoints are signed by the pinned key",
    10: "records lead to the roots of all checkpoints",
    11: "the outside checkpoint fits",
    12: "the outside receipt fits",
}

NOTHING_OUTSIDE = (
    "No checkpoint or receipt from outside was compared: a log cut back to an earlier signed checkpoint would look like this one."
)


@dataclass(frozen=True)
class Held:
    """A receipt that somebody kept: which record, and the leaf hash it had."""

    origin: str
    index: int
    leaf: bytes


class Examination:
    """One pass over the lines, then the roots. Holds 32 bytes for each record, and the open intents."""

    def __init__(self, header: Header, key: VerifierKey) -> None:
        self.header = header
        self.key = key
        self.steps = {number: Step(number, title) for number, title in TITLES.items()}
        self.bad: list[Bad] = []
        self.interval: Bad | None = None
        self.claims: list[str] = []
        self.intact = 0
        self.expected = header.begin
        self.hashes = bytearray()
        self.counters: dict[str, int] = {}
        self.intents: dict[str, tuple[int, str]] = {}
        self.notes: list[Signed] = []
        # 2
        if header.origin != key.name or header.vkey != key.text():
            self.fail(2, f"the export says it is of {header.origin}, the pinned key is for {key.name}")
        elif header.org != key.name.rpartition("/")[2]:
            self.fail(2, f"the export says it is of {header.org}, which is not the log's organisation")

    def fail(self, number: int, detail: str, bad: Bad | None = None) -> None:
        """Note a fault; the first of each step is what is shown."""
        step = self.steps[number]
        if step.ok is not False:
            step.ok, step.detail = False, str(bad) if bad else detail
            if bad:
                self.bad.append(bad)

    def fail_at(self, number: int, index: int, identifier: str, why: str) -> None:
        self.fail(number, why, Bad(index, index + 1, identifier, why))

    def line(self, line: bytes) -> None:
        # 1
        try:
            parsed = parse_line(line)
        except LineInvalid as error:
            if self.notes:
                self.fail(1, f"a line among the checkpoints is damaged: {error}")
            else:
                self.fail_at(1, self.expected, "", f"its line is damaged: {error}")
                self.hashes += bytes(32)
                self.expected += 1
            return
        if isinstance(parsed, Signed):
            self.notes.append(parsed)
        elif self.notes:
            self.fail_at(1, parsed.index, "", "it stands below the checkpoints")
        else:
            self.record(parsed)

    def record(self, line: Record) -> None:
        hash_ = leaf_hash(line.leaf)
        content = _content(line.leaf)
        identifier = str(content.get("id", "")) if content else ""
        # 3
        if content is None:
            self.fail_at(3, self.expected, "", "it is not the canonical form of a record")
        # 4
        if line.index != self.expected:
            self.fail_at(4, self.expected, identifier, f"the line in its place says {line.index}")
        # 5
        if line.hash != hash_:
            self.fail_at(5, self.expected, identifier, "its leaf hash is another")
        if content is not None:
            self.content(self.expected, identifier, content)
        self.hashes += hash_
        self.expected += 1

    def content(self, index: int, identifier: str, content: dict[str, Any]) -> None:
        # 6
        if content["org"] != self.header.org:
            self.fail_at(6, index, identifier, f"it belongs to {content['org']}")
            return
        # 7
        boot, n = content["boot"], content["n"]
        before = self.counters.get(boot, None if self.header.begin else 0)
        if before is not None and n != before + 1:
            self.fail_at(7, index, identifier, f"its boot's counter goes from {before} to {n}")
        self.counters[boot] = n
        # 8
        kind = phase(content["kind"])
        if kind == 1:
            if identifier in self.intents:
                self.fail_at(8, index, identifier, "a second intent of one call")
            self.intents[identifier] = (index, base(content["kind"]))
        elif kind == 2:
            self.outcome(index, identifier, content)

    def outcome(self, index: int, identifier: str, content: dict[str, Any]) -> None:
        intent = self.intents.pop(identifier, None)
        said = content.get("intent")
        if intent is None:
            earlier = said < self.header.begin if isinstance(said, int) else self.header.begin > 0
            if not earlier:
                self.fail_at(8, index, identifier, "an outcome without an open intent")
        elif intent[1] != base(content["kind"]) or said not in (None, intent[0]):
            self.fail_at(8, index, identifier, f"an outcome that does not fit its intent, record {intent[0]}")

    def finish(self, outside: Checkpoint | None, held: Held | None) -> None:
        header = self.header
        if self.expected != header.end:
            self.fail(
                4,
                "",
                Bad(self.expected, header.end, "", f"missing: the export ends at {self.expected}")
                if self.expected < header.end
                else Bad(header.end, self.expected, "", f"the header speaks of {header.end} records"),
            )
        # 9
        signed = [checkpoint for note in self.notes if (checkpoint := self.signed(note)) is not None]
        # 10
        roots = self.roots({checkpoint.size for checkpoint in signed} | ({outside.size} if outside else set()))
        self.compare(signed, roots)
        # 11
        if outside is None:
            self.steps[11].ok, self.steps[11].detail = None, "none was given"
        else:
            self.compare_outside(outside, roots)
        # 12
        if held is None:
            self.steps[12].ok, self.steps[12].detail = None, "none was given"
        else:
            self.compare_receipt(held)
        self.reserve(outside, held)

    def signed(self, line: Signed) -> Checkpoint | None:
        try:
            checkpoint = open_checkpoint(line.note, self.key)
        except NoteInvalid as error:
            self.fail(9, f"the checkpoint of {line.size} records: {error}")
            return None
        if checkpoint.size != line.size:
            self.fail(9, f"the checkpoint of {checkpoint.size} records stands in a line for {line.size}")
        return checkpoint

    def roots(self, sizes: set[int]) -> dict[int, bytes]:
        """Roots at those of `sizes` that this export leads to."""
        header = self.header
        if not header.begin and not header.before:
            tree = Range()
        else:
            try:
                tree = Range(header.begin, header.before)
            except ValueError:
                self.fail(10, "the hashes before the range do not fit it")
                return {}
        found = {0: EMPTY, header.begin: tree.root()} if header.begin in sizes else {0: EMPTY}
        for at in range(0, len(self.hashes), 32):
            tree.append(bytes(self.hashes[at : at + 32]))
            if tree.size in sizes:
                found[tree.size] = tree.root()
        if header.size > header.end:
            try:
                for level, hash_ in header.after:
                    tree.extend(level, hash_)
            except ValueError:
                self.fail(10, "the hashes after the range do not fit it")
            found.setdefault(tree.size, tree.root())
        elif header.after:
            self.fail(10, "there are hashes after the end")
        return found

    def compare(self, signed: Sequence[Checkpoint], roots: dict[int, bytes]) -> None:
        good, last = self.header.begin, 0
        for checkpoint in sorted(signed, key=lambda checkpoint: checkpoint.size):
            last = checkpoint.size
            if last in roots and roots[last] == checkpoint.root:
                self.intact = good = max(good, min(last, self.header.end))
                continue
            end = max(last, good + 1)
            missing = last not in roots
            why = (
                f"missing, but signed for by the checkpoint of {last}" if missing else f"they do not lead to the root of checkpoint {last}"
            )
            self.interval = Bad(max(good, self.expected) if missing else good, end, "", why)
            self.fail(10, str(self.interval))
            return
        if last < self.header.size:
            self.interval = Bad(good, max(self.expected, good + 1), "", "no signed checkpoint stands above them")
            self.fail(10, str(self.interval))
        elif self.steps[10].ok:
            self.steps[10].detail = f"{len(signed)} checkpoints, the last of {last} records"

    def compare_outside(self, outside: Checkpoint, roots: dict[int, bytes]) -> None:
        if outside.size in roots:
            if roots[outside.size] == outside.root:
                self.steps[11].detail = f"{outside.size} records, the same root"
            else:
                self.fail(11, f"at {outside.size} records the root is another")
                self.interval = self.interval or Bad(0, outside.size, "", "they do not lead to the root of the outside checkpoint")
        elif outside.size > self.header.size:
            missing = Bad(self.header.size, outside.size, "", f"missing: a checkpoint of {outside.size} records was signed")
            self.interval = self.interval or missing
            self.fail(11, str(missing))
        else:
            self.steps[11].ok = None
            self.steps[11].detail = f"a part of the log cannot be compared at {outside.size} records"
            self.claims.append("The outside checkpoint stands where this part of the log does not reach: export the whole log.")

    def compare_receipt(self, held: Held) -> None:
        at = (held.index - self.header.begin) * 32
        if 0 <= at < len(self.hashes):
            if bytes(self.hashes[at : at + 32]) == held.leaf:
                self.steps[12].detail = f"record {held.index} is the one the receipt names"
            else:
                self.fail_at(12, held.index, "", "it is not the one the receipt names")
        elif held.index >= self.header.size:
            missing = Bad(
                self.header.size, held.index + 1, "", "missing: a receipt names the last of them (or the export is older than it)"
            )
            self.interval = self.interval or missing
            self.fail(12, str(missing))
        else:
            self.steps[12].ok = None
            self.steps[12].detail = f"record {held.index} is not in this part of the log"
            self.claims.append("The receipt names a record that this part of the log does not hold: export the whole log.")

    def reserve(self, outside: Checkpoint | None, held: Held | None) -> None:
        if outside is None and held is None:
            self.claims.append(NOTHING_OUTSIDE)
        if self.header.begin or self.header.end < self.header.size:
            self.claims.append(f"Only records {self.header.begin} to {self.header.end - 1} of {self.header.size} were looked at.")

    def report(self) -> Report:
        named = min(self.bad, key=lambda bad: (bad.begin, bad.end - bad.begin), default=None)
        first = named
        if self.interval is not None and (named is None or self.interval.end <= named.begin):
            first = self.interval
        for number, detail in ((3, f"{self.expected - self.header.begin} records"), (8, f"{len(self.intents)} intents still open")):
            self.steps[number].detail = self.steps[number].detail or detail
        return Report(list(self.steps.values()), first, self.claims, self.intact)


_FIELDS: dict[str, type] = {"v": int, "id": str, "ts": str, "kind": str, "org": str, "boot": str, "n": int}


def _content(leaf: bytes) -> dict[str, Any] | None:
    """The record in a leaf, or None where it is not in canonical form or lacks a field that every record has."""
    try:
        content: Any = json.loads(leaf) if len(leaf) <= MAX_LEAF else None
        if not isinstance(content, dict) or canonical(content) != leaf:  # pyright: ignore[reportUnknownArgumentType] - canonical checks
            return None
    except (ValueError, RecursionError):
        return None
    return content if all(type(content.get(name)) is kind for name, kind in _FIELDS.items()) else None  # pyright: ignore
