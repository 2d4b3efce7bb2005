"""What both services fetch by themselves, against name servers, peers and documents that want them
to fetch something else, or for ever.
"""

import asyncio
import contextlib
import gzip
import itertools
import tracemalloc
import zlib
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from pathlib import Path

import httpx2
import pytest

from asu.checking.findings import Level
from asu.checking.neighbours import check_upstream
from asu.resolution import DocumentUnavailableError
from asu.services import open_services
from asu.settings import Settings
from asu.upstream.public_addresses import is_meant_to_be_local, is_public
from asu_prepare import public_addresses as prepare_addresses
from asu_prepare.config import Settings as PrepareSettings
from asu_prepare.main import create_app
from tests.contract.fetching import (
    ClientError,
    Fetch,
    fetch_as_asu,
    fetch_as_prepare,
    peer_that_sends,
)

pytestmark = pytest.mark.anyio
both = pytest.mark.parametrize("fetch", [fetch_as_asu, fetch_as_prepare], ids=["asu", "prepare"])

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
PACKED = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"
SPACIOUS = 8 * 1024 * 1024  # Bytes; what the library and the test take, far below what is sent.

# What a name server may say that a public name has.
INSIDE = """
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255
100.64.0.1 127.0.0.1 127.8.8.8 169.254.169.254 169.254.170.2
172.16.0.1 172.31.255.255
192.0.0.192
192.0.2.1 192.168.1.1 198.18.0.1 198.51.100.7 203.0.113.9
224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255
:: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:10.0.0.1
64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::1 100::1
2002:7f00:1:: 2002:a00:1::1 2001:db8::1
2001:0:4136:e378:8000:63bf:3fff:fdd2 fc00::1
fd00:ec2::254 fe80::1 fe80::1%1 fec0::1 ff02::1 5f00::1
nonsense 127.1 0x7f000001
"""
OUTSIDE = [
    "8.8.8.8",
    "151.101.130.132",
    "2a01:4f8:251:321::2",
    "2606:4700::6810:84e5",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2002:808:808::1",
]

# Names that resolvers take for this machine, as a public name might lead here, though none is
# spelled as an address is; and two that fail before.
TAKEN_FOR_US = [
    "127.1",
    "127.0.1",
    "0x7f.0.0.1",
    "127.0x1",
    "2130706433",
    "0x7f000001",
    "017700000001",
]
DISGUISED = [*TAKEN_FOR_US, "0177.0.0.1", "127.0.0.1."]


@pytest.mark.parametrize(
    "module_is_public", [is_public, prepare_addresses.is_public], ids=["asu", "prepare"]
)
def test_what_is_inside_is_not_public(module_is_public: Callable[[str], bool]) -> None:
    """Loopback, private, link-local and all the rest, and what wraps one of them; the machines of
    this world are.
    """
    assert [address for address in INSIDE.split() if module_is_public(address)] == []
    assert [address for address in OUTSIDE if not module_is_public(address)] == []


def test_both_services_agree_on_every_address() -> None:
    """A network that one service does not know would be open through it."""
    neighbours = [
        str(type(address)(int(address) ^ 1 << bit))
        for address in map(ip_address, [*INSIDE.split()[:-3], *OUTSIDE])
        for bit in range(address.max_prefixlen)
    ]

    assert {address for address in neighbours if is_public(address)} == {
        address for address in neighbours if prepare_addresses.is_public(address)
    }


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "10.0.0.5", "localhost", "cache", "mirror_1"])
def test_who_writes_a_local_name_means_it(host: str) -> None:
    """A mirror of the operator's own needs no further setting."""
    assert is_meant_to_be_local(host)


@pytest.mark.parametrize(
    "host",
    [
        *DISGUISED,
        "downloads.openwrt.org",
        "mirror.example.org",
        "localhost.example.org",
        "",
        "cache.",
    ],
)
def test_any_other_name_may_be_a_stranger_s(host: str) -> None:
    """Public name servers answer for it, or it is an address in disguise."""
    assert not is_meant_to_be_local(host)


@both
@pytest.mark.parametrize("host", DISGUISED)
async def test_a_name_that_leads_inside_is_refused(fetch: Fetch, host: str) -> None:
    """The connection ends before a byte is sent over it: what is behind it hears nothing, whatever
    the name server says the next time.
    """
    async with peer_that_sends([OK]) as peer:
        with pytest.raises(ClientError, match="private address" if host in TAKEN_FOR_US else None):
            await fetch(peer.url(host))
        assert peer.received == b""


