"""What is no proper HTTP, knocked at both services and at the gateway: nobody fails, nobody grows,
and the next one is answered.
"""

from __future__ import annotations

import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.integration.edge_world import BUILD, Door, three_doors
from tests.integration.gateway_world import CAN_RUN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.redis_server import RedisServer

pytestmark = pytest.mark.skipif(not CAN_RUN, reason="nginx is not installed (make install)")

DOORS = ["asu", "prepare", "gateway"]
SILENCE = 0.3  # Seconds without a word after which a half request has been waited for long enough.
ROUNDS = 4
GROWTH = 16 * 1024 * 1024  # Bytes over the last rounds; what is refused alone has many times that.
HEAD = b"POST /api/v1/prepare HTTP/1.1\r\nHost: asu\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def get(target: bytes = b"/livez", headers: bytes = b"") -> bytes:
    """Return a request that would be well but for what is put in."""
    return b"GET %s HTTP/1.1\r\nHost: asu\r\nConnection: close\r\n%s\r\n" % (target, headers)


CORPUS: dict[str, bytes] = {
    "shorter than said": HEAD + b"Content-Length: 100\r\n\r\n{}",
    "longer than said": HEAD + b"Content-Length: 1\r\n\r\n{}{}{}",
    "negative length": HEAD + b"Content-Length: -1\r\n\r\n{}",
    "signed length": HEAD + b"Content-Length: +2\r\n\r\n{}",
    "hexadecimal length": HEAD + b"Content-Length: 0x2\r\n\r\n{}",
    "huge length": HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n{}",
    "length of words": HEAD + b"Content-Length: two\r\n\r\n{}",
    "empty length": HEAD + b"Content-Length: \r\n\r\n{}",
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    "a list of lengths": HEAD + b"Content-Length: 2, 3\r\n\r\n{} ",
    "length and chunks": (
        HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /livez"
        b" HTTP/1.1\r\nHost: asu\r\n\r\n"
    ),
    "chunks and length": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two encodings": (
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"
    ),
    "chunked not last": HEAD + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "disguised encoding": HEAD + b"Transfer-Encoding: xchunked\r\nContent-Length: 2\r\n\r\n{}",
    "encoding behind a blank": HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "encoding behind a tab": HEAD + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "encoding in HTTP/1.0": CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0") + b"2\r\n{}\r\n0\r\n\r\n",
    "chunk of no size": CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n",
    "chunk of a negative size": CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n",
    "chunk of a huge size": CHUNKED + b"ffffffffffffffffff\r\n{}\r\n",
    "chunk longer than said": CHUNKED + b"1\r\n{}\r\n0\r\n\r\n",
    "chunk without end": CHUNKED + b"2\r\n{}",
    "chunks of one byte": CHUNKED + b"1\r\n{\r\n" * 5000 + b"0\r\n\r\n",
    "chunks with extensions": CHUNKED + b"2;a=b;c\r\n{}\r\n0;x\r\n\r\n",
    "an extension without end": CHUNKED + b"2;" + b"x" * 2_000_000,
    "trailers": CHUNKED + b"2\r\n{}\r\n0\r\nContent-Length: 9\r\nHost: evil\r\n\r\n",
    "trailers without end": (
        CHUNKED + b"2\r\n{}\r\n0\r\n" + b"X: yyyyyyyyyyyyyyyyyyyy\r\n" * 100_000
    ),
    "line ends alone": get().replace(b"\r\n", b"\n"),
    "carriage returns alone": get().replace(b"\r\n", b"\r"),
    "ten thousand headers": get(
        headers=b"".join(b"X-%d: y\r\n" % number for number in range(10_000))
    ),
    "one header ten thousand times": get(headers=b"X: y\r\n" * 10_000),
    "a header of a megabyte": get(headers=b"X: " + b"x" * 1_000_000 + b"\r\n"),
    "headers without end": get()[:-2] + b"X: yyyyyyyyyyyyyyyyyyyyyyy\r\n" * 100_000,
    "a header without end": get()[:-2] + b"X: " + b"x" * 4_000_000,
    "a name without end": get()[:-2] + b"x" * 4_000_000,
    "an address without end": b"GET /" + b"x" * 4_000_000,
    "a method without end": b"G" * 4_000_000,
    "a folded header": get(headers=b"X: a\r\n b\r\n"),
    "a header without name": get(headers=b": a\r\n"),
    "a header without colon": get(headers=b"X\r\n"),
    "NUL in a header": get(headers=b"X: a\0b\r\n"),
    "NUL in a name": get(headers=b"X\0: a\r\n"),
    "bytes beyond ASCII": get(headers=b"X: \xff\xfe\r\nX-Request-ID: \xff\r\n"),
    "no host": b"GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n",
    "two hosts": get(headers=b"Host: evil\r\n"),
    "a host that is none": get().replace(b"Host: asu", b"Host: \x01/@:99999"),
    "an unknown method": get().replace(b"GET", b"BREW"),
    "a method in small letters": get().replace(b"GET", b"get"),
    "CONNECT": b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: asu\r\n\r\n",
    "TRACE": get().replace(b"GET", b"TRACE"),
    "PRI": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no method": b" /livez HTTP/1.1\r\nHost: asu\r\n\r\n",
    "no version": b"GET /livez\r\n\r\n",
    "HTTP/0.9": b"GET /livez\r\n",
    "HTTP/1.9": get().replace(b"HTTP/1.1", b"HTTP/1.9"),
    "HTTP/2": get().replace(b"HTTP/1.1", b"HTTP/2.0"),
    "HTTP/9999": get().replace(b"HTTP/1.1", b"HTTP/9999"),
    "no HTTP": get().replace(b"HTTP/1.1", b"ICY/1.1"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    "line ends only": b"\r\n" * 10_000,
    "nothing": b"",
    "NUL only": bytes(10_000),
    "an asterisk": b"OPTIONS * HTTP/1.1\r\nHost: asu\r\nConnection: close\r\n\r\n",
    "a whole address": get(b"http://evil/livez"),
    "an address of no place": get(b"http://"),
    "a path without slash": get(b"livez"),
    "NUL in the path": get(b"/livez\0"),
    "escaped NUL": get(b"/livez%00"),
    "a half escape": get(b"/livez%"),
    "a bad escape": get(b"/%zz%u1234"),
    "bytes in the path": get(b"/\xff\xfe\x80"),
    "escaped bytes": get(b"/%ff%fe%80/api/v1/build/%ed%a0%80"),
    "a bad query": get(b"/api/v1/top-packages?limit=%zz&limit=%00&limit=\xff"),
    "a fragment": get(b"/livez#a"),
    "line ends in the query": get(b"/api/v1/latest?a=%0d%0aX-Evil:%201"),
    "an escaped line end in a poll": get(b"/api/v1/build/%0d%0aX-Evil:%201"),
    "a hundred at once": get().replace(b"close", b"keep-alive") * 99 + get(),
    "a request within a body": (
        HEAD + b"Content-Length: 60\r\nConnection: close\r\n\r\n" + get().ljust(60)
    ),
    "expectations": (
        HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
    ),
    "other expectations": (
        HEAD + b"Expect: miracles\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
    ),
    "an upgrade": (
        get(
            headers=b"Upgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n"
        ).replace(b"close", b"Upgrade")
    ),
    "an upgrade to HTTP/2": (
        get(headers=b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n").replace(
            b"close", b"Upgrade, HTTP2-Settings"
        )
    ),
    "ranges": get(
        b"/store/" + BUILD.encode() + b"/x", b"Range: bytes=-1,0-,9-1,x\r\nIf-Range: \xff\r\n"
    ),
    "a body beyond the limit": (
        HEAD + b"Content-Length: 1000000\r\nConnection: close\r\n\r\n" + b" " * 1_000_000
    ),
    "packed": (
        HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\nConnection: close\r\n\r\n\x1f\x8b"
    ),
    "not UTF-8": HEAD + b"Content-Length: 2\r\nConnection: close\r\n\r\n\xff\xfe",
    "nested without end": (
        HEAD + b"Content-Length: 200000\r\nConnection: close\r\n\r\n" + b"[" * 200_000
    ),
    "a number without end": (
        HEAD + b"Content-Length: 200000\r\nConnection: close\r\n\r\n" + b"1" * 200_000
    ),
    "a body for GET": get(headers=b"Content-Length: 5\r\n") + b"hello",
}
for _name in [name for name, data in CORPUS.items() if data.startswith(HEAD)]:
    CORPUS[f"{_name}, for a build"] = CORPUS[_name].replace(b"/api/v1/prepare", b"/api/v1/build", 1)


