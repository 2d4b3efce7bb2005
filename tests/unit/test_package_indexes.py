"""The package managers' own indexes, read: what they list, what they provide, what is refused."""

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asu.resolution.apk_index import read_apk_index
from asu.resolution.knowledge import PackageIndex
from asu.resolution.opkg_index import read_opkg_index
from asu.resolution.package_feed import Package, Shared, UnreadableIndexError
from misc.fuzz.indexes import apk_sample, opkg_sample
from tests.upstream.adb import Entry, adb_bytes

LIBUBOX = Entry(
    name="libubox20260213",
    version="2026.02.13~4dbd3d0e-r1",
    arch="x86_64",
    size=31_488,
    installed_size=61_465,
    depends=("libc", "!libubox-old", "kernel=6.12.71~9b3e-r1", "ucode~2025", "vim>=9.0"),
    provides=("libubox", "libubox20260213=2026.02.13~4dbd3d0e-r1", "libubox-any"),
    tags=("openwrt:cpe=cpe:/a:openwrt", "openwrt:abiversion=20260213"),
)
WGET = Entry(
    name="wget-ssl",
    version="1.25-r1",
    arch="noarch",
    priority=300_000_000,
    provides=("wget-any", "gnu-wget=2"),
)
OPKG = """\
Package: libubox20240329
Version: 2024.03.29~eb9bcb64-r1
Depends: libc, kernel (= 6.6.110~1eb8-r1), a | b (>= 2)
Provides: libubox
Conflicts: libubox-old
ABIVersion: 20240329
Architecture: x86_64
Installed-Size: 61440
Size: 30311
Description:  a library
 Package: of a continued line

Package: wget-ssl
Version: 1.25-r1
Provides: wget, gnu-wget (= 2)
Architecture: all

Something: else
"""


def test_apks_index_is_read_whole() -> None:
    """Dependencies keep apk's spelling; sizes stand beside the packages."""
    feed = read_apk_index(adb_bytes([LIBUBOX, WGET], signature=b"signed"), Shared())

    assert feed.packages == (
        Package(
            "libubox20260213",
            LIBUBOX.version,
            ("kernel=6.12.71~9b3e-r1", "libc", "!libubox-old", "ucode~2025", "vim>=9.0"),
            ("libubox", "libubox-any", f"libubox20260213={LIBUBOX.version}"),
            abi_version="20260213",
        ),
        Package(
            "wget-ssl",
            "1.25-r1",
            provides=("gnu-wget=2", "wget-any"),
            priority=300_000_000,
            is_portable=True,
        ),
    )
    assert (list(feed.sizes), list(feed.installed_sizes)) == ([31_488, 0], [61_465, 0])
    assert feed.packages[0].plain_name == "libubox"


def test_opkgs_index_is_read_whole() -> None:
    """A continued line is no field, and a stanza without a package is none."""
    feed = read_opkg_index(OPKG.encode(), Shared())

    assert feed.packages == (
        Package(
            "libubox20240329",
            "2024.03.29~eb9bcb64-r1",
            ("libc", "kernel (= 6.6.110~1eb8-r1)", "a | b (>= 2)"),
            ("libubox",),
            ("libubox-old",),
            abi_version="20240329",
        ),
        Package("wget-ssl", "1.25-r1", provides=("wget", "gnu-wget (= 2)"), is_portable=True),
    )
    assert (list(feed.sizes), list(feed.installed_sizes)) == ([30_311, 0], [61_440, 0])


def test_each_name_has_its_version() -> None:
    """Packages, libraries by both names, and what is provided, with its own version if it has
    one.
    """
    apk = read_apk_index(adb_bytes([LIBUBOX, WGET]), Shared())
    opkg = read_opkg_index(gzip.compress(OPKG.encode()), Shared())

    assert apk.versions == {
        "libubox20260213": LIBUBOX.version,
        "libubox": LIBUBOX.version,
        "wget-ssl": "1.25-r1",
        "wget-any": "1.25-r1",
        "gnu-wget": "2",
    }
    assert opkg.versions == {
        "libubox20240329": "2024.03.29~eb9bcb64-r1",
        "libubox": "2024.03.29~eb9bcb64-r1",
        "wget-ssl": "1.25-r1",
        "wget": "1.25-r1",
        "gnu-wget": "2",
    }