@both
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_an_operator_s_own_server_is_asked(fetch: Fetch, host: str) -> None:
    """Under its address, or a local name; and under any other where the operator says so."""
    async with peer_that_sends([OK]) as peer:
        assert await fetch(peer.url(host)) == (200, b"ok")
        assert await fetch(peer.url("127.1"), private_urls=[f"{peer.url('127.1')}/mirror"]) == (
            200,
            b"ok",
        )
        with pytest.raises(ClientError):
            await fetch(peer.url("127.0.1"), private_urls=[peer.url("127.1")])


@pytest.mark.parametrize("is_private", [False, True])
async def test_the_api_asks_a_private_server_where_it_is_told_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, is_private: bool
) -> None:
    """`UPSTREAM_IS_PRIVATE` reaches the client of the API, and its log says that this is what is
    missing.
    """
    async with peer_that_sends([OK]) as peer:
        settings = Settings(
            upstream_url=peer.url("127.1"), upstream_is_private=is_private, store_path=tmp_path
        )
        async with open_services(settings) as services:
            if is_private:
                assert await services.upstream.read("x", bytes) == b"ok"
            else:
                with pytest.raises(DocumentUnavailableError):
                    await services.upstream.read("x", bytes)
            assert bool(peer.received) == is_private
            assert ("UPSTREAM_IS_PRIVATE" in caplog.text) != is_private


async def test_asu_check_says_what_a_private_server_lacks() -> None:
    """The client itself knows no settings; whoever asks a downloads server does."""
    async with peer_that_sends([OK]) as peer:
        verdict = await asyncio.to_thread(check_upstream, peer.url("127.1"), may_be_private=False)

    assert verdict.level is Level.PROBLEM
    assert "UPSTREAM_IS_PRIVATE" in verdict.advice


@pytest.mark.parametrize("is_private", [False, True])
async def test_asu_prepare_asks_a_private_server_where_it_is_told_so(*, is_private: bool) -> None:
    """So does that of asu-prepare."""
    async with peer_that_sends([OK]) as peer:
        app = create_app(
            PrepareSettings(upstream_url=peer.url("127.1"), upstream_is_private=is_private)
        )
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(
                transport=httpx2.ASGITransport(app), base_url="http://prepare"
            ) as client,
        ):
            await client.post(
                "/api/v1/prepare",
                json={
                    "version": "25.12.1",
                    "target": "x86/64",
                    "profile": "generic",
                    "packages": [],
                },
            )
        assert bool(peer.received) == is_private


