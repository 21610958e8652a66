"""Redis over TLS, watched by Sentinels, and as a cluster."""

import asyncio
import contextlib
import datetime
import gc
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis.crc import key_slot

from hub.refusal import StoreDown
from hub.store import resp
from hub.store.redis import Redis, Script
from hub.store.redis_cluster import slot, slots
from hub.store.redis_dial import Found
from hub.store.redis_link import Link
from hub.store.redis_place import Place
from hub.store.signals import Signals
from tests.services.redis import RedisCluster, RedisSentinels, RedisServer, free_port
from tests.support.listening import listening

COUNT = Script("return redis.call('INCRBY', KEYS[1], ARGV[1])")


def usable_links() -> list[Link]:
    gc.collect()
    return [one for one in gc.get_objects() if isinstance(one, Link) and one.usable]


async def until(condition: Callable[[], bool], patience: float = 30.0) -> None:
    async with asyncio.timeout(patience):
        while not condition():
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def opened(url: str) -> AsyncIterator[Redis]:
    store = Redis(url)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def insist(store: Redis, *command: str | int) -> object:
    """What it answers, asked as often as it takes."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await store.command(*command)
            except StoreDown:
                await asyncio.sleep(0.01)


def certificates(folder: Path, *hosts: str) -> tuple[Path, Path, Path]:
    """A private authority, and a certificate and key of its making for a server of these names; the three files."""
    now = datetime.datetime.now(datetime.UTC)

    def made(name: str, signer: ec.EllipticCurvePrivateKey | None, issuer: x509.Name | None, *extensions: x509.ExtensionType):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer or subject).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return key, builder.sign(signer or key, hashes.SHA256())

    authority, root = made("authority", None, None, x509.BasicConstraints(ca=True, path_length=None))
    names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
    key, leaf = made("server", authority, root.subject, names, x509.BasicConstraints(ca=False, path_length=None))
    files = (folder / "ca.pem", folder / "server.pem", folder / "server.key")
    files[0].write_bytes(root.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    files[2].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    return files


async def test_tls_trusts_the_authority_that_is_named_and_the_name_it_vouches_for(tmp_path: Path):
    authority, certificate, key = certificates(tmp_path, "localhost")
    port = free_port()
    files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-ca-cert-file", str(authority))
    server = RedisServer("--tls-port", str(port), "--tls-auth-clients", "no", *files)
    server.start()
    try:
        async with opened(f"rediss://localhost:{port}/0?ssl_ca_certs={authority}") as store:
            await store.command("SET", "k", "v")
            assert await asyncio.gather(*(store.command("GET", "k") for _ in range(100))) == [b"v"] * 100
            assert server.ask("GET", "k") == "v"
        for url in (f"rediss://localhost:{port}/0", f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={authority}"):
            with pytest.raises(StoreDown) as raised:
                await Redis(url).open()
            assert "its certificate is not accepted" in raised.value.detail
        with pytest.raises(StoreDown):  # TLS to a server that speaks plain
            await Redis(f"rediss://localhost:{server.port}/0?ssl_ca_certs={authority}", patience=1.0).open()
        with pytest.raises(StoreDown):  # and the other way round
            await Redis(f"redis://localhost:{port}/0", patience=1.0).open()
        await until(lambda: not usable_links())
        server.ask("CONFIG", "SET", "tls-auth-clients", "yes")
        own = f"&ssl_certfile={certificate}&ssl_keyfile={key}"
        async with opened(f"rediss://localhost:{port}/0?ssl_ca_certs={authority}{own}") as store:
            assert await store.command("GET", "k") == b"v"
        with pytest.raises(StoreDown):
            await Redis(f"rediss://localhost:{port}/0?ssl_ca_certs={authority}").open()
    finally:
        server.stop()


@pytest.fixture(scope="module")
def sentinels() -> Iterator[RedisSentinels]:
    made = RedisSentinels()
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.mark.usefixtures("as_the_hub_waits")
async def test_a_sentinel_that_stands_still_is_passed_over(sentinels: RedisSentinels):
    sentinels.sentinels[0].stop_answering()
    async with opened(sentinels.url) as store:
        assert await store.command("SET", "k", "v") == b"OK"
    sentinels.sentinels[0].resume()


@pytest.mark.usefixtures("as_the_hub_waits")
async def test_the_master_that_sentinels_name_is_used_also_when_it_is_another(sentinels: RedisSentinels):
    first = sentinels.master
    async with opened(sentinels.url) as store:
        backs: list[bool] = []
        store.on_return(backs.append)
        assert await store.script(COUNT, ["{a}n"], 2) == 2
        first.ask("WAIT", 1, 2000)
        first.stop_answering()
        since = time.monotonic()
        with pytest.raises(StoreDown):
            await store.command("GET", "{a}n")
        assert time.monotonic() - since < 10  # its patience, and what a busy machine adds
        assert await insist(store, "GET", "{a}n") == b"2"
        second = sentinels.master
        assert second is not first
        first.resume()  # it takes itself for the master still
        assert await store.script(COUNT, ["{a}n"], 3) == 5
        assert second.ask("GET", "{a}n") == "5"
        assert backs == [False]


async def test_sentinels_that_know_nothing_of_the_service_are_no_help(sentinels: RedisSentinels):
    with pytest.raises(StoreDown) as raised:
        await Redis(sentinels.url.replace("/hub/", "/other/")).open()
    assert "does not know the service" in raised.value.detail


@pytest.mark.parametrize("key", ["", "a", "{a}b", "x{acme}y", "{}a", "{a", "a}{b}c", "hub:{acme}:day:r:key:k", "é{ü}", "{{a}}"])
def test_slots_are_those_of_the_other_client(key: str):
    assert slot(key.encode()) == key_slot(key.encode())


def test_a_map_that_makes_no_sense_is_no_map():
    senseless = (
        *(None, 7, [[0, 1]], [[0, 5, None]], [[b"x", 5, [b"h", 1]]], [[-5, 5, [b"h", 1]]]),
        *([[5, 4, [b"h", 1]]], [[0, 16384, [b"h", 1]]], [[0, 1 << 70, [b"h", 1]]]),
    )
    for reply in senseless:
        with pytest.raises(StoreDown):
            slots(reply, "h")
    assert slots([[0, 1, [b"", 7]], [2, 2, [b"h", 8], [b"replica", 9]]], "asked")[:4] == [("asked", 7), ("asked", 7), ("h", 8), None]


async def test_each_key_is_at_its_server(redis_cluster: RedisCluster):
    async with opened(f"redis+cluster://127.0.0.1:{redis_cluster.servers[1].port}") as store:
        names = [f"hub:{{org{n}}}:x" for n in range(60)]
        await asyncio.gather(*(store.script(COUNT, [name, f"{name}:more"], n) for n, name in enumerate(names)))
        assert [await store.command("GET", name) for name in names] == [b"%d" % n for n in range(60)]
        for name in names:
            assert redis_cluster.at(slot(name.encode())).ask("EXISTS", name) == 1
        assert store.up
        assert [server.connections for server in redis_cluster.servers] == [1, 1, 1]


async def test_redirections_are_followed_and_learned(redis_cluster: RedisCluster):
    async with opened(redis_cluster.url) as store:
        key = "{moving}k"
        number = slot(key.encode())
        old = redis_cluster.at(number)
        new = next(server for server in redis_cluster.servers if server is not old)
        ids = {server.port: server.ask("CLUSTER", "MYID") for server in redis_cluster.servers}
        await store.command("SET", key, "here")
        new.ask("CLUSTER", "SETSLOT", number, "IMPORTING", ids[old.port])
        old.ask("CLUSTER", "SETSLOT", number, "MIGRATING", ids[new.port])
        assert await store.command("GET", key) == b"here"
        assert await store.command("SET", "{moving}other", "there") == b"OK"  # ASK: not at the old one any more
        assert await store.command("GET", "{moving}other") == b"there"
        old.ask("MIGRATE", "127.0.0.1", new.port, key, 0, 5000)
        assert await asyncio.gather(*(store.command("GET", key) for _ in range(20))) == [b"here"] * 20
        for server in redis_cluster.servers:
            server.ask("CLUSTER", "SETSLOT", number, "NODE", ids[new.port])
        assert await asyncio.gather(*(store.command("GET", key) for _ in range(20))) == [b"here"] * 20  # MOVED
        moved = int(old.ask("INFO", "errorstats").get("errorstat_MOVED", {"count": 0})["count"])
        assert await store.script(COUNT, ["{moving}n"], 1) == 1
        assert int(old.ask("INFO", "errorstats")["errorstat_MOVED"]["count"]) == moved  # learned: not asked again
        new.ask("FLUSHALL")
        for server in redis_cluster.servers:
            server.ask("CLUSTER", "SETSLOT", number, "NODE", ids[old.port])


@contextlib.asynccontextmanager
async def servant(answers: dict[bytes, bytes]) -> AsyncIterator[int]:
    """A server of a cluster of one, that answers as it is told; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got = b""
        while data := await reader.read(65536):
            got += data
            while got and (read := resp.read(got, 0))[1] > 0:
                command, after = read
                got = got[after:]
                writer.write(answers.get(command[0], b"*1\r\n$6\r\nmaster\r\n"))

    async with listening(serve) as port:
        answers[b"CLUSTER"] = b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n" % port
        yield port