def test_a_name_with_any_means_the_name() -> None:
    """Apk's packages provide `NAME-any`; it is not kept beside each NAME."""
    index = PackageIndex((read_apk_index(adb_bytes([LIBUBOX, WGET]), Shared()).versions,))

    assert index.version_of("libubox-any") == LIBUBOX.version
    assert index.version_of("wget-any") == "1.25-r1"
    assert index.version_of("vim-any") is None


def test_a_package_has_the_word_before_what_provides_its_name() -> None:
    """A virtual name that is also a package's is that package."""
    text = "Package: a\nVersion: 1\nProvides: b\n\nPackage: b\nVersion: 2\n"

    assert read_opkg_index(text.encode(), Shared()).versions == {"a": "1", "b": "2"}


@pytest.mark.parametrize("packed", [True, False])
def test_both_containers_of_apk_are_read(*, packed: bool) -> None:
    """OpenWrt's indexes are deflated; apk also reads plain ones, and ones that name their kind."""
    plain = adb_bytes([WGET], packed=False)
    document = adb_bytes([WGET]) if packed else plain

    assert read_apk_index(document, Shared()).versions["wget-ssl"] == "1.25-r1"
    named = b"ADBc\x01\x06" + adb_bytes([WGET])[4:] if packed else b"ADBc\x00\x01" + plain
    assert read_apk_index(named, Shared()).versions["wget-ssl"] == "1.25-r1"


def test_architectures_share_what_is_equal() -> None:
    """The values of a release stand in memory once, however many architectures are in use."""
    shared = Shared()
    one, other = (
        read_apk_index(adb_bytes([LIBUBOX, Entry(name="x", version="1", size=size)]), shared)
        for size in (1, 2)
    )

    assert all(one is other for one, other in zip(one.packages, other.packages, strict=True))
    assert (one.sizes[1], other.sizes[1]) == (1, 2)


APK, DEFLATED = adb_bytes([WGET], packed=False), adb_bytes([WGET])


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<html></html>", id="a page"),
        pytest.param(DEFLATED[:-8], id="cut off"),
        pytest.param(b"ADBc\x02\x09" + DEFLATED[4:], id="zstd"),
        pytest.param(b"ADBz" + DEFLATED[4:], id="unknown container"),
        pytest.param(APK.replace(b"indx", b"pckg"), id="a package"),
        pytest.param(APK[:8] + b"\xff\xff\xff\x3f" + APK[12:], id="a block without end"),
        pytest.param(APK[:16] + b"\xff\xff\xff\xef" + APK[20:], id="a root outside"),
        pytest.param(adb_bytes([Entry(name="", version="1")]), id="a package without a name"),
        pytest.param(APK.replace(b"wget-ssl", b"wget-s\xff\xff"), id="no UTF-8"),
    ],
)
def test_what_is_no_index_of_apk_is_refused(document: bytes) -> None:
    """With one kind of error, whatever is wrong."""
    with pytest.raises(UnreadableIndexError):
        read_apk_index(document, Shared())


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(b"<html>\n<body>Not found</body>\n</html>\n", id="a page"),
        pytest.param(gzip.compress(OPKG.encode())[:-9], id="cut off"),
        pytest.param(b"\x1f\x8bnonsense", id="damaged"),
        pytest.param(b"Package: a\xff\n", id="no UTF-8"),
        pytest.param(b"Package: a\nSize: many\n", id="a size in words"),
        pytest.param(b"Package: a\nSize: " + b"9" * 5000, id="a size beyond all bounds"),
    ],
)
def test_what_is_no_index_of_opkg_is_refused(document: bytes) -> None:
    """An empty document is an empty feed, as opkg has it."""
    with pytest.raises(UnreadableIndexError):
        read_opkg_index(document, Shared())
    assert read_opkg_index(b"", Shared()).versions == {}


def test_a_small_document_does_not_unpack_without_end() -> None:
    """Fifty kilobytes of gzip can hold fifty megabytes of one letter."""
    with pytest.raises(UnreadableIndexError, match="too large"):
        read_opkg_index(gzip.compress(b"x" * 64 * 2**20), Shared())


@given(st.data())
@settings(max_examples=300)
def test_damage_is_refused_and_nothing_else_happens(data: st.DataObject) -> None:
    """`python -m misc.fuzz.indexes` does this for as long as one likes."""
    reader, sample = data.draw(
        st.sampled_from([(read_apk_index, apk_sample()), (read_opkg_index, opkg_sample())])
    )
    document = bytearray(sample)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(document)))
        document[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    try:
        feed = reader(bytes(document), Shared())
    except UnreadableIndexError:
        return
    assert all(package.name for package in feed.packages)
