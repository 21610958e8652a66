"""The cheapest honest provider of models: OpenAI's chat completions and Anthropic's messages, whole or in 64 chunks. No framework, so that
what is measured is not this.

What it answers holds the last 16 digits it was sent, so that each answer can be told; the first words of a stream hold `t` and the time at
which they were sent, in nanoseconds of the clock that all programs of a machine share (CLOCK_MONOTONIC).
`python -m tests.bench.provider PORT` (0 takes a free one) prints its port.
"""

import asyncio
import re
import sys
import time
from collections.abc import Callable
from typing import Any, cast

import httptools
import orjson
import uvloop

CHUNKS = 64
STAMP = re.compile(rb"t([0-9]{18})")
_NOT_YET = b"t" + b"0" * 18
_NUMBER = re.compile(rb' ([0-9]{16})"')
_STREAM = re.compile(rb'"stream": ?true')
_USAGE = re.compile(rb'"include_usage": ?true')
_HEAD = {"id": "chatcmpl-bench", "created": 1_700_000_000, "model": "bench-1", "system_fingerprint": "fp_0"}
_MESSAGE = {"id": "msg_bench", "type": "message", "role": "assistant", "model": "bench-1", "stop_sequence": None}
USAGE = {"prompt_tokens": 60, "completion_tokens": CHUNKS, "total_tokens": 60 + CHUNKS}
_SPENT = {"input_tokens": 60, "output_tokens": CHUNKS}


def text(number: str) -> str:
    return number + " " + "word " * (CHUNKS - 1)


def words(number: str) -> list[str]:
    return [f"{number} {_NOT_YET.decode()}", *([" word"] * (CHUNKS - 1))]


def chat(number: str) -> bytes:
    message = {"role": "assistant", "content": text(number), "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return orjson.dumps({**_HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE})


def chat_events(number: str, *, usage: bool) -> list[bytes]:
    """The events of one stream."""
    deltas: list[dict[str, str]] = [{"content": word} for word in words(number)]
    deltas[0] = {"role": "assistant", **deltas[0]}
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    head = {**_HEAD, "object": "chat.completion.chunk"}
    events = [{**head, "choices": [choice]} for choice in choices]
    if usage:
        events.append({**head, "choices": [], "usage": USAGE})
    return [*(b"data: " + orjson.dumps(event) + b"\n\n" for event in events), b"data: [DONE]\n\n"]


def messages(number: str) -> bytes:
    content = [{"type": "text", "text": text(number)}]
    return orjson.dumps({**_MESSAGE, "content": content, "stop_reason": "end_turn", "usage": _SPENT})


def messages_events(number: str) -> list[bytes]:
    """The same, in the order of Anthropic's streams."""
    begun = {**_MESSAGE, "content": [], "stop_reason": None, "usage": {**_SPENT, "output_tokens": 1}}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}} for word in words(number)),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": CHUNKS}},
        {"type": "message_stop"},
    ]
    return [b"event: " + event["type"].encode() + b"\ndata: " + orjson.dumps(event) + b"\n\n" for event in events]


def answer(path: bytes, body: bytes) -> bytes | list[bytes]:
    """What is answered: a whole body, or the events of a stream."""
    found = _NUMBER.findall(body)
    number = found[-1].decode() if found else "0" * 16
    anthropic, stream = path.endswith(b"/messages"), _STREAM.search(body) is not None
    if anthropic:
        return messages_events(number) if stream else messages(number)
    return chat_events(number, usage=_USAGE.search(body) is not None) if stream else chat(number)


def stamped(event: bytes) -> bytes:
    return event.replace(_NOT_YET, b"t%018d" % time.perf_counter_ns())


class Connection(asyncio.Protocol):
    """One keep-alive connection. A stream's chunks go out one by one, each in a turn of the loop of its own."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.parser = httptools.HttpRequestParser(self)
        self.path = self.body = b""
        self.loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.path = url.partition(b"?")[0]

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        body, self.body = self.body, b""
        found = answer(self.path, body)
        if isinstance(found, bytes):
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(found), found))
            return
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        first = next(number for number, event in enumerate(found) if _NOT_YET in event)
        found[: first + 1] = [b"".join(found[: first + 1])]
        self.loop.call_soon(self.send, found, 0, stamped)

    def send(self, events: list[bytes], at: int, mark: Callable[[bytes], bytes] = bytes) -> None:
        event = mark(events[at])
        self.transport.write(b"%x\r\n%b\r\n" % (len(event), event))
        if at + 1 < len(events):
            self.loop.call_soon(self.send, events, at + 1)
        else:
            self.transport.write(b"0\r\n\r\n")


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
