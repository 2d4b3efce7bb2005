"""What a finished ImageBuilder leaves: what is copied out of its container, and what is read from
it.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import tarfile
import tracemalloc
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asu.errors import BuildDisrupted, BuildFailed, DiskFull, OutputTooLarge, StoreFailed
from asu.worker.copying import MAX_FILES, MAX_MEMBERS, copy_out
from asu.worker.profiles_json import offered, read_profiles
from tests.twins.memory_container import regular

if TYPE_CHECKING:
    from collections.abc import Iterator


def archive(members: list[tuple[tarfile.TarInfo, bytes]]) -> Iterator[bytes]:
    """Return a tar stream in small pieces."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for member, content in members:
            tar.addfile(member, io.BytesIO(content))
    data = buffer.getvalue()
    return iter([data[start : start + 700] for start in range(0, len(data), 700)])


def written(size: int, name: str, kind: bytes = tarfile.REGTYPE) -> bytes:
    """Return a header that a sound program would not write."""
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


def sparse(real_size: int) -> bytes:
    """Return a member of GNU's old kind of sparse files: one byte, and a hole of `real_size` before
    it.
    """
    header = bytearray(written(512, "out/holes", tarfile.GNUTYPE_SPARSE))
    header[386:398], header[398:410] = b"%011o\0" % (real_size - 1), b"%011o\0" % 1
    header[483:495] = b"%011o\0" % real_size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + b"x".ljust(512, b"\0")


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    """Return a member that is no regular file."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


def plain(name: str, content: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    """Return a regular file."""
    return regular(name, content), content


def test_images_are_copied_with_their_hashes(tmp_path: Path) -> None:
    """Regular files arrive as they are, and their SHA-256 is that of the bytes that were
    written.
    """
    content = bytes(range(256)) * 30

    hashes = copy_out(
        archive([special("out", tarfile.DIRTYPE), plain("out/image.bin", content)]),
        tmp_path,
        max_bytes=10_000,
    )

    assert hashes == {"image.bin": hashlib.sha256(content).hexdigest()}
    assert (tmp_path / "image.bin").read_bytes() == content


@pytest.mark.parametrize(
    "member",
    [
        special("out/link", tarfile.SYMTYPE, "/etc/passwd"),
        special("out/hard", tarfile.LNKTYPE, "out/image.bin"),
        special("out/null", tarfile.CHRTYPE),
        special("out/disk", tarfile.BLKTYPE),
        special("out/pipe", tarfile.FIFOTYPE),
        special("out/directory", tarfile.DIRTYPE),
        plain("out/deeper/file"),
        plain("out/../../escape"),
        plain("/absolute/file"),
        plain("out/.hidden"),
        plain("out/two words"),
        plain("out/new\nline"),
        plain("out/ünï"),
        plain("out/" + "n" * 256),
    ],
    ids=lambda member: repr(member[0].name[:24]),
)
def test_what_is_no_plain_image_stays_in_the_container(
    member: tuple[tarfile.TarInfo, bytes], tmp_path: Path
) -> None:
    """Links, devices, paths and odd names are not taken over; the images beside them are."""
    directory = tmp_path / "in" / "side"
    directory.mkdir(parents=True)

    hashes = copy_out(archive([plain("out/image.bin"), member]), directory, max_bytes=1_000)

    assert list(hashes) == ["image.bin"]
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == [directory / "image.bin"]


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize(
    "name",
    [
        "out/" + "d/" * 200 + "deep",
        "/" * 150 + "absolute",
        "../" * 60 + "escape",
        "out/" + "n" * 300,
    ],
)
def test_long_names_are_no_way_around(kind: int, name: str, tmp_path: Path) -> None:
    """A name that has a record of its own before its file is held to the same rules."""
    directory = tmp_path / "in" / "side"
    directory.mkdir(parents=True)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as tar:
        tar.addfile(regular(name, b"x"), io.BytesIO(b"x"))

    assert copy_out(iter([buffer.getvalue()]), directory, max_bytes=1_000) == {}
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_records_about_a_file_are_no_way_around(tmp_path: Path) -> None:
    """PAX records may give a harmless header another name, also those for all files that follow."""
    buffer = io.BytesIO()
    member = regular("out/image.bin", b"x")
    member.pax_headers = {"path": "out/../../escape"}
    with tarfile.open(
        fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"linkpath": "/etc/passwd"}
    ) as tar:
        tar.addfile(member, io.BytesIO(b"x"))

    assert copy_out(iter([buffer.getvalue()]), tmp_path, max_bytes=1_000) == {}


def test_a_file_with_holes_is_passed_over(tmp_path: Path) -> None:
    """What says that it is longer than it is, is none of an ImageBuilder's."""
    assert copy_out(iter([sparse(4_096) + bytes(1024)]), tmp_path, max_bytes=10_000) == {}


