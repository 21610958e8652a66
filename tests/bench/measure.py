"""What a process costs, read from /proc: CPU seconds of all its threads, resident memory, and the same of its children; and what it ran on.

Linux only.
"""

import os
import platform
import sysconfig
import time
from pathlib import Path
from typing import Any, NamedTuple

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


class Cost(NamedTuple):
    """`own` and `children` are CPU seconds since the start, user and system; living children only, all generations."""

    own: float
    children: float

    def since(self, before: "Cost") -> "Cost":
        return Cost(self.own - before.own, self.children - before.children)


def descendants(pid: int) -> list[int]:
    """Every living process below `pid`, whichever of its threads started it."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            children = [int(child) for child in (task / "children").read_text().split()]
        except FileNotFoundError:
            continue
        for child in children:
            found += [child, *descendants(child)]
    return found


def seconds(pid: int) -> float:
    """CPU time of a process with all its threads, those that have ended too (proc(5), fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def cost(pid: int) -> Cost:
    return Cost(seconds(pid), sum(seconds(child) for child in descendants(pid)))


def resident(pid: int) -> float:
    """Resident memory of the process alone, in MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1e6


def resident_tree(pid: int) -> float:
    """The same of the process and everything below it; pages that several share count for each."""
    return sum(resident(one) for one in (pid, *descendants(pid)))


def pin(pid: int, core: int) -> None:
    """Keep every thread of a process on one core; threads and children it starts later stay there too."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})


def optimised() -> bool:
    """Whether this Python was built with profile-guided optimisation.

    Debian and Ubuntu do so without the flag of `configure`, and empty PGO_PROF_USE_FLAG afterwards, which `configure` fills whether or not
    it is used.
    """
    return (
        "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "") or sysconfig.get_config_var("PGO_PROF_USE_FLAG") == ""
    )


def machine() -> dict[str, Any]:
    """What every figure depends on."""
    models = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "python_optimised": optimised(),
        "kernel": platform.release(),
    }


def yardstick() -> float:
    """CPU milliseconds that a fixed piece of Python takes on this core now: tells how fast the machine is while it is measured."""
    began = time.process_time()
    total = 0
    for number in range(500_000):
        total += number & 7
    return (time.process_time() - began) * 1e3
