"""What a verification found, for people and for programs. Standard library only; knows not how it was found."""

from dataclasses import dataclass, field
from typing import Any

VERIFIED, TAMPERED, UNREADABLE, RESERVED = 0, 1, 2, 3
"""Exit codes; hub/audit/verify.py says what each promises."""


@dataclass(frozen=True)
class Bad:
    """Where the first fault lies: the record `begin` (with its call id, where it can be read), or somewhere in `[begin, end)`."""

    begin: int
    end: int
    id: str
    why: str

    def __str__(self) -> str:
        where = f"record {self.begin}" if self.end == self.begin + 1 else f"records {self.begin} to {self.end - 1}"
        return f"{where}{f' (call {self.id})' if self.id else ''}: {self.why}"


@dataclass
class Step:
    """`ok` is None for a step that was not taken."""

    number: int
    title: str
    ok: bool | None = True
    detail: str = ""


@dataclass
class Report:
    """What was found. `claims` are the reservations: what could not be checked, in sentences.

    `intact` is the size of the largest checkpoint up to which the records are as they were signed. The first changed record lies at or
    after it; where somebody recomputed hashes, it may lie before the record that is named as the first to contradict the others.
    """

    steps: list[Step]
    first_bad: Bad | None = None
    claims: list[str] = field(default_factory=list[str])
    intact: int = 0
    record: str = ""
    """Of a proof file: the record that was proved."""

    @property
    def ok(self) -> bool:
        return all(step.ok is not False for step in self.steps)

    @property
    def exit_code(self) -> int:
        return TAMPERED if not self.ok else RESERVED if self.claims else VERIFIED


def text(report: Report) -> str:
    """The report for people."""
    signs = {True: "ok  ", False: "FAIL", None: "-   "}
    lines = [f"{step.number:2}. {signs[step.ok]} {step.title}{f': {step.detail}' if step.detail else ''}" for step in report.steps]
    if report.first_bad:
        lines.append(f"First bad: {report.first_bad}")
        lines += [f"Records that are as they were signed: {report.intact}"] if report.intact else []
    lines += [f"Not told: {claim}" for claim in report.claims]
    lines.append({VERIFIED: "VERIFIED", TAMPERED: "NOT VERIFIED", RESERVED: "VERIFIED, WITH A RESERVATION"}[report.exit_code])
    return "\n".join("".join(c if c.isprintable() else "?" for c in line) for line in lines)  # a file may try to drive the terminal


def data(report: Report) -> dict[str, Any]:
    """The report for programs."""
    bad = report.first_bad
    return {
        "ok": report.ok,
        "exit": report.exit_code,
        "steps": [{"number": step.number, "title": step.title, "ok": step.ok, "detail": step.detail} for step in report.steps],
        "first_bad": {"from": bad.begin, "to": bad.end, "id": bad.id, "why": bad.why} if bad else None,
        "intact": report.intact,
        "reservations": report.claims,
    }
