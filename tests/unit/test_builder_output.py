"""What the ImageBuilder's output is taken to mean, for both package managers.

The fixtures are short texts in the form of genuine outputs, one for each way to fail.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asu.errors import AsuError, BuildFailed, ContainerFailed, DownloadFailed, ImageTooBig, ImpossibleSelection, StoreFailed, WrongPackageVersions
from asu.worker.builder_failures import failure, size_error
from asu.worker.builder_output import MAX_FILES, check_versions, copy_out, parse_manifest, read_profiles
from asu.worker.container import CommandResult
from asu.worker.memory_container import regular

if TYPE_CHECKING:
    from collections.abc import Iterator

FIXTURES = Path(__file__).parent / "fixtures" / "builder"
BASE_FEED = "packages/mips_24kc/base/"

SELECTIONS = {
    "opkg-unknown": "missing (no-such-a, no-such-b)",
    "opkg-missing-dependency": "missing (no-such-library)",
    "opkg-missing-dependency-deep": "missing (no-such-library)",
    "opkg-version": "other version needed (wants-new-curl needs curl (>= 99.0))",
    "opkg-conflict": "conflicts (wpad-openssl with wpad-basic-mbedtls)",
    "opkg-conflict-with-two": "conflicts (ip-full with ip-tiny, ip-full with ip-bridge-less)",
    "opkg-clash": "same file in two packages (/usr/bin/tool of second and first)",
    "opkg-wrong-architecture": "missing (built-for-another)",
    "opkg-several": "missing (no-such-a), conflicts (wpad-openssl with wpad-basic-mbedtls)",
    "apk-unknown": "missing (no-such-a, no-such-b)",
    "apk-missing-dependency": "missing (no-such-library)",
    "apk-version": "other version needed (wants-new-curl needs curl (>= 99.0))",
    "apk-conflict": "conflicts (wpad-basic-mbedtls with wpad-openssl)",
    "apk-provides": "conflicts (nftables-json with nftables-nojson, nftables-json with nftables-tiny)",
    "apk-clash": "same file in two packages (/usr/bin/tool of second and first)",
    "apk-wrong-architecture": "not made for this device (built-for-another)",
}

DOWNLOADS = {
    "opkg-package-404": "vim_9.1_mips_24kc.ipk;",
    "opkg-package-404-file": ": vim;",
    "opkg-checksum": ": vim;",
    "opkg-mirror-down": BASE_FEED + "Packages.gz;",
    "opkg-key-unknown": "does not answer as it should",
    "opkg-feed-missing-and-unknown": "luci/Packages.gz;",
    "apk-package-404": ": vim-9.1-r1;",
    "apk-checksum": ": vim-9.1-r1;",
    "apk-mirror-down": BASE_FEED + "packages.adb;",
    "apk-key-unknown": BASE_FEED + "packages.adb;",
}

OTHERS: dict[str, tuple[type[AsuError], str]] = {
    "image-postinst-opkg": (BuildFailed, "the installation script of kmod-odd failed"),
    "image-postinst-apk": (BuildFailed, "the installation script of kmod-odd failed"),
    "image-unknown-profile": (BuildFailed, "it has no profile nosuch"),
    "image-no-kernel": (BuildFailed, "it lacks 8dev_lima-kernel.bin"),
    "image-no-makefile": (BuildFailed, "it lacks info"),
    "image-prerequisites": (BuildFailed, "its container lacks a program"),
    "image-odd": (BuildFailed, "something quite unexpected"),
    "image-ext4": (ImageTooBig, "do not fit into the ext4"),
    "image-check-size": (ImageTooBig, "25427972 bytes, 9043972 more"),
    "image-killed": (ContainerFailed, "was killed"),
    "image-disk-full": (StoreFailed, "is full"),
}

SIZES = {
    "image-check-size": "8dev_carambola2-squashfs-sysupgrade.bin has 25427972 bytes, 9043972 more than",
    "image-check-size-colour": "8dev_carambola2-squashfs-sysupgrade.bin has 25427972 bytes, 9043972 more than",
    "image-check-size-alone": "has more than the 15728640 bytes",
    "image-mktplinkfw": "17501967 bytes more than",
    "image-tplink-safeloader": "more than the 12842208 bytes",
    "image-ext4": "do not fit into the ext4",
}


def text_of(name: str) -> str:
    """Return a fixture."""
    return (FIXTURES / f"{name}.txt").read_text()


def failed(name: str) -> AsuError:
    """Return what a fixture means."""
    return failure(CommandResult(2, "", text_of(name)))


@pytest.mark.parametrize(("name", "reason"), SELECTIONS.items())
def test_an_impossible_selection_is_explained_by_name(name: str, reason: str) -> None:
    """Each culprit is named, without version and without a package that is not to blame."""
    error = failed(name)

    assert isinstance(error, ImpossibleSelection)
    assert error.detail == f"Impossible package selection: {reason}"


@pytest.mark.parametrize(("name", "what"), DOWNLOADS.items())
def test_a_failed_download_is_never_the_users_fault(name: str, what: str) -> None:
    """A download that failed is told as such, whatever package errors follow from it."""
    error = failed(name)

    assert isinstance(error, DownloadFailed)
    assert error.fault == "upstream"
    assert what in error.detail


@pytest.mark.parametrize(("name", "expected", "words"), [(name, *rest) for name, rest in OTHERS.items()])
def test_other_failures_have_their_own_class(name: str, expected: type[AsuError], words: str) -> None:
    """Each way to fail has its class and says what happened."""
    error = failed(name)

    assert type(error) is expected
    assert words in error.detail


def test_every_fixture_is_expected_to_mean_something() -> None:
    """No fixture lies about unused."""
    assert {path.stem for path in FIXTURES.iterdir()} == {*SELECTIONS, *DOWNLOADS, *OTHERS, *SIZES}


@pytest.mark.parametrize(("name", "words"), SIZES.items())
def test_too_big_is_recognised_in_all_its_forms(name: str, words: str) -> None:
    """Each tool that finds an image too big is understood, with the size where it tells one."""
    error = size_error(text_of(name))

    assert error is not None
    assert words in error.detail


def test_a_profile_that_is_not_there_is_told_on_standard_output() -> None:
    """The builder complains about the profile on stdout; stderr has nothing but make's own lines."""
    error = failure(CommandResult(2, 'Profile "nosuch" does not exist!\n', "make: *** [Makefile:347: manifest] Error 2\n"))

    assert error.detail == "The ImageBuilder failed: it has no profile nosuch"


