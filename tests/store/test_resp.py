"""The Redis protocol, read from bytes that come in any pieces."""

import redis as client
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.store.resp import Garbled, ReplyError, pack, read

strings = st.one_of(st.none(), st.binary(max_size=40))
replies = st.recursive(st.one_of(strings, st.integers(-(2**63), 2**63 - 1)), lambda inner: st.lists(inner, max_size=5), max_leaves=20)


def written(reply) -> bytes:
    """As a server writes it."""
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if isinstance(reply, bytes):
        return b"$%d\r\n%b\r\n" % (len(reply), reply)
    return b"*%d\r\n%b" % (len(reply), b"".join(map(written, reply)))


@settings(max_examples=100, deadline=None)
@given(sent=st.lists(replies, min_size=1, max_size=4), cut=st.integers(0, 200))
def test_a_reply_is_read_whole_or_not_at_all(sent, cut):
    data = b"".join(map(written, sent))
    at, got = 0, []
    while at < len(data):
        reply, at = read(data, at)
        got.append(reply)
    assert got == sent
    at, part = 0, data[: cut % len(data)]
    while at < len(part):
        _, after = read(part, at)
        if after < 0:
            assert len(part) < -after <= len(data)
            break
        at = after


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=60))
def test_anything_else_is_garbled_or_incomplete(data):
    try:
        _, after = read(data, 0)
    except Garbled:
        return
    assert after > 0 or -after > len(data)


def test_errors_are_values_with_their_code():
    error, after = read(b"-WRONGTYPE Operation against a key\r\n", 0)
    assert isinstance(error, ReplyError)
    assert (error.code, after) == ("WRONGTYPE", 36)
    (first, second), _ = read(b"*2\r\n+OK\r\n-ERR no\r\n", 0)
    assert (first, second.code) == (b"OK", "ERR")


@settings(max_examples=100, deadline=None)
@given(arguments=st.lists(st.one_of(st.binary(max_size=20), st.text(max_size=20), st.integers()), max_size=6))
def test_commands_are_packed_as_the_other_client_packs_them(arguments):
    theirs = client.connection.PythonRespSerializer(10**9, client.connection.Encoder("utf-8", "strict", False).encode)
    assert pack("SET", *arguments) == b"".join(theirs.pack("SET", *arguments))


def test_what_a_command_in_a_script_was_refused_with_is_its_code_whoever_says_it():
    within = "Error running script (call to f_6b1bf486): @user_script:1: @user_script: 1: "
    for text, code in (
        ("OOM command not allowed when used memory > 'maxmemory'. script: 6b1b, on @user_script:2.", "OOM"),
        (f"ERR {within}-OOM command not allowed when used memory > 'maxmemory'.", "OOM"),
        (f"ERR {within}-READONLY You can't write against a read only replica.", "READONLY"),
        (f"ERR {within}Unknown Redis command called from Lua script", "ERR"),
        ("ERR value is not an integer or out of range", "ERR"),
        ("WRONGTYPE Operation against a key", "WRONGTYPE"),
    ):
        assert ReplyError(text).code == code
