"""Read by an interpreter at its start, where this folder is in PYTHONPATH: kills it (SIGKILL) once a change of an operator is made and its
record is about to be appended, if DIES_UNSAID is set. What was announced before the change is left alone."""

import os
import signal

if os.environ.get("DIES_UNSAID"):
    from hub.audit.journal import Journal

    whole = Journal.append

    def append(self: Journal, org: str, record: dict) -> object:
        kind = record["kind"]
        if kind.startswith("admin.") and kind != "admin.refused" and not kind.endswith(".intent"):
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(self, org, record)

    Journal.append = append  # type: ignore[method-assign, assignment]