@pytest.mark.parametrize("exit_code", [-1, 125, 126, 127, 137])
def test_a_command_without_an_end_of_its_own_is_our_trouble(exit_code: int) -> None:
    """A command that was killed, or that podman could not even start, says nothing about the request."""
    error = failure(CommandResult(exit_code, "", "Error: runc: exec failed: unable to start container process: OCI runtime error\n"))

    assert isinstance(error, ContainerFailed)


def test_a_failure_without_words_says_so() -> None:
    """Where the builder gave no reason none is made up."""
    assert failure(CommandResult(2, "", "make: *** [x] Error 2\n")).detail == "The ImageBuilder failed: it gave no reason"


def test_manifest_lines_of_both_forms() -> None:
    """A manifest is read with either separator; what is no such line is passed over."""
    output = "base-files - 1652-r28959\nlibblkid - 2.40.2-r1\ncurl 8.17.0-r1\n\nsome other line here\nlonely\n"

    assert parse_manifest(output) == {"base-files": "1652-r28959", "libblkid": "2.40.2-r1", "curl": "8.17.0-r1"}


def test_versions_that_a_client_insists_on_are_compared() -> None:
    """All that differ are named at once."""
    with pytest.raises(WrongPackageVersions, match=r"curl is 8\.17\.0, not 8\.9\.0; vim is not in the image"):
        check_versions({"vim": "9", "curl": "8.9.0", "ip": "1"}, {"curl": "8.17.0", "ip": "1"})


def test_versions_that_agree_pass() -> None:
    """Nothing happens when the image has what the client insists on."""
    check_versions({"ip": "1"}, {"ip": "1", "curl": "8"})


def archive(members: list[tuple[tarfile.TarInfo, bytes]]) -> Iterator[bytes]:
    """Return a tar stream in small pieces."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for member, content in members:
            tar.addfile(member, io.BytesIO(content))
    data = buffer.getvalue()
    return iter([data[start : start + 700] for start in range(0, len(data), 700)])


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    """Return a member that is no regular file."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


def plain(name: str, content: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    """Return a regular file."""
    return regular(name, content), content


def test_images_are_copied_with_their_hashes(tmp_path: Path) -> None:
    """Regular files arrive as they are, and their SHA-256 is that of the bytes that were written."""
    content = bytes(range(256)) * 30

    hashes = copy_out(archive([special("out", tarfile.DIRTYPE), plain("out/image.bin", content)]), tmp_path, max_bytes=10_000)

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
def test_what_is_no_plain_image_stays_in_the_container(member: tuple[tarfile.TarInfo, bytes], tmp_path: Path) -> None:
    """Links, devices, paths and odd names are not taken over; the images beside them are."""
    directory = tmp_path / "in" / "side"
    directory.mkdir(parents=True)

    hashes = copy_out(archive([plain("out/image.bin"), member]), directory, max_bytes=1_000)

    assert list(hashes) == ["image.bin"]
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == [directory / "image.bin"]


def test_a_name_that_comes_twice_keeps_its_first_content(tmp_path: Path) -> None:
    """A second file of the same name changes nothing."""
    copy_out(archive([plain("out/a", b"first"), plain("out/a", b"second")]), tmp_path, max_bytes=1_000)

    assert (tmp_path / "a").read_bytes() == b"first"


def test_too_many_bytes_are_refused(tmp_path: Path) -> None:
    """The bound holds for all files together."""
    with pytest.raises(StoreFailed, match="more than the store takes"):
        copy_out(archive([plain("out/a", b"x" * 600), plain("out/b", b"x" * 600)]), tmp_path, max_bytes=1_000)


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    """A build leaves some dozens of files; thousands would only fill the disk's inodes."""
    with pytest.raises(StoreFailed, match="more than the store takes"):
        copy_out(archive([plain(f"out/{number}") for number in range(MAX_FILES + 1)]), tmp_path, max_bytes=10_000)


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
    hashes = profiles(tmp_path, json.dumps({"profiles": {"a": {"images": [{"name": "a.bin", "sha256": "1" * 64}]}}}))

    with pytest.raises(StoreFailed, match=r"a\.bin is not what the ImageBuilder made"):
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
