"""The benchmark of models: every answer is checked, what does not start has a line of its own, and nobody is left out in silence."""

import sys
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest

from tests.bench import load, load_chat, model_peers, models, provider
from tests.bench.model_table import goals, report
from tests.bench.model_targets import CHAT, MESSAGES, ModelTarget, model_targets
from tests.bench.targets import Missing


@pytest.mark.parametrize("path", [CHAT.path, MESSAGES.path])
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_is_right_only_if_it_is_whole_and_to_what_was_asked(path: str, stream: bool) -> None:
    number = load.first_number()
    shape = load_chat.Shape(f"http://127.0.0.1:1{path}", stream, "bench", {})
    head, _, body = shape.request(number).partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head
    found = provider.answer(path.encode(), body)
    answer = b"".join(found) if isinstance(found, list) else found
    how = {"stream": stream, "anthropic": path == MESSAGES.path}
    load_chat.check(number, 200, answer, **how)
    cut = b"".join(found[:-1]) if isinstance(found, list) else answer[:-1]
    fewer = b"".join(found[:5] + found[-2:]) if isinstance(found, list) else b"{}"
    for status, wrong in ((500, answer), (200, cut), (200, fewer), (200, answer.replace(b"%d" % number, b"0"))):
        with pytest.raises(load.Wrong):
            load_chat.check(number, status, wrong, **how)


def missing(_folder: Path, _port: int, _provider: str) -> Sequence[str]:
    raise Missing("it is not there; `make` installs it")


def test_a_run_measures_what_runs_says_what_does_not_and_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(models, "WARM_UP", 0.05)
    monkeypatch.setattr(models, "DIRECT", (CHAT,))
    runs = ModelTarget("hub", lambda _folder, port, _provider: [sys.executable, "-m", "tests.bench.provider", str(port)])
    ends = ModelTarget("ends", lambda *_: [sys.executable, "-c", "raise SystemExit('no | licence')"])
    monkeypatch.setattr(models, "model_targets", lambda *, peers: [runs, ModelTarget("absent", missing), ends][: 3 if peers else 1])
    assert models.main(tmp_path / "scratch", tmp_path / "results", 1, 0.05, peers=True) == 1
    said = capsys.readouterr()
    lines = {line.split("|")[1].strip(): line for line in said.out.splitlines() if "| whole" in line}
    assert {"direct", "hub", "absent", "ends"} <= set(lines)
    assert "NOT MEASURED: it is not there; `make` installs it" in lines["absent"]
    assert "NOT MEASURED" in lines["ends"]
    assert "no | licence" in said.err
    file = orjson.loads(next((tmp_path / "results").glob("*-models.json")).read_bytes())
    chat = next(one for one in file["results"] if (one["target"], one["how"]) == ("hub", "stream"))
    figures = chat["rounds"]["64"][0]
    assert figures["calls"] >= 64
    assert figures["cpu_us"] >= 0
    assert 0 < figures["first_after_p50_us"] < figures["p99_us"]
    assert chat["idle_mb"] > 5
    good = [one for one in file["results"] if "broken" not in one]
    monkeypatch.setattr(models, "measured", lambda *_: (good, [1.0]))
    assert models.main(tmp_path / "scratch", tmp_path / "results", 1, 0.05, peers=False) == 0


def test_goals_are_held_against_the_median_and_peers_by_rounds_side_by_side() -> None:
    def result(target: str, how: str, us: list[float], **more: object) -> dict[str, object]:
        one = {"calls": 1, "rate": 1.0, "p99_us": 9.0, "first_after_p50_us": 5.0, "first_after_p99_us": 9.0, "cpu_share": 0.1}
        rounds = [{**one, "p50_us": 100 * spent, "cpu_us": spent, "provider_share": 0.1} for spent in us]
        return {"target": target, "what": "chat", "how": how, "rounds": {"1": rounds, "64": rounds}, "idle_mb": 1, "after_mb": 2} | more

    results = [
        *(result("direct", how, [0.0, 0.0, 0.0]) for how in ("whole", "stream")),
        *(result("hub", how, [200.0, 290.0, 900.0]) for how in ("whole", "stream")),
        *(result("peer", how, [2000.0, 2900.0, 3000.0]) for how in ("whole", "stream")),
        {"target": "absent", "what": "chat", "how": "whole", "broken": "gone\nfor good"},
    ]
    whole, stream, added, first = (line.split("|")[1:-1] for line in goals(results).splitlines()[2:])
    assert [cell.strip() for cell in whole[1:]] == ["0.3 ms", "yes", "0.29", "2.90 (hub: 0.1 of it)", "not measured"]
    assert stream[2].strip() == "yes"
    assert added[2].strip() == "NO"
    assert first[2].strip() == "yes"
    text = report(
        results, {"cpu": "Z80", "cores": 2, "python": "3", "python_optimised": True, "yardstick_ms": [1.0], "peers": {"p": "1"}}, 3
    )
    assert "NOT MEASURED: gone " in text
    assert text.endswith("p 1.")


def test_the_hub_and_every_peer_are_among_the_targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [target.name for target in model_targets(peers=True)]
    assert names == ["hub", "nginx", "Portkey", "LiteLLM, no key", "LiteLLM, master key"]
    assert [target.name for target in model_targets(peers=False)] == ["hub"]
    monkeypatch.setattr(model_peers, "CACHE", model_peers.ROOT / ".cache" / "nowhere")
    for target in model_peers.model_peers():
        with pytest.raises(Missing, match="make bench-peers"):
            target.prepare(tmp_path, 1, "http://127.0.0.1:2")
