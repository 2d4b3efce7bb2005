"""Copying a large result out of its container: the memory that a worker needs, and the speed.

The result comes as the tar stream that podman sends, in pieces as podman-py hands them on; the
integration tests copy one out of a real container.
"""

from __future__ import annotations

import re
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from asu.stores.local import LocalStore
from asu.stores.store import Store
from asu.worker.copying import copy_out
from misc.bench.report import Row, Section, at_most

TITLE = "copying a result of 1 GiB out of a container"
MIB = 1024 * 1024
SIZE = 1024  # MiB.
GROWTH = 64  # MiB; the bar.
KEY = "c0" * 32


def measure() -> Section:
    """Copy out, hash and publish as a worker does, in this process."""
    with tempfile.TemporaryDirectory(prefix="asu-bench-") as directory:
        store = LocalStore(Path(directory))
        store.open()
        before, began = start_watching(), time.monotonic()
        copied = _copy(store)
        published = time.monotonic()
        growth = peak() - before
    rows = [
        at_most("growth of resident memory, at its peak", growth, GROWTH, "MiB"),
        Row(what="copied and hashed", value=SIZE / (copied - began), unit="MiB/s", digits=0),
        Row(what="hashed once more and published", value=published - copied, unit="s", digits=2),
    ]
    return Section(
        title=TITLE,
        rows=rows,
        notes=["the stream is made in the same process, which takes a part of the time"],
    )


def start_watching() -> float:
    """Forget the peak of this process's resident memory, and return what it is now, in MiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return _mib("VmRSS")


def peak() -> float:
    """Return the peak of this process's resident memory since then, in MiB."""
    return _mib("VmHWM")


def _mib(name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found  # noqa: S101 - The kernel has it for every process.
    return int(found[1]) / 1024


def _copy(store: Store) -> float:
    """Copy the result into the store and return when it was out of the container."""
    place = store.workplace(KEY)
    copy_out(_stream(), place, max_bytes=2 * SIZE * MIB)
    copied = time.monotonic()
    store.publish(KEY, place, 60)
    return copied


def _stream() -> Iterator[bytes]:
    """Yield a tar stream with one large file."""
    member = tarfile.TarInfo(f"{KEY}/image.bin")
    member.size = SIZE * MIB
    yield member.tobuf()
    for number in range(SIZE):
        yield number.to_bytes(2, "big") * (MIB // 2)
    yield bytes(2 * tarfile.BLOCKSIZE)
