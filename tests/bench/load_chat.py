"""The load generator of `tests.bench.load` for models: every answer must hold the number of its request, a stream all its chunks and its end.

`python -m tests.bench.load_chat URL CONNECTIONS SECONDS whole|stream MODEL [HEADER=VALUE ...]` prints one JSON object; a URL that ends in
`/messages` is asked in Anthropic's words, any other in OpenAI's. Beside what that one says: `first_p50_us`, from the request to the first
byte of the body; `first_after_p50_us` and `first_after_p99_us`, from the moment the provider sent the first words of a stream to that byte
(0 for whole answers); `cpu_share`, this program's own CPU time by the clock's.
"""

import asyncio
import gc
import sys
import time
from urllib.parse import urlsplit

import orjson
import uvloop

from tests.bench import load
from tests.bench.load import Wrong, first_number, percentile
from tests.bench.provider import CHUNKS, STAMP

PATIENCE = 180.0
"""Seconds for the last answers: 64 streams through a gateway that takes a second for each."""


class Shape:
    """The bytes of a request but for its number, made once."""

    def __init__(self, url: str, stream: bool, model: str, headers: dict[str, str]) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 80
        self.stream, self.anthropic = stream, parts.path.endswith("/messages")
        talk = [{"role": "user", "content": load.PADDING + " @NUMBER@"}]
        body = {"model": model, "messages": talk, "max_tokens": 64, "temperature": 0} | ({"stream": True} if stream else {})
        if self.anthropic:
            body["system"] = "You are brief."
        else:
            talk.insert(0, {"role": "system", "content": "You are brief."})
        self.body = orjson.dumps(body).replace(b"@NUMBER@", b"%d")
        lines = {"host": parts.netloc, "content-type": "application/json", "accept": "application/json"}
        lines |= ({"anthropic-version": "2023-06-01"} if self.anthropic else {}) | headers
        lines["content-length"] = str(len(self.body % first_number()))
        self.head = (f"POST {parts.path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n").encode()

    def request(self, number: int) -> bytes:
        return self.head + self.body % number


def check(number: int, status: int, body: bytes, *, stream: bool, anthropic: bool = False) -> None:
    """Raises `Wrong`. A stream has an event for each chunk: whoever joins chunks has less to write."""
    text = b"%d" % number
    if not stream:
        whole = is_json(body)
    elif anthropic:
        whole = body.count(b"event: content_block_delta") >= CHUNKS and b"event: message_stop" in body[-200:]
    else:
        whole = body.count(b"data: {") >= CHUNKS and body.rstrip().endswith(b"data: [DONE]")
    if status != 200 or not whole or text not in body:
        raise Wrong(f"asked {number}, status {status}: {body[:300]!r}")


def is_json(body: bytes) -> bool:
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return True


class Client(load.Client):
    """One connection of the loop."""

    run: "Run"
    first = 0.0

    def on_body(self, data: bytes) -> None:
        if not self.body:
            self.first = time.perf_counter()
            self.run.firsts.append(self.first - self.started)
        self.body += data

    def check(self) -> None:
        shape = self.run.shape
        check(self.number, self.parser.get_status_code(), self.body, stream=shape.stream, anthropic=shape.anthropic)
        if shape.stream:
            stamp = STAMP.search(self.body)
            if stamp is None:
                raise Wrong(f"a stream without the time at which it was sent: {self.body[:300]!r}")
            self.run.after.append(self.first - int(stamp[1]) / 1e9)


class Run(load.Run):
    shape: Shape

    def __init__(self, shape: Shape, connections: int, seconds: float) -> None:
        super().__init__(shape, connections, seconds)
        self.firsts: list[float] = []
        self.after: list[float] = []


def figures(run: Run, took: float, spent: float) -> dict[str, float]:
    """What a run of `took` seconds, `spent` of them on the CPU, came to."""
    after = sorted(run.after) or [0.0]
    return {
        **load.figures(run, took),
        "first_p50_us": percentile(sorted(run.firsts), 0.5) * 1e6,
        "first_after_p50_us": percentile(after, 0.5) * 1e6,
        "first_after_p99_us": percentile(after, 0.99) * 1e6,
        "cpu_share": spent / took,
    }


async def main(url: str, connections: int, seconds: float, how: str, model: str, *headers: str) -> None:
    shape = Shape(url, how == "stream", model, dict(header.split("=", 1) for header in headers))
    gc.disable()
    run = Run(shape, connections, seconds)
    began, spent = time.perf_counter(), time.process_time()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: run.fail(repr(context.get("exception") or context["message"])))
    for _ in range(connections):
        await loop.create_connection(lambda: Client(run), shape.host, shape.port)
    await asyncio.wait_for(run.done, seconds + PATIENCE)
    print(orjson.dumps(figures(run, time.perf_counter() - began, time.process_time() - spent)).decode())


if __name__ == "__main__":
    try:
        uvloop.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), *sys.argv[4:]))
    except (Wrong, TimeoutError, OSError) as error:
        sys.exit(f"load: {type(error).__name__}: {error}")
