"""The stand-in for downloads.openwrt.org agrees with itself, and differs between releases as the
real one does.
"""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
import re
import tarfile
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.imagebuilder.files.standin_adb import Document
from tests.upstream.catalogue import Release, load
from tests.upstream.indexes import parse_stanzas
from tests.upstream.make_tree import Writer, make_tree, write_release

CATALOGUE = load()
RELEASES = {release.version: release for release in CATALOGUE.releases}
WHOLE = [
    version for version, release in RELEASES.items() if not release.drop and not release.truncate
]
TROUBLE = {"test-404", "test-badsum"}

Stanza = Mapping[str, str]
each_release = pytest.mark.parametrize("version", RELEASES)
each_whole_release = pytest.mark.parametrize("version", WHOLE)


@pytest.fixture(scope="session")
def tree() -> Iterator[Path]:
    """Make one tree for all tests; none of them writes to it. It is removed at once: pytest would
    keep three, of 90 MB each.
    """
    with tempfile.TemporaryDirectory(prefix="upstream-") as directory:
        out = Path(directory) / "tree"
        make_tree(out)
        yield out


def top_of(tree: Path, version: str) -> Path:
    """Return the directory of a release."""
    return tree / RELEASES[version].path


def indexes(top: Path) -> Iterator[Path]:
    """Yield every opkg or apk index below `top`."""
    for pattern in ("Packages", "packages.adb"):
        yield from sorted(path for path in top.rglob(pattern) if path.is_file())


def stanzas(index: Path) -> Sequence[Stanza]:
    """Read an index."""
    if index.suffix == ".adb":
        return Document(index.read_bytes()).stanzas()
    return parse_stanzas(index.read_text(encoding="utf-8"))


def plain(stanza: Stanza) -> str:
    """Return the ABI-free name."""
    return stanza["Package"].removesuffix(stanza.get("ABIVersion", ""))


def names_of(stanza: Stanza) -> set[str]:
    """Return every name that a package answers to."""
    provided = filter(None, stanza.get("Provides", "").split(", "))
    return {
        stanza["Package"],
        plain(stanza),
        *(name.split("=")[0].split(" ")[0] for name in provided),
    }


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def defaults(tree: Path, version: str, target: str) -> set[str]:
    """Return the default packages of a target."""
    return set(
        read_json(top_of(tree, version) / "targets" / target / "profiles.json")["default_packages"]
    )


def device(tree: Path, version: str, target: str, profile: str) -> set[str]:
    """Return the device packages of a profile."""
    profiles = read_json(top_of(tree, version) / "targets" / target / "profiles.json")["profiles"]
    return set(profiles[profile]["device_packages"])


def available(tree: Path, version: str, target: str) -> list[Stanza]:
    """Return everything that an ImageBuilder of this release and target can install."""
    top = top_of(tree, version)
    arch = CATALOGUE.target(target, RELEASES[version].series).arch
    return [
        stanza
        for place in (top / "targets" / target, top / "packages" / arch)
        for index in indexes(place)
        for stanza in stanzas(index)
    ]


def all_names(tree: Path, version: str, target: str = "x86/64") -> set[str]:
    """Return every name that can be installed."""
    return {name for stanza in available(tree, version, target) for name in names_of(stanza)}


@each_release
def test_index_entries_match_their_files(tree: Path, version: str) -> None:
    """Size and checksum of an index entry are those of the file, but for the two packages that are
    broken on purpose.
    """
    for index in indexes(top_of(tree, version)):
        for stanza in stanzas(index):
            if stanza["Package"] in TROUBLE:
                continue
            content = (index.parent / stanza["Filename"]).read_bytes()
            assert (str(len(content)), hashlib.sha256(content).hexdigest()) == (
                stanza["Size"],
                stanza["SHA256sum"],
            ), stanza["Filename"]


