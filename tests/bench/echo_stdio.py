"""The same echo server over stdio: one line in, one line out. Knows only the answers of `echo_http`."""

import sys

import orjson

from tests.bench.echo_http import answer


def main() -> None:
    out = sys.stdout.buffer
    for line in sys.stdin.buffer:
        reply = answer(orjson.loads(line))
        if reply is not None:
            out.write(orjson.dumps(reply) + b"\n")
            out.flush()


if __name__ == "__main__":
    main()