def test_holes_count_as_much_as_they_pretend(tmp_path: Path) -> None:
    """A terabyte that takes no room in the archive is a terabyte."""
    with pytest.raises(OutputTooLarge, match="more than this server takes of one"):
        copy_out(iter([sparse(2**30) + bytes(1024)]), tmp_path, max_bytes=10_000)


def test_a_negative_size_makes_no_room(tmp_path: Path) -> None:
    """Such a header would give back what others have used up."""
    with pytest.raises(StoreFailed):
        copy_out(iter([written(-1_000_000, "out/a") + bytes(1024)]), tmp_path, max_bytes=10)


def test_what_is_passed_over_counts_too(tmp_path: Path) -> None:
    """A huge file of an odd name would be read to its end, and thrown away."""
    with pytest.raises(OutputTooLarge, match="more than this server takes of one"):
        copy_out(
            archive([plain("out/.hidden", b"x" * 600), plain("out/a", b"x" * 600)]),
            tmp_path,
            max_bytes=1_000,
        )


def test_too_many_names_are_refused_whatever_they_are(tmp_path: Path) -> None:
    """Each directory of an archive is remembered while it is read; a million of them would fill our
    memory.
    """
    with pytest.raises(OutputTooLarge, match="more than this server takes of one"):
        copy_out(
            archive(
                [special(f"out/{number}", tarfile.DIRTYPE) for number in range(MAX_MEMBERS + 1)]
            ),
            tmp_path,
            max_bytes=1_000,
        )


@given(st.lists(st.tuples(st.integers(0, 4095), st.integers(0, 255)), min_size=1, max_size=8))
@settings(max_examples=60)
def test_a_damaged_archive_is_a_failure_at_worst(changes: list[tuple[int, int]]) -> None:
    """Whatever the bytes are, they end as files in the directory or as a failure of ours, never as
    an error that nobody thought of.
    """
    data = bytearray(
        b"".join(
            archive(
                [
                    plain("out/" + "n" * 120),
                    special("out/link", tarfile.SYMTYPE, "/etc"),
                    plain("out/b"),
                ]
            )
        )
    )
    for place, value in changes:
        data[place] = value

    with TemporaryDirectory() as directory, suppress(StoreFailed, OutputTooLarge):
        copy_out(iter([bytes(data)]), Path(directory), max_bytes=100_000)
        found = list(Path(directory).rglob("*"))
        assert all(file.is_file() and not file.is_symlink() for file in found)


def test_a_large_file_takes_little_memory(tmp_path: Path) -> None:
    """Images are written as they come; what is held at once is a few pieces, whatever the size of
    all.
    """
    piece = bytes(1024 * 1024)

    def stream() -> Iterator[bytes]:
        yield written(64 * len(piece), "out/image.bin")
        yield from (piece for _ in range(64))
        yield bytes(1024)

    tracemalloc.start()
    try:
        copy_out(stream(), tmp_path, max_bytes=2**31)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 16 * len(piece)


