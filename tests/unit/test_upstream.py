"""The cache of the downloads server's documents: fresh, revalidated, or the last good copy."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from asu.resolution import DocumentMissingError, DocumentUnavailableError
from asu.upstream.downloads_server import (
    FAILED_CONNECTIONS,
    LARGE,
    MAX_ABSENCES,
    MAX_COPIES,
    MAX_FLIGHTS,
    MISSING_SECONDS,
    PAUSE,
    DownloadsServer,
)
from asu.upstream.http_client import WebAnswer, WebClient, WebConnectError, WebError
from tests.at_once import at_once

pytestmark = pytest.mark.anyio

TTL = 300.0
DOCUMENT = {"stable_version": "24.10.4"}


def ok(document: Any = DOCUMENT, **headers: str) -> WebAnswer:
    """Return a good answer."""
    return WebAnswer(200, headers, json.dumps(document).encode())


class ScriptedClient(WebClient):
    """A client that answers what it was told, the last answer for ever, and notes what it was
    asked.
    """

    def __init__(self, *answers: WebAnswer | WebError) -> None:
        super().__init__(user_agent="test")
        self.answers = list(answers)
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.open = asyncio.Event()
        self.open.set()

    async def get(
        self, url: str, *, headers: Mapping[str, str], max_bytes: int, deadline: float
    ) -> WebAnswer:
        """See WebClient."""
        assert max_bytes > 0
        assert deadline > 0
        self.asked.append((url, dict(headers)))
        await self.open.wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, WebError):
            raise answer
        return answer


class Downloads:
    """A downloads server behind a scripted client, with a clock that the test moves."""

    def __init__(self, *answers: WebAnswer | WebError) -> None:
        self.client = ScriptedClient(*answers)
        self.now = 1000.0
        self.outcomes: list[str] = []
        url = "https://downloads.example.org/"
        self.server = DownloadsServer(
            self.client, url=url, ttl=TTL, clock=lambda: self.now, answered=self.outcomes.append
        )

    async def read(self, path: str = ".versions.json") -> Any:
        """Return a document as it is."""
        return await self.server.read(path, lambda raw: dict(json.loads(raw)))


async def test_a_fresh_copy_is_answered_from_memory() -> None:
    """One fetch serves everybody for the time of life of a copy."""
    downloads = Downloads(ok())

    assert [await downloads.read() for _ in range(3)] == [DOCUMENT] * 3
    assert downloads.client.asked == [("https://downloads.example.org/.versions.json", {})]


async def test_many_who_wait_share_one_request() -> None:
    """On release day thousands ask for the same document at once."""
    downloads = Downloads(ok())

    assert await asyncio.gather(*(downloads.read() for _ in range(50))) == [DOCUMENT] * 50
    assert len(downloads.client.asked) == 1


async def test_a_stale_copy_is_revalidated() -> None:
    """The server is asked whether anything has changed; if not, the copy is as good as new."""
    downloads = Downloads(ok(etag='"a"', **{"last-modified": "Mon"}), WebAnswer(304, {}, b""))
    await downloads.read()
    downloads.now += TTL

    assert [await downloads.read(), await downloads.read()] == [DOCUMENT] * 2
    assert [headers for _, headers in downloads.client.asked] == [
        {},
        {"If-None-Match": '"a"', "If-Modified-Since": "Mon"},
    ]


async def test_a_changed_document_replaces_the_copy() -> None:
    """A new release shows up after the time of life of the old list."""
    downloads = Downloads(ok(), ok({"stable_version": "24.10.5"}))
    await downloads.read()
    downloads.now += TTL

    assert await downloads.read() == {"stable_version": "24.10.5"}


TROUBLES = [
    WebError("no answer"),
    WebAnswer(500, {}, b"{}"),
    WebAnswer(404, {}, b""),
    WebAnswer(302, {"location": "/login"}, b""),
    WebAnswer(200, {}, b"<html>log in"),
    WebAnswer(200, {}, b'{"stable'),
    WebAnswer(200, {}, b"\xff\xfe"),
    WebAnswer(200, {}, b"17"),
    WebAnswer(200, {}, b"[" * 100_000),
]


@pytest.mark.parametrize(
    "trouble", TROUBLES, ids=lambda trouble: str(getattr(trouble, "body", trouble))[:12]
)
async def test_the_last_good_copy_stands_in(trouble: WebAnswer | WebError) -> None:
    """Whatever goes wrong with a known document, builds of known versions go on."""
    downloads = Downloads(ok(), trouble)
    await downloads.read()
    downloads.now += TTL

    assert [await downloads.read(), await downloads.read()] == [DOCUMENT] * 2
    assert len(downloads.client.asked) == 2, "a server that just failed is left alone"


@pytest.mark.parametrize(
    "trouble", [trouble for trouble in TROUBLES if getattr(trouble, "status", None) != 404]
)
async def test_without_a_copy_the_server_is_unreachable(trouble: WebAnswer | WebError) -> None:
    """Nobody is blamed, and the server is left alone for a while."""
    downloads = Downloads(trouble)

    for _ in range(2):
        with pytest.raises(DocumentUnavailableError):
            await downloads.read()
    assert len(downloads.client.asked) == 1


async def test_it_recovers_by_itself() -> None:
    """A while after a failure the server is asked again."""
    downloads = Downloads(WebError("down"), ok())
    with pytest.raises(DocumentUnavailableError):
        await downloads.read()
    downloads.now += PAUSE

    assert await downloads.read() == DOCUMENT


async def test_a_missing_document_is_told_from_a_failure() -> None:
    """404 says that there is no such thing (yet); it is asked for again after a while."""
    downloads = Downloads(WebAnswer(404, {}, b""), ok())
    for _ in range(2):
        with pytest.raises(DocumentMissingError):
            await downloads.read()
    downloads.now += MISSING_SECONDS

    assert await downloads.read() == DOCUMENT
    assert len(downloads.client.asked) == 2


async def test_documents_are_kept_apart() -> None:
    """Trouble with one document is no trouble with another."""
    downloads = Downloads(WebError("down"), ok())
    with pytest.raises(DocumentUnavailableError):
        await downloads.read("one")

    assert await downloads.read("other") == DOCUMENT


async def test_the_cache_is_bounded() -> None:
    """Somebody who asks for every target of every release does not fill the memory."""
    downloads = Downloads(ok())
    for number in range(MAX_COPIES + 1):
        await downloads.read(str(number))
    await downloads.read(str(MAX_COPIES))
    asked = len(downloads.client.asked)

    await downloads.read("0")

    assert (asked, len(downloads.client.asked)) == (MAX_COPIES + 1, MAX_COPIES + 2)


async def test_a_stale_copy_is_not_held_back_for_long() -> None:
    """While a slow server is asked for a newer copy, the old one is answered; who comes later in
    the exchange does not wait at all.
    """
    downloads = Downloads(ok(), ok({"stable_version": "24.10.5"}))
    await downloads.read()
    downloads.now += TTL
    downloads.client.open.clear()

    assert await downloads.read() == DOCUMENT
    assert [await at_once(downloads.read()) for _ in range(20)] == [DOCUMENT] * 20
    assert len(downloads.client.asked) == 2
    downloads.client.open.set()
    async with asyncio.timeout(60):
        while (answer := await downloads.read()) == DOCUMENT:  # noqa: ASYNC110  # It ends by itself.
            await asyncio.sleep(0)
    assert answer == {"stable_version": "24.10.5"}


async def test_what_was_missing_is_not_waited_for_either() -> None:
    """Branches without a snapshot are looked at for each overview; a slow or broken server makes
    them no more there.
    """
    downloads = Downloads(WebAnswer(404, {}, b""), WebError("down"))
    with pytest.raises(DocumentMissingError):
        await downloads.read()
    downloads.now += MISSING_SECONDS
    downloads.client.open.clear()

    with pytest.raises(DocumentMissingError):
        await downloads.read()
    with pytest.raises(DocumentMissingError):
        await at_once(downloads.read())
    downloads.client.open.set()
    for _ in range(50):  # The exchange ends meanwhile.
        with pytest.raises(DocumentMissingError):
            await downloads.read()
        await asyncio.sleep(0)


async def test_who_goes_away_does_not_end_the_exchange() -> None:
    """A client that closes its connection costs the others nothing."""
    downloads = Downloads(ok())
    downloads.client.open.clear()
    first, second = (asyncio.create_task(downloads.read()) for _ in range(2))
    while not downloads.client.asked:  # noqa: ASYNC110  # The client has no event for it.
        await asyncio.sleep(0)
    first.cancel()
    downloads.client.open.set()

    assert await second == DOCUMENT
    assert len(downloads.client.asked) == 1


async def test_a_server_that_is_gone_is_left_alone_as_a_whole() -> None:
    """After some failures in a row other documents are spared the wait, for a while."""
    downloads = Downloads(*[WebConnectError("gone")] * FAILED_CONNECTIONS, ok())
    for path in map(str, range(2 * FAILED_CONNECTIONS)):
        with pytest.raises(DocumentUnavailableError):
            await downloads.read(path)
    assert len(downloads.client.asked) == FAILED_CONNECTIONS
    downloads.now += PAUSE

    assert await downloads.read("other") == DOCUMENT


@pytest.mark.parametrize("answer", [ok(), WebAnswer(404, {}, b""), WebAnswer(500, {}, b"")])
async def test_a_connection_that_fails_now_and_then_closes_nothing(answer: WebAnswer) -> None:
    """As long as the server answers anything between two failures, all documents are asked for."""
    lost = WebConnectError("ConnectTimeout")
    downloads = Downloads(*(lost if number % 3 else answer for number in range(1, 16)))
    for number in range(15):
        with contextlib.suppress(DocumentMissingError, DocumentUnavailableError):
            await downloads.read(str(number))

    assert len(downloads.client.asked) == 15


async def test_invented_names_displace_no_copy() -> None:
    """Thousands of documents that do not exist leave the copies where they are, and are themselves
    bounded.
    """
    downloads = Downloads(ok(), WebAnswer(404, {}, b""))
    await downloads.read()
    for number in range(MAX_ABSENCES + 1):
        with pytest.raises(DocumentMissingError):
            await downloads.read(str(number))
    asked = len(downloads.client.asked)

    assert await downloads.read() == DOCUMENT
    assert len(downloads.client.asked) == asked
    with pytest.raises(DocumentMissingError):
        await downloads.read("0")
    assert len(downloads.client.asked) == asked + 1, "what was noted first made room"


async def test_exchanges_at_a_time_are_bounded() -> None:
    """A slow server and many invented names cannot pile up exchanges; leaving ends those under
    way.
    """
    downloads = Downloads(ok())
    downloads.client.open.clear()
    async with downloads.server:
        readers = [
            asyncio.create_task(downloads.read(str(number))) for number in range(2 * MAX_FLIGHTS)
        ]
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(downloads.client.asked) == MAX_FLIGHTS
    outcomes = await asyncio.gather(*readers, return_exceptions=True)

    assert {type(outcome) for outcome in outcomes} == {DocumentUnavailableError}


async def test_a_large_document_is_read_in_a_thread() -> None:
    """Polls are answered meanwhile."""
    downloads = Downloads(WebAnswer(200, {}, b"x" * (LARGE + 1)), WebAnswer(200, {}, b"x"))
    threads = [
        await downloads.server.read(path, lambda _: threading.current_thread())
        for path in ("large", "small")
    ]

    assert [thread is threading.current_thread() for thread in threads] == [False, True]


async def test_a_validator_that_cannot_be_sent_back_is_left_out() -> None:
    """Else the copy could never be revalidated."""
    downloads = Downloads(ok(etag='"\u2026"', **{"last-modified": "Mon"}))
    await downloads.read()
    downloads.now += TTL
    await downloads.read()

    assert downloads.client.asked[1][1] == {"If-Modified-Since": "Mon"}


async def test_what_the_server_sent_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A reader's message may hold it; the kind of the error is enough."""
    downloads = Downloads(WebAnswer(200, {}, b"secret words"))
    with pytest.raises(DocumentUnavailableError):
        await downloads.read("evil\nname.json")

    assert caplog.messages == [
        "upstream document 'evil\\nname.json': broken (JSONDecodeError) (no copy)"
    ]


async def test_the_age_of_the_oldest_copy() -> None:
    """Operators see how long ago the metadata were last confirmed."""
    downloads = Downloads(ok(), ok(), WebAnswer(304, {}, b""))
    assert downloads.server.oldest() == 0
    await downloads.read("one")
    downloads.now += 50
    await downloads.read("other")
    downloads.now += TTL - 50

    assert downloads.server.oldest() == TTL
    await downloads.read("one")
    assert downloads.server.oldest() == TTL - 50


async def test_each_exchange_is_told_with_its_outcome() -> None:
    """Once each, whether a copy stands in or not; what is answered from memory is no exchange."""
    downloads = Downloads(
        ok(etag='"1"'), WebAnswer(304, {}, b""), WebError("away"), WebAnswer(404, {}, b"")
    )
    await downloads.read()
    await downloads.read()
    for _ in range(2):
        downloads.now += TTL
        await downloads.read()
    with pytest.raises(DocumentMissingError):
        await downloads.read("another")

    assert downloads.outcomes == ["fresh", "not_modified", "failed", "missing"]
