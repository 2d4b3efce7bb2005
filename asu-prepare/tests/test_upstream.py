"""The cache of documents, with a server in memory: freshness, waiting, failures, bounds."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from asu_prepare import upstream
from asu_prepare.resolution import DocumentMissingError, DocumentUnavailableError
from asu_prepare.upstream import (
    FAILED_CONNECTIONS,
    MISSING_SECONDS,
    PAUSE,
    DownloadsServer,
    patience,
)
from asu_prepare.web_client import ConnectError, Fetched, FetchError, WebClient

TTL = 300.0


class ScriptedServer(WebClient):
    """A server whose next answers are given; it notes what it was asked."""

    def __init__(self) -> None:
        self.answers: list[Fetched | FetchError] = []
        self.asked: list[tuple[str, Mapping[str, str]]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.closed = False

    async def get(
        self, url: str, *, validators: Mapping[str, str], max_bytes: int, deadline: float
    ) -> Fetched:
        """Answer with what comes next, and with the last again once there is nothing more."""
        del max_bytes, deadline
        self.asked.append((url, validators))
        await self.open.wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, FetchError):
            raise answer
        return answer

    async def close(self) -> None:
        """Note it."""
        self.closed = True


class World:
    """A cache before a scripted server, with a clock that only the test moves."""

    def __init__(self, *answers: Fetched | FetchError) -> None:
        self.server = ScriptedServer()
        self.server.answers = list(answers)
        self.now = 1_000.0
        self.outcomes: list[str] = []
        self.documents = DownloadsServer(
            self.server,
            url="http://downloads/",
            ttl=TTL,
            clock=lambda: self.now,
            answered=self.outcomes.append,
        )

    async def read(self, path: str = "a.json") -> Any:
        """Read a document."""
        return await self.documents.read(path, json.loads)


def good(value: Any, etag: str = '"1"') -> Fetched:
    """Return a good answer."""
    return Fetched(200, {"If-None-Match": etag}, json.dumps(value).encode())


@pytest.mark.parametrize("number", ["1e400", "-1e400", "NaN", "9" * 5000, "[" * 100_000])
def test_what_cannot_be_read_is_left_alone(number: str) -> None:
    """However often it is asked for, the server hears of it once."""

    async def check() -> None:
        world = World(Fetched(200, {}, number.encode()))
        for _ in range(3):
            with pytest.raises(DocumentUnavailableError):
                await world.documents.read("a.json", lambda raw: int(json.loads(raw)))
        assert (len(world.server.asked), world.outcomes) == (1, ["failed"])

    asyncio.run(check())


def test_a_fresh_copy_is_not_asked_for_again() -> None:
    """Within its time a document costs one exchange."""

    async def check() -> None:
        world = World(good({"a": 1}))
        assert [await world.read(), await world.read()] == [{"a": 1}] * 2
        assert [url for url, _ in world.server.asked] == ["http://downloads/a.json"]

    asyncio.run(check())


def test_a_stale_copy_is_revalidated() -> None:
    """The server is asked with the validators of the copy, and a 304 makes the very same value
    fresh again.
    """

    async def check() -> None:
        world = World(good([1]), Fetched(304, {}, b""))
        first = await world.read()
        world.now += TTL
        assert await world.read() is first
        assert world.server.asked[1][1] == {"If-None-Match": '"1"'}
        assert await world.read() is first
        assert len(world.server.asked) == 2

    asyncio.run(check())


def test_all_who_wait_share_one_exchange() -> None:
    """A hundred requests for one document are one for the server."""

    async def check() -> None:
        world = World(good(7))
        assert await asyncio.gather(*(world.read() for _ in range(100))) == [7] * 100
        assert len(world.server.asked) == 1

    asyncio.run(check())


@pytest.mark.parametrize(
    "answer",
    [
        Fetched(500, {}, b"{}"),
        Fetched(404, {}, b""),
        Fetched(302, {}, b""),
        Fetched(200, {}, b"<p>"),
        FetchError("late"),
    ],
    ids=["500", "404", "302", "garbage", "too late"],
)
def test_the_last_good_copy_stands_in(answer: Fetched | FetchError) -> None:
    """Whatever the server does, what was good a while ago is answered, and the server is left alone
    for a time.
    """

    async def check() -> None:
        world = World(good("old"), answer, good("new"))
        await world.read()
        world.now += TTL
        assert await world.read() == "old"
        world.now += PAUSE - 1
        assert await world.read() == "old"
        assert len(world.server.asked) == 2
        world.now += 1
        assert await world.read() == "new"

    asyncio.run(check())


def test_not_modified_without_a_copy_is_a_failure() -> None:
    """A server that says so to an unconditional request is wrong."""

    async def check() -> None:
        with pytest.raises(DocumentUnavailableError):
            await World(Fetched(304, {}, b"")).read()

    asyncio.run(check())


def test_without_a_copy_a_failure_is_unavailable() -> None:
    """And it is not asked for again at once."""

    async def check() -> None:
        world = World(Fetched(503, {}, b""), good(1))
        for _ in range(2):
            with pytest.raises(DocumentUnavailableError):
                await world.read()
        assert len(world.server.asked) == 1
        world.now += PAUSE
        assert await world.read() == 1

    asyncio.run(check())


def test_a_missing_document_is_remembered_for_a_while() -> None:
    """A 404 is an answer too, until the document may have been published."""

    async def check() -> None:
        world = World(Fetched(404, {}, b""), good(1))
        for _ in range(2):
            with pytest.raises(DocumentMissingError):
                await world.read()
        world.now += MISSING_SECONDS
        assert await world.read() == 1
        assert len(world.server.asked) == 2

    asyncio.run(check())


def test_a_server_that_is_gone_is_left_alone_as_a_whole() -> None:
    """After some failures in a row other documents are spared the wait, for a while."""

    async def check() -> None:
        world = World(*[ConnectError("ConnectError")] * FAILED_CONNECTIONS, good(1))
        for number in range(2 * FAILED_CONNECTIONS):
            with pytest.raises(DocumentUnavailableError):
                await world.read(str(number))
        assert len(world.server.asked) == FAILED_CONNECTIONS
        world.now += PAUSE
        assert await world.read("other") == 1

    asyncio.run(check())


@pytest.mark.parametrize("answer", [good(1), Fetched(404, {}, b""), Fetched(500, {}, b"")])
def test_a_connection_that_fails_now_and_then_closes_nothing(answer: Fetched) -> None:
    """As long as the server answers anything between two failures, all documents are asked for."""

    async def check() -> None:
        lost = ConnectError("ConnectTimeout")
        world = World(*(lost if number % 3 else answer for number in range(1, 16)))
        for number in range(15):
            with contextlib.suppress(DocumentMissingError, DocumentUnavailableError):
                await world.read(str(number))
        assert len(world.server.asked) == 15

    asyncio.run(check())


def test_a_request_waits_no_longer_than_its_patience() -> None:
    """The exchange goes on without it, and the next request has the document."""

    async def check() -> None:
        world = World(good("late"))
        world.server.open.clear()
        with patience(0.05), pytest.raises(DocumentUnavailableError):
            await world.read()
        with patience(0), pytest.raises(DocumentUnavailableError):
            await world.read()
        world.server.open.set()
        assert await world.read() == "late"
        assert len(world.server.asked) == 1

    asyncio.run(check())


def test_the_patience_is_for_all_documents_together() -> None:
    """Two documents, one after the other, do not get it twice."""

    async def check() -> None:
        world = World(good(1))
        world.server.open.clear()
        with patience(0.1):
            with pytest.raises(DocumentUnavailableError):
                await world.read("a.json")
            others = [asyncio.ensure_future(world.read(path)) for path in ("b.json", "c.json")]
            for _ in range(50):  # Turns of the event loop; none of them waits.
                await asyncio.sleep(0)
            assert [other.done() for other in others] == [True, True]
            for other in others:
                with pytest.raises(DocumentUnavailableError):
                    other.result()
        world.server.open.set()
        await world.documents.close()

    asyncio.run(check())


def test_a_stale_copy_is_not_held_back_for_long() -> None:
    """While a slow server is asked for a newer copy, the old one is answered."""

    async def check() -> None:
        world = World(good("old"), good("new"))
        await world.read()
        world.now += TTL
        world.server.open.clear()
        assert await world.read() == "old"
        world.server.open.set()
        assert await world.read() == "new"

    asyncio.run(check())


def test_invented_names_do_not_displace_what_exists() -> None:
    """Thousands of documents that do not exist leave the copies where they are."""

    async def check() -> None:
        world = World(good("kept"), Fetched(404, {}, b""))
        await world.read("real.json")
        for number in range(5_000):
            with pytest.raises(DocumentMissingError):
                await world.read(f"{number}.json")
        assert await world.read("real.json") == "kept"
        assert len(world.server.asked) == 5_001

    asyncio.run(check())


def test_the_least_recently_used_copy_goes_first() -> None:
    """The number of copies is bounded."""

    async def check() -> None:
        world = World(good(1))
        for number in range(upstream.MAX_COPIES + 1):
            await world.read(f"{number}.json")
            await world.read("0.json")
        asked = len(world.server.asked)
        await world.read("0.json")
        assert len(world.server.asked) == asked
        await world.read("1.json")
        assert len(world.server.asked) == asked + 1

    asyncio.run(check())


def test_too_many_exchanges_at_once_are_not_begun() -> None:
    """A slow server and many invented names cannot pile up exchanges."""

    async def check() -> None:
        world = World(good(1))
        world.server.open.clear()
        with patience(0.01):
            found = await asyncio.gather(
                *(world.read(f"{number}.json") for number in range(200)), return_exceptions=True
            )
        assert {type(error) for error in found} == {DocumentUnavailableError}
        assert len(world.server.asked) <= upstream.MAX_FLIGHTS
        await world.documents.close()
        assert world.server.closed

    asyncio.run(check())


def test_a_large_document_is_read_in_a_thread() -> None:
    """Other previews are answered meanwhile."""

    async def check() -> None:
        world = World(Fetched(200, {}, b"x" * (upstream.LARGE + 1)), Fetched(200, {}, b"x"))
        threads = [
            await world.documents.read(path, lambda _: threading.current_thread())
            for path in ("large", "small")
        ]
        assert [thread is threading.current_thread() for thread in threads] == [False, True]

    asyncio.run(check())


def test_the_age_of_the_oldest_copy_is_told() -> None:
    """Operators see how old the metadata is."""

    async def check() -> None:
        world = World(good(1))
        assert world.documents.age() == 0
        await world.read()
        world.now += 7
        assert world.documents.age() == 7

    asyncio.run(check())


def test_what_the_server_sent_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A reader's message may hold it; the kind of the error is enough."""

    async def check() -> None:
        world = World(Fetched(200, {}, b"secret words"))
        with pytest.raises(DocumentUnavailableError):
            await world.read("evil\nname.json")

    asyncio.run(check())

    assert "secret" not in caplog.text
    assert caplog.messages == [
        "document 'evil\\nname.json': not such a document (JSONDecodeError); there is no copy"
    ]


def test_each_exchange_is_told_with_its_outcome() -> None:
    """Once each, whether a copy stands in or not; what is answered from memory is no exchange."""

    async def check() -> None:
        world = World(good([1]), Fetched(304, {}, b""), FetchError("away"), Fetched(404, {}, b""))
        await world.read()
        await world.read()
        for _ in range(2):
            world.now += TTL
            await world.read()
        with pytest.raises(DocumentMissingError):
            await world.read("another.json")

        assert world.outcomes == ["fresh", "not_modified", "failed", "missing"]

    asyncio.run(check())
