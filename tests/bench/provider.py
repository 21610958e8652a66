"""The cheapest honest provider of models: chat completions, whole or in 64 chunks. No framework, so that what is measured is not this.

What it answers holds the last 16 digits it was sent, so that each answer can be told. `python -m tests.bench.provider PORT` (0 takes a
free one) prints its port.
"""

import asyncio
import re
import sys
from typing import cast

import httptools
import orjson
import uvloop

CHUNKS = 64
_NUMBER = re.compile(rb"[0-9]{16}")
_HEAD = {"id": "chatcmpl-bench", "created": 1_700_000_000, "model": "bench-1", "system_fingerprint": "fp_0"}
USAGE = {"prompt_tokens": 60, "completion_tokens": CHUNKS, "total_tokens": 60 + CHUNKS}


def whole(number: bytes) -> bytes:
    message = {"role": "assistant", "content": number.decode() + " " + "word " * (CHUNKS - 1), "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return orjson.dumps({**_HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE})


def chunks(number: bytes, usage: bool) -> list[bytes]:
    """The events of one stream."""
    words = [number.decode(), *([" word"] * (CHUNKS - 1))]
    deltas: list[dict[str, str]] = [{"content": word} for word in words]
    deltas[0] = {"role": "assistant", **deltas[0]}
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    head = {**_HEAD, "object": "chat.completion.chunk"}
    events = [{**head, "choices": [choice]} for choice in choices]
    if usage:
        events.append({**head, "choices": [], "usage": USAGE})
    return [*(b"data: " + orjson.dumps(event) + b"\n\n" for event in events), b"data: [DONE]\n\n"]


class Connection(asyncio.Protocol):
    """One keep-alive connection. A stream's chunks go out one by one, each in a turn of the loop of its own."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.parser = httptools.HttpRequestParser(self)
        self.body = b""
        self.loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        body, self.body = self.body, b""
        found = _NUMBER.findall(body)
        number = found[-1] if found else b"0" * 16
        if b'"stream":true' not in body:
            text = whole(number)
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(text), text))
            return
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        self.loop.call_soon(self.send, chunks(number, b'"include_usage":true' in body), 0)

    def send(self, events: list[bytes], at: int) -> None:
        event = events[at]
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