@pytest.mark.parametrize("version", ["23.05.6", "24.10.4"])
def test_control_files_match_the_index(tree: Path, version: str) -> None:
    """The control file inside a package says what the index says about it."""
    index = next(indexes(top_of(tree, version) / "packages/x86_64/base"))
    for stanza in stanzas(index):
        with tarfile.open(index.parent / stanza["Filename"]) as outer:
            inner = outer.extractfile("./control.tar.gz")
            assert inner is not None
            with tarfile.open(fileobj=io.BytesIO(inner.read())) as control_tar:
                control = control_tar.extractfile("./control")
                assert control is not None
                (found,) = parse_stanzas(control.read().decode())
        assert found == {
            key: value
            for key, value in stanza.items()
            if key not in {"Filename", "Size", "SHA256sum"}
        }


@each_release
def test_both_kinds_of_index_agree(tree: Path, version: str) -> None:
    """index.json has the packages and versions of Packages or packages.adb, with ABI suffixes in
    version 1 only.
    """
    for path in top_of(tree, version).rglob("index.json"):
        content = read_json(path)
        (index,) = indexes_of_feed(path.parent)
        named = {
            stanza["Package"] if RELEASES[version].index_version == 1 else plain(stanza): stanza[
                "Version"
            ]
            for stanza in stanzas(index)
        }
        assert content["packages"] == named
        assert content.get("version", 1) == RELEASES[version].index_version


def indexes_of_feed(feed: Path) -> list[Path]:
    """Return the one index that lies in this very directory."""
    return [path for path in (feed / "Packages", feed / "packages.adb") if path.is_file()]


@each_whole_release
def test_every_default_and_device_package_can_be_installed(tree: Path, version: str) -> None:
    """A name in profiles.json is in that release's indexes, as a name without ABI suffix or as
    something provided.
    """
    for target in RELEASES[version].targets:
        content = read_json(top_of(tree, version) / "targets" / target / "profiles.json")
        names = all_names(tree, version, target)
        wanted = set(content["default_packages"])
        for profile in content["profiles"].values():
            wanted |= {name for name in profile["device_packages"] if not name.startswith("-")}
        assert wanted <= names, (target, wanted - names)


@each_whole_release
def test_dependencies_exist(tree: Path, version: str) -> None:
    """Every dependency has somebody who provides it, but for the package whose purpose is to have
    none.
    """
    for target in RELEASES[version].targets:
        everything = available(tree, version, target)
        names = {name for stanza in everything for name in names_of(stanza)}
        missing = {
            (stanza["Package"], need)
            for stanza in everything
            for need in filter(None, stanza.get("Depends", "").split(", "))
            if not names & {re.split("[ =<>~]", part)[0] for part in need.split(" | ")}
        }
        assert missing == {
            ("test-missing-dep", "no-such-library"),
            ("test-deep-4", "no-such-library"),
        }


@pytest.mark.parametrize("version", ["23.05.6", "24.10.4", "25.12.1"])
def test_only_rivals_own_the_same_file(tree: Path, version: str) -> None:
    """Two packages hold the same file only if they conflict, or to test just that."""
    release = RELEASES[version]
    owners: defaultdict[str, set[str]] = defaultdict(set)
    rivals: set[frozenset[str]] = {frozenset({"test-clash-a", "test-clash-b"})}
    for feed in ("base", "luci", "packages", "routing", "telephony"):
        for index in indexes_of_feed(top_of(tree, version) / "packages/x86_64" / feed):
            for stanza in stanzas(index):
                rivals |= {
                    frozenset({stanza["Package"], other})
                    for other in stanza.get("Conflicts", "").split(", ")
                }
                for path in (
                    []
                    if stanza["Package"] == "test-404"
                    else data_files(index.parent / stanza["Filename"])
                ):
                    owners[path].add(stanza["Package"])
    clashes = [names for names in owners.values() if len(names) > 1]
    assert clashes, release
    for names in clashes:
        assert all(
            frozenset({one, other}) in rivals for one in names for other in names if one < other
        ), names


def data_files(archive: Path) -> list[str]:
    """Return the paths that a package installs."""
    with tarfile.open(archive) as outer:
        inner = outer.extractfile("./data.tar.gz")
        assert inner is not None
        with tarfile.open(fileobj=io.BytesIO(inner.read())) as data:
            return [posixpath.normpath(member.name) for member in data if member.isfile()]