def test_a_name_that_comes_twice_keeps_its_first_content(tmp_path: Path) -> None:
    """A second file of the same name changes nothing."""
    copy_out(
        archive([plain("out/a", b"first"), plain("out/a", b"second")]), tmp_path, max_bytes=1_000
    )

    assert (tmp_path / "a").read_bytes() == b"first"


def test_too_many_bytes_are_refused(tmp_path: Path) -> None:
    """The bound holds for all files together."""
    with pytest.raises(OutputTooLarge, match="more than this server takes of one"):
        copy_out(
            archive([plain("out/a", b"x" * 600), plain("out/b", b"x" * 600)]),
            tmp_path,
            max_bytes=1_000,
        )


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    """A build leaves some dozens of files; thousands would only fill the disk's inodes."""
    with pytest.raises(OutputTooLarge, match="more than this server takes of one"):
        copy_out(
            archive([plain(f"out/{number}") for number in range(MAX_FILES + 1)]),
            tmp_path,
            max_bytes=10_000,
        )


def test_a_stream_that_breaks_off_is_a_failure(tmp_path: Path) -> None:
    """Half an image is none."""
    pieces = list(archive([plain("out/a", b"x" * 5_000)]))

    with pytest.raises(StoreFailed, match="could not be copied"):
        copy_out(iter(pieces[:4]), tmp_path, max_bytes=10_000)


def profiles(directory: Path, content: str) -> dict[str, str]:
    """Write a profiles.json and return it as copied."""
    (directory / "profiles.json").write_text(content)
    return {"profiles.json": "0" * 64}


def test_images_must_be_the_ones_that_were_made(tmp_path: Path) -> None:
    """An image whose bytes changed on the way is our trouble, and is not published."""
    hashes = profiles(
        tmp_path,
        json.dumps({"profiles": {"a": {"images": [{"name": "a.bin", "sha256": "1" * 64}]}}}),
    )

    with pytest.raises(BuildDisrupted, match=r"a\.bin was changed"):
        read_profiles(tmp_path, {**hashes, "a.bin": "2" * 64})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"profiles": {"a": {"images": [{}]}}}', "cannot be read"),
        ('{"profiles": {}}', "made no image"),
        ('{"profiles": {"a": {"images": []}}}', "made no image"),
    ],
)
def test_a_build_without_usable_images_has_failed(content: str, words: str, tmp_path: Path) -> None:
    """Neither a broken profiles.json nor one without images counts as a finished build."""
    with pytest.raises(BuildFailed, match=words):
        read_profiles(tmp_path, profiles(tmp_path, content))


def test_disk_images_of_an_archive_are_not_offered() -> None:
    """25.12.0 to 25.12.4 make images that start nothing; those that do, and artifacts without a
    file system, stay.
    """
    images = [
        {"name": "a", "filesystem": "targz"},
        {"name": "b", "filesystem": "squashfs"},
        {"name": "c"},
    ]

    assert [image["name"] for image in offered(images)] == ["b", "c"]


def test_a_build_with_nothing_to_start_from_is_a_failure() -> None:
    """Archives alone are no firmware."""
    with pytest.raises(BuildFailed, match="it made no image"):
        offered([{"name": "a", "filesystem": "targz"}])


def test_the_reserve_of_the_disk_is_not_written_into(tmp_path: Path) -> None:
    """A file that would take of it is not begun."""
    with pytest.raises(DiskFull):
        copy_out(archive([plain("out/image.bin")]), tmp_path, max_bytes=1_000, reserve_mb=1024**3)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_says_that_it_is_full_is_told_as_such(tmp_path: Path) -> None:
    """Others may fill it between the question and the write, or a quota may know less room than the
    disk.
    """

    def pieces() -> Iterator[bytes]:
        yield next(archive([plain("out/image.bin")]))
        raise OSError(errno.EDQUOT, "quota exceeded")

    with pytest.raises(DiskFull):
        copy_out(pieces(), tmp_path, max_bytes=1_000)