@pytest.fixture(scope="module")
def doors(
    tmp_path_factory: pytest.TempPathFactory, shared_redis: RedisServer
) -> Iterator[dict[str, Door]]:
    """Run services and gateway."""
    with three_doors(tmp_path_factory.mktemp("doors"), shared_redis) as doors:
        yield doors


def statuses(answer: bytes) -> list[int]:
    """Return the status of each answer that a connection brought."""
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answer)]


def knock_with_all(door: Door) -> dict[str, bytes]:
    """Send the whole corpus, several at a time; return what came back."""
    with ThreadPoolExecutor(16) as pool:
        return dict(
            zip(
                CORPUS,
                pool.map(lambda data: door.knock(data, patience=SILENCE), CORPUS.values()),
                strict=True,
            )
        )


@pytest.mark.parametrize("name", DOORS)
def test_what_is_broken_is_nobody_s_mistake_but_its_sender_s(
    doors: dict[str, Door], name: str
) -> None:
    """No answer says that the server failed, tells how it works, or obeys a header that was
    smuggled in; and all goes on.
    """
    answers = knock_with_all(doors[name])

    failed = {
        what: answer[:200]
        for what, answer in answers.items()
        if any(500 <= status != 501 != status != 505 for status in statuses(answer))
    }
    assert failed == {}
    assert [
        what
        for what, answer in answers.items()
        if re.search(rb"Traceback|File \"|/site-packages|\nX-Evil", answer)
    ] == []
    assert doors[name].is_well()
    assert b"Traceback" not in doors[name].log.read_bytes()