@both
@pytest.mark.parametrize("status", [300, 301, 302, 303, 305, 307, 308])
@pytest.mark.parametrize(
    "target",
    [
        "{victim}/secret",
        "//127.0.0.1:{port}/secret",
        "file:///etc/passwd",
        "gopher://127.0.0.1:{port}/_x",
        "/elsewhere",
    ],
)
async def test_no_redirect_is_followed(fetch: Fetch, status: int, target: str) -> None:
    """Neither to another server nor to another place on the same: a downloads server has no reason
    to.
    """
    async with peer_that_sends([OK]) as victim:
        location = target.format(victim=victim.url(), port=victim.port)
        head = (
            f"HTTP/1.1 {status} Elsewhere\r\nLocation: {location}\r\nRefresh: 0;"
            f" url={location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        async with peer_that_sends([head.encode()]) as peer:
            assert (await fetch(peer.url()))[0] == status
            assert (peer.connections, victim.connections) == (1, 0)


@both
@pytest.mark.parametrize(
    "path",
    [
        *(
            "/{victim}",
            "//{host}/x",
            "@{host}/x",
            ":80@{host}/x",
            "\\\\{host}\\x",
            "..//{host}",
            "?@{host}",
            "#@{host}",
            "%2f%2f{host}",
            ";@{host}",
        ),
        *(
            "http://{host}/x",
            "\thttp://{host}",
            "x HTTP/1.1\r\nHost: {host}\r\n\r\nGET /",
            "%0d%0aHost:%20{host}",
            "\0@{host}",
            "../../../{host}",
        ),
    ],
)
async def test_a_path_leads_to_no_other_host(fetch: Fetch, path: str) -> None:
    """Paths hold names from documents that an upstream server wrote; whatever these are, they stay
    on that server, in one request.
    """
    async with peer_that_sends([OK]) as victim, peer_that_sends([OK]) as peer:
        with contextlib.suppress(*ClientError):  # What is no address is not asked for at all.
            await fetch(
                f"{peer.url()}/{path.format(victim=victim.url(), host=f'127.0.0.1:{victim.port}')}"
            )
        assert victim.connections == 0
        assert peer.received.count(b"\r\nHost:") == (1 if peer.connections else 0)
        assert f"Host: 127.0.0.1:{victim.port}\r\n".encode() not in peer.received


def chunk(data: bytes) -> bytes:
    """Return a piece of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


BOMB = gzip.compress(bytes(50_000_000))
# Packed data that unpacks to nothing, and may go on for ever.
EMPTY_BLOCKS = b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + b"\0\0\0\xff\xff" * 10_000
ENDLESS: dict[str, Iterable[bytes]] = {
    "plain": [b"HTTP/1.1 200 OK\r\n\r\n", *itertools.repeat(b"x" * 65536, 2000)],
    "chunked": [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        *itertools.repeat(chunk(b"x" * 65536), 2000),
    ],
    "packed": [PACKED, BOMB],
    "packed twice": [PACKED.replace(b"gzip", b"gzip, gzip"), gzip.compress(BOMB)],
    "packed to nothing": [PACKED, *itertools.repeat(EMPTY_BLOCKS, 2000)],
    "after the packed end": [PACKED, gzip.compress(b"{}"), *itertools.repeat(b"x" * 65536, 2000)],
    "a second packed part": [PACKED, gzip.compress(b"{}") + BOMB],
    "one header": [b"HTTP/1.1 200 OK\r\nX: ", *itertools.repeat(b"x" * 65536, 2000)],
    "headers": [b"HTTP/1.1 200 OK\r\n", *itertools.repeat(b"X: y\r\n" * 10_000, 2000)],
    "interim answers": itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "trailers": [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        *itertools.repeat(b"X: y\r\n" * 10_000, 2000),
    ],
}


@both
@pytest.mark.parametrize("kind", ENDLESS)
async def test_what_does_not_end_is_given_up(fetch: Fetch, kind: str) -> None:
    """A bomb costs a buffer and a deadline, whatever it is packed in."""
    async with peer_that_sends(ENDLESS[kind]) as peer:
        tracemalloc.start()
        try:
            with pytest.raises(ClientError):
                await fetch(peer.url(), deadline=1)
            assert tracemalloc.get_traced_memory()[1] < SPACIOUS
        finally:
            tracemalloc.stop()


@both
@pytest.mark.parametrize("kind", ["plain", "chunked", "packed", "packed to nothing"])
async def test_too_many_bytes_are_noticed_before_the_deadline(fetch: Fetch, kind: str) -> None:
    """They are counted as they come and as they unpack."""
    async with peer_that_sends(ENDLESS[kind]) as peer:
        with pytest.raises(ClientError, match="larger than"):
            await fetch(peer.url(), deadline=60)


@both
@pytest.mark.parametrize(
    "pieces",
    [
        itertools.repeat(b"H"),
        [b"HTTP/1.1 200 OK\r\n", *itertools.repeat(b"X: y\r\n", 1000)],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n", *itertools.repeat(b"x", 900)],
        [
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            *itertools.repeat(chunk(b"x"), 900),
        ],
        [PACKED, *(bytes([byte]) for byte in gzip.compress(bytes(range(256))))],
    ],
    ids=["status", "headers", "body", "chunks", "packed"],
)
async def test_what_drips_in_is_given_up_at_the_deadline(
    fetch: Fetch, pieces: Iterable[bytes]
) -> None:
    """Each byte comes long before any read would time out; what counts is the whole."""
    async with peer_that_sends(pieces, pause=0.02) as peer:
        with pytest.raises(ClientError, match="no whole answer within"):
            await fetch(peer.url(), deadline=0.3)


BROKEN = {
    "shorter than announced": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
    "of negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx",
    "of two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy",
    "chunk without a size": CHUNKED + b"zz\r\nx\r\n0\r\n\r\n",
    "chunk too large to count": CHUNKED + b"ffffffffffffffffff\r\nx\r\n",
    "chunks without an end": CHUNKED + b"2\r\nxy\r\n",
    "packed chunks": CHUNKED.replace(b"chunked", b"gzip, chunked") + b"0\r\n\r\n",
    "status of four digits": b"HTTP/1.1 9999 OK\r\n\r\n",
    "header with a zero byte": b"HTTP/1.1 200 OK\r\nX\0: y\r\n\r\n",
    "another protocol": b"ICY 200 OK\r\n\r\n",
    "no HTTP": b"no HTTP at all",
    "nothing": b"",
    "half of a gzip": PACKED + gzip.compress(b"half")[:5],
    "zlib for gzip": PACKED + zlib.compress(b"no gzip"),
    "gzip with a wrong checksum": PACKED + gzip.compress(b"whole")[:-8] + b"\0" * 8,
    "packed otherwise": PACKED.replace(b"gzip", b"br") + b"x",
}


@both
@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
async def test_a_broken_answer_is_no_answer(fetch: Fetch, answer: bytes) -> None:
    """Half documents and lies are never taken for a document."""
    async with peer_that_sends([answer]) as peer:
        with pytest.raises(ClientError):
            await fetch(peer.url())