@pytest.mark.parametrize(
    ("target", "old", "new", "gained", "lost"),
    [
        ("x86/64", "23.05.6", "24.10.4", set(), {"busybox", "procd", "procd-seccomp"}),
        ("x86/64", "24.10.4", "25.12.1", {"apk-mbedtls"}, {"opkg"}),
        ("lantiq/xrx200", "24.10.4", "25.12.1", {"apk-mbedtls", "kmod-dsa-gswip"}, {"opkg"}),
        (
            "ath79/mikrotik",
            "24.10.4",
            "25.12.1",
            {"apk-mbedtls", "kmod-ag71xx-legacy", "kmod-switch-ar8xxx"},
            {"opkg"},
        ),
        (
            "mediatek/filogic",
            "23.05.6",
            "24.10.4",
            {"fitblk"},
            {"busybox", "kmod-mt7915e", "procd", "procd-seccomp"},
        ),
        (
            "mediatek/mt7622",
            "23.05.6",
            "24.10.4",
            {"fitblk"},
            {"busybox", "procd", "procd-seccomp"},
        ),
    ],
)
def test_defaults_change_between_releases(
    tree: Path, target: str, old: str, new: str, gained: set[str], lost: set[str]
) -> None:
    """The default packages change between releases as OpenWrt's own metadata says."""
    before, after = defaults(tree, old, target), defaults(tree, new, target)

    assert (after - before, before - after) == (gained, lost)


def test_xrx200_phy_firmware_becomes_a_device_package(tree: Path) -> None:
    """In 25.12 a Home Hub 5A needs firmware packages for the PHYs that were part of the kernel
    before.
    """
    gained = device(tree, "25.12.1", "lantiq/xrx200", "bt_homehub-v5a") - device(
        tree, "24.10.4", "lantiq/xrx200", "bt_homehub-v5a"
    )

    assert gained == {"xrx200-rev1.1-phy11g-firmware", "xrx200-rev1.2-phy11g-firmware"}


@pytest.mark.parametrize(
    ("package", "versions"),
    [
        ("auc", ["23.05.6"]),
        ("firewall", ["23.05.6"]),
        ("luci-app-opkg", ["23.05.6"]),
        ("luci-i18n-opkg-de", ["23.05.6"]),
        ("px5g-wolfssl", ["23.05.6"]),
        ("opkg", ["23.05.6", "24.10.4"]),
        ("owut", ["24.10.4", "25.12.1", "SNAPSHOT"]),
        ("luci-i18n-package-manager-de", ["24.10.4", "25.12.1", "SNAPSHOT"]),
        ("apk-mbedtls", ["25.12.1", "SNAPSHOT"]),
        ("kmod-lib-crc32c", ["23.05.6", "24.10.4", "25.12.1"]),
        ("firewall4", ["23.05.6", "24.10.4", "25.12.1", "SNAPSHOT"]),
    ],
)
def test_packages_come_and_go(tree: Path, package: str, versions: list[str]) -> None:
    """A package exists in exactly the releases that are named here."""
    assert [
        version
        for version in ("23.05.6", "24.10.4", "25.12.1", "SNAPSHOT")
        if package in all_names(tree, version)
    ] == versions


@each_whole_release
def test_kmods_lie_where_the_release_puts_them(tree: Path, version: str) -> None:
    """From 23.05.6 on kmods have a directory of their own that linux_kernel names; in 23.05.5 they
    lie in packages/.
    """
    release = RELEASES[version]
    for target in release.targets:
        top = top_of(tree, version) / "targets" / target
        in_packages = [
            name
            for name in read_json(top / "packages/index.json")["packages"]
            if name.startswith("kmod-")
        ]
        kernel = read_json(top / "profiles.json").get("linux_kernel")
        if version == "23.05.5":
            assert in_packages
            assert kernel is None
            assert not (top / "kmods").exists()
        else:
            assert not in_packages
            named = f"{kernel['version']}-{kernel['release']}-{kernel['vermagic']}"
            assert read_json(top / "kmods" / named / "index.json")["packages"][
                "kmod-nft-core"
            ].startswith(kernel["version"])