@pytest.mark.parametrize("name", DOORS)
def test_a_body_with_two_ends_is_refused(doors: dict[str, Door], name: str) -> None:
    """Where two could disagree about its length, the rest would be another request: of someone
    else, behind a proxy.
    """
    for what in (
        "two lengths",
        "length and chunks",
        "disguised encoding",
        "encoding behind a blank",
        "chunked not last",
    ):
        answered = statuses(doors[name].knock(CORPUS[what], patience=SILENCE))
        assert answered in ([400], [501]), what


@pytest.mark.parametrize("name", ["asu", "prepare"])
@pytest.mark.parametrize(
    "what",
    [
        "ten thousand headers",
        "a header without end",
        "a name without end",
        "an address without end",
        "headers without end",
    ],
)
def test_a_head_without_end_is_refused(doors: dict[str, Door], name: str, what: str) -> None:
    """In the shape of all errors, where it is still read; neither server nor parser would end
    it.
    """
    connection = socket.create_connection(("127.0.0.1", doors[name].port), timeout=10)
    with connection:
        connection.sendall(CORPUS[what][: 70 * 1024])
        answer = connection.recv(65536)

    assert statuses(answer) == [400]
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "bad-request"
    assert b"Access-Control-Allow-Origin: *" in answer


@pytest.mark.parametrize("name", DOORS)
def test_slow_callers_keep_nobody_waiting(doors: dict[str, Door], name: str) -> None:
    """A hundred connections whose requests never end, in the head or in the body, leave room for
    the next one.
    """
    with ExitStack() as stack:
        for number in range(100):
            connection = stack.enter_context(
                socket.create_connection(("127.0.0.1", doors[name].port), timeout=10)
            )
            connection.sendall(get()[:30] if number % 2 else CORPUS["shorter than said"])
        assert doors[name].is_well()


@pytest.mark.parametrize("name", ["asu", "prepare"])
def test_memory_stays_flat(
    doors: dict[str, Door], name: str, record_property: Callable[[str, object], None]
) -> None:
    """Some megabytes of nonsense a round are forgotten with their connections."""
    knock_with_all(doors[name])  # What is loaded at first use is loaded.
    sizes = [doors[name].memory()]
    for _ in range(ROUNDS):
        knock_with_all(doors[name])
        sizes.append(doors[name].memory())
    record_property("bytes", sizes)

    assert sizes[-1] - sizes[0] < GROWTH, sizes
