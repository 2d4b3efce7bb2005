"""What an API leaves on disk of the downloads server's documents, and what the next one makes of
it.
"""

import asyncio
import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from asu.resolution import DocumentMissingError, DocumentUnavailableError
from asu.upstream.downloads_server import DownloadsServer
from asu.upstream.http_client import WebAnswer, WebConnectError, WebError
from asu.upstream.last_good import MAX_AGE, LastGood
from tests.unit.test_upstream import DOCUMENT, TTL, ScriptedClient, ok

pytestmark = pytest.mark.anyio

URL = "https://downloads.example.org"
AWAY = WebConnectError("gone")


class Life:
    """One life of an API's cache; what it leaves behind is in `directory`."""

    def __init__(
        self, directory: Path, *answers: WebAnswer | WebError, url: str = URL, ttl: float = TTL
    ) -> None:
        self.client = ScriptedClient(*answers)
        self.readings = 0
        self.server = DownloadsServer(
            self.client, url=url, ttl=ttl, last_good=LastGood(directory, url)
        )

    async def read(self, path: str = ".versions.json", *, times: int = 1) -> Any:
        """Return a document as it is, asked for so often at once, and end this life."""
        async with self.server:
            documents = await asyncio.gather(
                *(self.server.read(path, self._read) for _ in range(times))
            )
        assert all(document == documents[0] for document in documents)
        return documents[0]

    def _read(self, raw: bytes) -> dict[str, Any]:
        self.readings += 1
        return dict(json.loads(raw))


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Return where documents are left."""
    return tmp_path / "documents"


def age_by(disk: Path, seconds: float) -> None:
    """Let time pass for all that was left."""
    for file in files(disk):
        os.utime(file, times=(file.stat().st_mtime - seconds,) * 2)


def files(disk: Path) -> list[Path]:
    """Return what was left."""
    return list(disk.iterdir()) if disk.is_dir() else []


def spoil(disk: Path, start: bytes, end: int) -> None:
    """Put something before all that was left, and cut it off."""
    for file in files(disk):
        file.write_bytes((start + file.read_bytes())[:end])


async def test_a_document_outlives_the_process(disk: Path) -> None:
    """An API that is restarted while the server is away knows what the last one knew, however old
    within a week.
    """
    await Life(disk, ok()).read()
    age_by(disk, MAX_AGE - 100)

    assert await Life(disk, AWAY).read() == DOCUMENT


async def test_all_who_ask_share_one_reading(disk: Path) -> None:
    """After a restart on release day thousands ask for the same document at once."""
    await Life(disk, ok()).read()
    age_by(disk, TTL)
    life = Life(disk, AWAY)
    await life.read(times=50)

    assert (life.readings, len(life.client.asked)) == (1, 1)


async def test_a_reading_of_its_own_has_the_same_document(disk: Path) -> None:
    """A fragment names a reading; the document on the server is the same, and so on disk."""
    await Life(disk, ok()).read("profiles.json")

    assert await Life(disk, AWAY).read("profiles.json#whole") == DOCUMENT


async def test_the_server_is_asked_whether_it_is_current(disk: Path) -> None:
    """If so, it is as good as new, for the processes to come as well; it has not to be sent
    again.
    """
    await Life(disk, ok(etag='"a"')).read()
    age_by(disk, MAX_AGE - 100)
    life = Life(disk, WebAnswer(304, {}, b""))

    assert await life.read() == DOCUMENT
    assert [headers for _, headers in life.client.asked] == [{"If-None-Match": '"a"'}]
    life = Life(disk, AWAY)
    assert await life.read() == DOCUMENT
    assert life.client.asked == [], "within its time of life it need not be asked for"


async def test_a_newer_document_takes_its_place(disk: Path) -> None:
    """A server that is well tells the news before anybody sees what is old."""
    await Life(disk, ok()).read()
    age_by(disk, TTL)

    assert await Life(disk, ok({"stable_version": "24.10.5"})).read() == {
        "stable_version": "24.10.5"
    }
    assert await Life(disk, AWAY).read() == {"stable_version": "24.10.5"}


async def test_its_age_is_told(disk: Path) -> None:
    """Operators see how old the metadata are that stand in."""
    await Life(disk, ok()).read()
    age_by(disk, 5000)
    life = Life(disk, AWAY)
    await life.server.read(".versions.json", bytes)

    assert life.server.oldest() == pytest.approx(5000, abs=60)


async def test_what_is_not_there_any_more_is_forgotten(disk: Path) -> None:
    """A snapshot that was taken down is missing, as it would be for a process that never knew
    it.
    """
    await Life(disk, ok()).read()
    age_by(disk, TTL)
    with pytest.raises(DocumentMissingError):
        await Life(disk, WebAnswer(404, {}, b"")).read()

    with pytest.raises(DocumentUnavailableError):
        await Life(disk, AWAY).read()


@pytest.mark.parametrize("seconds", [MAX_AGE, 10 * MAX_AGE])
async def test_what_was_not_confirmed_for_a_week_is_not_used(disk: Path, seconds: float) -> None:
    """Too much may have changed."""
    await Life(disk, ok()).read()
    age_by(disk, seconds)

    with pytest.raises(DocumentUnavailableError):
        await Life(disk, AWAY).read()


async def test_another_server_s_document_is_not_used(disk: Path) -> None:
    """Operators may turn to another one."""
    await Life(disk, ok()).read()

    with pytest.raises(DocumentUnavailableError):
        await Life(disk, AWAY, url="https://mirror.example.org").read()


@pytest.mark.parametrize(
    ("start", "end"),
    [
        pytest.param(b"", 0, id="empty"),
        pytest.param(b"", 30, id="only its start"),
        pytest.param(b"", -1, id="without its last byte"),
        pytest.param(b"\x80\x04.", 10_000, id="a pickle before it"),
        pytest.param(gzip.compress(b"[]\n{}"), -1, id="another gzip before it"),
        pytest.param(gzip.compress(b"[]\n{}"), 26, id="another gzip instead"),
    ],
)
async def test_a_broken_file_is_passed_over(disk: Path, start: bytes, end: int) -> None:
    """A disk that was full, or a machine that lost its power, costs a copy and nothing else."""
    await Life(disk, ok()).read()
    spoil(disk, start, end)
    with pytest.raises(DocumentUnavailableError):
        await Life(disk, AWAY).read()

    assert await Life(disk, ok()).read() == DOCUMENT
    assert await Life(disk, AWAY).read() == DOCUMENT


async def test_without_a_disk_the_server_is_asked_as_ever(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing depends on it; the operator is told."""
    assert await Life(tmp_path / "none" / "documents", ok()).read() == DOCUMENT
    assert "cannot be kept on disk (No such file or directory)" in caplog.text


async def test_the_space_is_bounded(disk: Path) -> None:
    """What was written or confirmed longest ago goes first."""
    kept = LastGood(disk, URL, max_total=50_000)
    for number in range(10):
        age_by(disk, 10)
        await kept.keep(f"{number}", os.urandom(20_000), {})
        if number == 8:
            await kept.confirm("7", {})

    assert [number for number in range(10) if await kept.find(f"{number}")] == [7, 9]
    assert len(files(disk)) == 2
