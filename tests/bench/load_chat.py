"""The load generator of `tests.bench.load` for chat completions: every answer must hold the number of its request, a stream its end.

`python -m tests.bench.load_chat URL CONNECTIONS SECONDS whole|stream [HEADER=VALUE ...]` prints one JSON object. Beside what that one
says: `first_p50_us`, the time to the first byte of the body.
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


class Shape:
    """The bytes of a request but for its number, made once."""

    def __init__(self, url: str, stream: bool, headers: dict[str, str]) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 80
        self.stream = stream
        talk = [{"role": "system", "content": "You are brief."}, {"role": "user", "content": load.PADDING + " @NUMBER@"}]
        body = {"model": "bench", "messages": talk, "max_tokens": 64, "temperature": 0} | ({"stream": True} if stream else {})
        self.body = orjson.dumps(body).replace(b"@NUMBER@", b"%d")
        lines = {"host": parts.netloc, "content-type": "application/json", "accept": "application/json"} | headers
        lines["content-length"] = str(len(self.body % first_number()))
        self.head = (f"POST {parts.path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n").encode()

    def request(self, number: int) -> bytes:
        return self.head + self.body % number


def check(number: int, status: int, body: bytes, *, stream: bool) -> None:
    text = b"%d" % number
    whole = text in body and (body.count(b"data: {") >= 65 and body.rstrip().endswith(b"[DONE]") if stream else body.endswith(b"}"))
    if status != 200 or not whole:
        raise Wrong(f"asked {number}, status {status}: {body[:300]!r}")


class Client(load.Client):
    """One connection of the loop."""

    run: "Run"

    def on_body(self, data: bytes) -> None:
        if not self.body:
            self.run.firsts.append(time.perf_counter() - self.started)
        self.body += data

    def check(self) -> None:
        check(self.number, self.parser.get_status_code(), self.body, stream=self.run.shape.stream)


class Run(load.Run):
    shape: Shape

    def __init__(self, shape: Shape, connections: int, seconds: float) -> None:
        super().__init__(shape, connections, seconds)
        self.firsts: list[float] = []


async def main(url: str, connections: int, seconds: float, how: str, *headers: str) -> None:
    shape = Shape(url, how == "stream", dict(header.split("=", 1) for header in headers))
    gc.disable()
    run = Run(shape, connections, seconds)
    began = time.perf_counter()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: run.fail(repr(context.get("exception") or context["message"])))
    for _ in range(connections):
        await loop.create_connection(lambda: Client(run), shape.host, shape.port)
    await asyncio.wait_for(run.done, seconds + 60)
    took = time.perf_counter() - began
    print(orjson.dumps({**load.figures(run, took), "first_p50_us": percentile(sorted(run.firsts), 0.5) * 1e6}).decode())


if __name__ == "__main__":
    try:
        uvloop.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), *sys.argv[4:]))
    except (Wrong, TimeoutError, OSError) as error:
        sys.exit(f"load: {type(error).__name__}: {error}")