@pytest.mark.parametrize("where", [b"127.0.0.1:99999", b"a..b:1", b":6379", b"nowhere"])
async def test_a_redirection_to_where_nobody_can_be_is_refused_and_the_map_read_again(where: bytes):
    answers = {b"GET": b"-MOVED 12182 %b\r\n" % where}
    async with servant(answers) as port, opened(f"redis+cluster://127.0.0.1:{port}") as store, asyncio.timeout(30):
        with pytest.raises(StoreDown):
            await store.command("GET", "foo")
        reading = store._ways._reading  # type: ignore[attr-defined]
        assert reading is not None
        answers[b"GET"] = b"$1\r\nx\r\n"
        assert await insist(store, "GET", "foo") == b"x"


async def test_a_reply_without_an_end_is_given_up_before_it_holds_up_everybody():
    answers = {b"GET": b"*20000\r\n" + b"$400\r\n%b\r\n" % (b"x" * 400) * 15_000}
    async with servant(answers) as port:
        store = Redis(f"redis+cluster://127.0.0.1:{port}", patience=20.0)
        await store.open()
        with pytest.raises(StoreDown) as raised:
            await store.command("GET", "foo")
        assert "larger than any" in raised.value.detail
        del answers[b"GET"]
        await store.close()


async def test_who_waits_for_a_server_that_leaves_the_map_is_told():
    async def connect() -> Found:
        await asyncio.sleep(3600)
        raise AssertionError

    place = Place(connect, lambda whole: None)
    place.begin()
    waiting = asyncio.ensure_future(place.ready())
    await asyncio.sleep(0)
    await place.close()
    async with asyncio.timeout(30):
        with pytest.raises(StoreDown):
            await waiting


