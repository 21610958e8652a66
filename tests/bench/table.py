"""The benchmark's figures as one Markdown table. Pure: knows only the shape that `run` collects."""

from statistics import median
from typing import Any

HEAD = (
    "target",
    "CPU/call at 64, µs",
    "calls/s at 64",
    "p50 / p99 at 64, ms",
    "CPU/call at 1, µs",
    "p50 / p99 at 1, µs",
    "added p50 / p99 at 1, µs",
    "RSS idle / after, MB",
    "start to list / call, s",
    "children CPU at 64, µs",
)


def spread(values: list[float], form: str = ".0f") -> str:
    return f"{median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def of(result: dict[str, Any], connections: int, figure: str, scale: float = 1.0) -> list[float]:
    return [round_[figure] * scale for round_ in result["rounds"][str(connections)]]


def row(result: dict[str, Any], direct: dict[str, Any] | None) -> list[str]:
    added = "-"
    if direct and direct is not result:
        added = " / ".join(f"{median(of(result, 1, name)) - median(of(direct, 1, name)):+.0f}" for name in ("p50_us", "p99_us"))
    start = result["start"]
    children = of(result, 64, "children_cpu_us")
    return [
        result["target"],
        spread(of(result, 64, "cpu_us")),
        spread(of(result, 64, "rate")),
        " / ".join(f"{median(of(result, 64, name, 1e-3)):.1f}" for name in ("p50_us", "p99_us")),
        spread(of(result, 1, "cpu_us")),
        " / ".join(f"{median(of(result, 1, name)):.0f}" for name in ("p50_us", "p99_us")),
        added,
        f"{median(start['resident_mb']):.0f} / {result['resident_after_mb']:.0f}",
        f"{median(start['first_list_s']):.2f} / {median(start['first_call_s']):.2f}",
        f"{median(children):.0f}" if max(children) else "-",
    ]


def caption(machine: dict[str, Any], rounds: int) -> str:
    """What the figures hold for, to stand below the table."""
    built = "with" if machine["python_optimised"] else "without"
    yardsticks = machine["yardstick_ms"]
    return (
        f"Median of {rounds} rounds (least to most); {machine['cores']} cores ({machine['cpu']}); every target on Python {machine['python']}, "
        f"built {built} profile-guided optimisation.\nYardstick, a fixed loop of Python on the target's core: {min(yardsticks):.0f} to "
        f"{max(yardsticks):.0f} ms; compare runs where it is alike."
    )


def table(results: list[dict[str, Any]]) -> str:
    direct = next((result for result in results if result["target"] == "direct"), None)
    return markdown([list(HEAD), *(row(result, direct) for result in results)])


def markdown(rows: list[list[str]]) -> str:
    """Rows of one length, the first of them the head."""
    widths = [max(len(line[column]) for line in rows) for column in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
