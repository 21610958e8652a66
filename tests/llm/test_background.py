"""What is looked after until it is there is settled once, whatever its provider says of it."""

import asyncio
from typing import Any, cast

import pytest

from hub.call import Caller, Target, Tokens
from hub.llm.background import Background
from hub.llm.due import Due

TARGET, ANN = Target("one", "model", "m"), Caller("acme", "user:ann", "k")


class Settled:
    """A `Due` that says how it was settled."""

    def __init__(self) -> None:
        self.said: list[tuple[Tokens | None, str, int | None]] = []

    def settle(self, tokens: Tokens | None, status: str, said: int | None = None) -> dict[str, Any]:
        self.said.append((tokens, status, said))
        return {"status": status}

    def close(self) -> None:
        self.said.append((None, "closed", None))


@pytest.mark.parametrize("odd", [b'"\xff"', b"1e999", b'"\xed\xa0\x80"'])
async def test_an_answer_that_cannot_be_read_whole_is_settled_all_the_same(odd: bytes) -> None:
    room, due = Background(dict), Settled()
    room.tend(ANN, "r", TARGET, cast("Due", due))
    body = b'{"id":"r","status":"completed","x":' + odd + b',"usage":{"input_tokens":3,"output_tokens":4,"total_tokens":7}}'
    assert room.seen(ANN, "r", body) == {"status": "ok"}
    assert room.seen(ANN, "r", body) is None
    await room.close()
    [(tokens, status, said)] = due.said
    assert tokens is not None
    assert (tokens.input, tokens.output, status, said) == (3, 4, "ok", None)


async def test_of_two_answers_with_one_id_each_is_settled() -> None:
    room, one, other = Background(dict), Settled(), Settled()
    room.tend(ANN, "r", TARGET, cast("Due", one))
    room.tend(ANN, "r", TARGET, cast("Due", other))
    assert [status for _, status, _ in one.said] == ["unknown"]
    await asyncio.sleep(0)
    assert room.gone(ANN, "r") == {"status": "unknown"}
    await room.close()
    assert (len(one.said), len(other.said)) == (1, 1)