async def test_a_signal_reaches_every_other_listener_of_a_cluster(redis_cluster: RedisCluster):
    heard: list[bytes] = []
    async with contextlib.AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(opened(f"redis+cluster://127.0.0.1:{one.port}")) for one in redis_cluster.servers]
        signals = [Signals(store) for store in stores]
        for one in signals:
            one.subscribe("keys", lambda _, data: heard.append(data))
            one.open()
        await until(lambda: all(one.confirmed for one in signals))
        for number, one in enumerate(signals):
            one.publish("keys", b"%d" % number)
        await until(lambda: sorted(heard) == [b"0"] * 2 + [b"1"] * 2 + [b"2"] * 2)
        for one in signals:
            await one.close()


async def test_one_server_that_is_away_keeps_nobody_from_the_others(redis_cluster: RedisCluster):
    lost = redis_cluster.servers[2]
    names = {
        server.port: next(f"{{n{n}}}" for n in range(1000) if redis_cluster.at(slot(f"{{n{n}}}".encode())) is server)
        for server in redis_cluster.servers
    }
    async with opened(redis_cluster.url) as store:
        lost.kill()
        await until(lambda: not store.up)
        for port, name in names.items():
            if port == lost.port:
                with pytest.raises(StoreDown):
                    await store.command("SET", name, 1)
            else:
                assert await store.command("SET", name, 1) == b"OK"
        lost.restart()
        assert await insist(store, "SET", names[lost.port], 1) == b"OK"
        await until(lambda: store.up)
