"""A disk that hangs, as a network disk does; pipes that nobody writes to stand in for its files."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from asu.disk_space import Disk
from asu.upstream.last_good import MAX_WRITES, LastGood
from tests.unit.test_last_good import URL, files

pytestmark = pytest.mark.anyio

MANY = 40  # More than the threads that asyncio has for all.
SCRIPT = """
import asyncio, pathlib, sys
from asu.upstream.last_good import LastGood
print(asyncio.run(LastGood(pathlib.Path(sys.argv[1]), sys.argv[2]).find("0")))
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return where documents are left; what hangs there goes on in the end."""
    directory = tmp_path / "documents"
    yield directory
    release(directory)


async def hang(disk: Path, number: int) -> None:
    """Leave so many documents, none of which can be read."""
    kept = LastGood(disk, URL)
    for name in range(number):
        await kept.keep(f"{name}", b"{}", {})
    for file in files(disk):
        file.unlink()
        os.mkfifo(file)


def release(disk: Path) -> None:
    """Let all go on that reads from a pipe; what it reads is no document."""
    for file in files(disk):
        with suppress(OSError):
            os.close(os.open(file, os.O_WRONLY | os.O_NONBLOCK))
        if file.is_fifo():
            file.unlink()


def count(disk: Path) -> int:
    """Return how many documents there are."""
    return sum(file.is_file() for file in files(disk))


class HangingPath(type(Path())):  # type: ignore[misc]
    """A path that whoever uses it waits for."""

    let_go = threading.Event()

    def __fspath__(self) -> str:
        """See PathLike."""
        self.let_go.wait()
        return str(self)


async def expect_threads() -> None:
    """Return if there are threads for others: what puts builds in line takes one."""
    async with asyncio.timeout(10):
        assert await asyncio.to_thread(int) == 0


async def test_what_hangs_takes_no_thread_from_others(disk: Path) -> None:
    """Nor does what is told to such a disk meanwhile."""
    await hang(disk, MANY)
    kept = LastGood(disk, URL)

    async def tell(name: str) -> None:
        await kept.keep(name, b"{}", {})
        await kept.confirm(name, {})
        await kept.forget(name)

    telling = [asyncio.create_task(tell(f"new {name}")) for name in range(MANY)]
    finding = [asyncio.create_task(kept.find(f"{name}")) for name in range(MANY)]
    await asyncio.wait(finding)
    try:
        await expect_threads()
    finally:
        while not all(task.done() for task in telling + finding):
            release(disk)
            await asyncio.sleep(0.01)


async def test_a_disk_whose_room_is_not_told_takes_no_thread_from_others(tmp_path: Path) -> None:
    """Polls of an operator's monitoring ask for it every few seconds."""
    path = HangingPath(tmp_path)
    disk = Disk(path, patience=0.01)
    try:
        assert [await disk.free() for _ in range(MANY)] == [None] * MANY
        await expect_threads()
    finally:
        HangingPath.let_go.set()
    async with asyncio.timeout(10):
        while await disk.free() is None:  # noqa: ASYNC110  # It is asked again.
            await asyncio.sleep(0.01)


async def test_what_waits_to_be_written_is_bounded(disk: Path) -> None:
    """Each document is held in memory meanwhile."""
    await hang(disk, 1)
    kept = LastGood(disk, URL)
    finding = asyncio.create_task(kept.find("0"))
    await asyncio.sleep(0.1)
    keeping = [asyncio.create_task(kept.keep(f"{name}", b"{}", {})) for name in range(1, MANY)]
    await asyncio.sleep(0.1)
    release(disk)
    await asyncio.wait([finding, *keeping])

    assert count(disk) == MAX_WRITES


async def test_a_disk_that_is_slow_is_not_taken_for_one_that_hangs(disk: Path) -> None:
    """After a restart many documents are looked for at once, and the last one waits for all
    others.
    """
    kept = LastGood(disk, URL)
    for name in range(MANY):
        await kept.keep(f"{name}", b"{}", {})
    for file in files(disk):
        content = file.read_bytes()
        file.unlink()
        os.mkfifo(file)
        threading.Thread(target=_write_slowly, args=(file, content), daemon=True).start()

    found = await asyncio.gather(*(kept.find(f"{name}") for name in range(MANY)))

    assert all(document is not None for document in found)


def _write_slowly(file: Path, content: bytes) -> None:
    """Give out what was in a file some time after it is opened."""
    number = os.open(file, os.O_WRONLY)
    time.sleep(0.05)
    os.write(number, content)
    os.close(number)


async def test_what_hangs_keeps_no_process_from_ending(disk: Path) -> None:
    """An API that is to end would be killed in the end, with all that it had under way."""
    await hang(disk, 1)

    ended = subprocess.run(  # noqa: ASYNC221
        [sys.executable, "-c", SCRIPT, str(disk), URL],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ended.stdout, ended.returncode) == ("None\n", 0), ended.stderr
