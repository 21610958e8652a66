"""The figures of `tests.bench.models` as Markdown: what was measured, how the peers compare, and the goals beside. Pure."""

from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

from tests.bench.table import caption, markdown, spread

Result = dict[str, Any]
"""`target`, `what`, `how`; `rounds` by connections, a list of figures each; `idle_mb` and `after_mb`; or `broken`, why there is nothing."""

HEAD = (
    "target",
    "answer",
    "CPU/call at 64, µs",
    "calls/s at 64",
    "added p50 / p99 at 64, ms",
    "CPU/call at 1, µs",
    "added p50 / p99 at 1, µs",
    "first byte p50 / p99 at 1, µs",
    "RSS idle / after, MB",
    "generator + provider at 64",
)
OWN = ("messages", "messages to chat")
"""What is asked of the hub alone; all else is asked of everybody."""


def each(result: Result, connections: int, figure: str) -> list[float]:
    return [one[figure] for one in result["rounds"][str(connections)]]


def added(result: Result, direct: Result, connections: int, figure: str) -> list[float]:
    """Round by round what came on top of asking the provider directly, in microseconds."""
    pairs = zip(each(result, connections, figure), each(direct, connections, figure), strict=True)
    return [through - straight for through, straight in pairs]


def row(result: Result, direct: Result | None) -> list[str]:
    name = result["target"] + (f", {result['what']}" if result["what"] in OWN else "")
    if "broken" in result or not result["rounds"]["1"]:
        why = result.get("broken", "no round was whole").strip().replace("|", "/").splitlines()
        return [name, result["how"], f"NOT MEASURED: {why[0][:100]}", *("" for _ in HEAD[3:])]
    through = direct is not None and direct is not result
    shares = [f"{median(each(result, 64, share)):.0%}" for share in ("cpu_share", "provider_share") if share in result["rounds"]["64"][0]]
    return [
        name,
        result["how"],
        spread(each(result, 64, "cpu_us")) if through else "-",
        spread(each(result, 64, "rate")),
        " / ".join(f"{median(added(result, direct, 64, of)) / 1e3:+.1f}" for of in ("p50_us", "p99_us")) if through else "-",
        spread(each(result, 1, "cpu_us")) if through else "-",
        " / ".join(spread(added(result, direct, 1, of), "+.0f") for of in ("p50_us", "p99_us")) if through else "-",
        " / ".join(f"{median(each(result, 1, f'first_after_{of}_us')):.0f}" for of in ("p50", "p99")) if result["how"] == "stream" else "-",
        f"{result['idle_mb']:.0f} / {result['after_mb']:.0f}" if through else "-",
        " + ".join(shares),
    ]


def direct_of(results: list[Result], result: Result) -> Result | None:
    """The provider, asked in the same words."""
    what = "messages" if result["what"] in OWN else result["what"]
    same = (one for one in results if (one["target"], one["what"], one["how"]) == ("direct", what, result["how"]) and "broken" not in one)
    return next(same, None)


def tables(results: list[Result]) -> str:
    parts = [[one for one in results if (one["what"] in OWN) is own] for own in (False, True)]
    return "\n\n".join(markdown([list(HEAD), *(row(one, direct_of(results, one)) for one in part)]) for part in parts if part)


class Goal(NamedTuple):
    what: str
    how: str
    most: float
    unit: str
    figures: Callable[[Result, Result], list[float]]


GOALS = (
    Goal("CPU per whole answer at 64", "whole", 0.30, "ms", lambda one, _: [us / 1e3 for us in each(one, 64, "cpu_us")]),
    Goal("CPU per stream at 64", "stream", 0.80, "ms", lambda one, _: [us / 1e3 for us in each(one, 64, "cpu_us")]),
    Goal("added p50 at 1, whole answers", "whole", 1.8, "ms", lambda one, direct: [us / 1e3 for us in added(one, direct, 1, "p50_us")]),
    Goal(
        "first byte of a stream after the provider's, p50 at 1",
        "stream",
        2.0,
        "ms",
        lambda one, _: [us / 1e3 for us in each(one, 1, "first_after_p50_us")],
    ),
)


def goals(results: list[Result]) -> str:
    """What the hub is meant to need at most, what it needed, and each peer's figure with the hub's share of it, of rounds side by side."""
    chats = [one for one in results if one["what"] == "chat" and one["target"] != "direct"]
    names = list(dict.fromkeys(one["target"] for one in chats))
    lines = [["goal", "at most", "held", *names]]
    for goal in GOALS:
        found: dict[str, list[float]] = {}
        for one in chats:
            direct = direct_of(results, one)
            if one["how"] == goal.how and "broken" not in one and one["rounds"]["1"] and direct is not None:
                found[one["target"]] = goal.figures(one, direct)
        ours = found.get("hub", [])
        cells = [cell(found[name], ours if name != "hub" else []) if name in found else "not measured" for name in names]
        held = "not measured" if not ours else "yes" if median(ours) <= goal.most else "NO"
        lines.append([goal.what, f"{goal.most} {goal.unit}", held, *cells])
    return markdown(lines)


def cell(figures: list[float], ours: list[float]) -> str:
    shares = [our / their for our, their in zip(ours, figures, strict=False) if their > 0]
    return f"{median(figures):.2f}" + (f" (hub: {median(shares):.3g} of it)" if shares else "")


def report(results: list[Result], machine: dict[str, Any], rounds: int) -> str:
    text = caption(machine, rounds).replace("every target on Python", "the hub and Python's gateways on Python")
    note = "CPU and RSS: of the process and its children. First byte: after the provider sent it. Added: to the provider asked directly."
    peers = ", ".join(f"{name} {version}" for name, version in machine.get("peers", {}).items())
    return f"{tables(results)}\n\n{goals(results)}\n\n{text}\n{note}" + (f"\n{peers}." if peers else "")