@pytest.mark.parametrize(
    ("version", "local", "listed"),
    [
        ("24.10.4", {"kernel", "libc"}, {"base-files"}),
        ("25.12.1", {"base-files", "kernel", "libc"}, {"base-files", "kernel", "libc"}),
    ],
)
def test_what_an_imagebuilder_brings_along(
    tree: Path, version: str, local: set[str], listed: set[str]
) -> None:
    """Kernel and libc are in packages/local; only the opkg index leaves them out."""
    packages = top_of(tree, version) / "targets/x86/64/packages"
    (index,) = indexes_of_feed(packages / "local")

    assert {stanza["Package"] for stanza in stanzas(index)} == local
    assert {"base-files", "kernel", "libc"} & set(
        read_json(packages / "index.json")["packages"]
    ) == listed


def test_an_alias_may_be_claimed_twice(tree: Path) -> None:
    """Two profiles claim glinet,gl-ar300m, so the name alone does not tell which device it is."""
    profiles = read_json(top_of(tree, "24.10.4") / "targets/ath79/generic/profiles.json")[
        "profiles"
    ]

    claims = [
        name
        for name, profile in profiles.items()
        if "glinet,gl-ar300m" in profile["supported_devices"]
    ]

    assert sorted(claims) == ["glinet_gl-ar300m-nand", "glinet_gl-ar300m-nor"]


def test_the_broken_cases_are_broken(tree: Path) -> None:
    """What README.md lists as missing or cut short is so, and the release around it is there."""
    assert "25.12.2" in read_json(tree / ".versions.json")["versions_list"]
    half = tree / "releases/25.12.2"
    assert (half / ".targets.json").is_file()
    assert not list(half.rglob("profiles.json"))

    with pytest.raises(json.JSONDecodeError):
        read_json(tree / "releases/24.10.3/targets/mediatek/mt7622/profiles.json")

    feed = tree / "releases/24.10.3/packages/aarch64_cortex-a53/telephony"
    assert {path.suffix for path in feed.iterdir()} == {".ipk"}

    branch = tree / "releases/25.12-SNAPSHOT"
    assert not (branch / ".targets.json").exists()
    assert (branch / "targets/x86/64/profiles.json").is_file()


def test_test_packages_are_as_broken_as_they_say(tree: Path) -> None:
    """test-404 has no file, and test-badsum has another checksum than the index says."""
    feed = tree / "releases/24.10.4/packages/x86_64/packages"
    by_name = {stanza["Package"]: stanza for stanza in stanzas(feed / "Packages")}

    assert not (feed / by_name["test-404"]["Filename"]).exists()
    content = (feed / by_name["test-badsum"]["Filename"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() != by_name["test-badsum"]["SHA256sum"]
    assert int(by_name["test-big"]["Size"]) > 20_000_000


def test_signatures_are_of_the_index(tree: Path) -> None:
    """Packages.sig names the checksum of Packages, which is all that a stand-in can sign."""
    for index in (tree / "releases/24.10.4").rglob("Packages"):
        digest = hashlib.sha256(index.read_bytes()).hexdigest()
        assert (
            index.with_name("Packages.sig").read_text(encoding="utf-8")
            == f"stand-in sha256 {digest}\n"
        )


def test_the_same_recipe_makes_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    """A release that is made again, elsewhere, is equal byte for byte."""
    release: Release = RELEASES["24.10-SNAPSHOT"]

    write_release(Writer(tmp_path), CATALOGUE, release)

    again = {
        path.relative_to(tmp_path): path.read_bytes()
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    first = {
        path.relative_to(tree): path.read_bytes()
        for path in (tree / release.path).rglob("*")
        if path.is_file()
    }
    assert again == first


def test_a_second_run_writes_nothing(tree: Path) -> None:
    """A tree that is up to date is left alone."""
    before = (tree / ".versions.json").stat().st_mtime_ns

    assert not make_tree(tree)
    assert (tree / ".versions.json").stat().st_mtime_ns == before


def test_a_foreign_directory_is_not_replaced(tmp_path: Path) -> None:
    """A directory with somebody's files in it is refused and kept."""
    (tmp_path / "thesis.txt").write_text("precious", encoding="utf-8")

    with pytest.raises(FileExistsError, match="not made by this program"):
        make_tree(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
