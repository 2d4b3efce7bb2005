"""The two package managers: one contract, and what differs between them."""

from __future__ import annotations

import base64

import pytest

from asu.catalogue.package_manager import package_manager_of
from asu.errors import BuildFailed, WrongPackageVersions
from asu.resolution import Version
from asu.worker.builder_image import BuilderImage
from asu.worker.expectations import check_versions
from asu.worker.package_managers import Apk, Opkg, PackageManager, package_manager_for
from asu.worker.package_managers.own_feeds import own_urls
from tests.unit.test_builder_failures import text_of

OPKG_LIST = """\
## Remote package repositories
src/gz openwrt_core https://mirror.example/releases/24.10.4/targets/x86/64/packages
src/gz openwrt_luci https://mirror.example/releases/24.10.4/packages/x86_64/luci

## This is the local package repository, do not remove!
src imagebuilder file:packages

option check_signature
"""
APK_LIST = """\
https://mirror.example/releases/25.12.1/targets/x86/64/packages/packages.adb
packages/packages.adb
https://mirror.example/releases/25.12.1/packages/x86_64/luci/packages.adb
"""
IMAGE = BuilderImage(name="builder", version="24.10.4", target="x86/64")
FEEDS = {"a": "https://feeds.example/a", "b": "https://feeds.example/b"}
FINGERPRINT = "0123456789abcdef"
USIGN = base64.b64encode(b"Ed" + bytes.fromhex(FINGERPRINT) + bytes(range(32))).decode()
PEM = """\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEb1cmPdG1mDuFZ5mqz2Sw5nDl3gYV
XbC4kL0a2e9jHcUyqk1r7yDqWw8x5w3YkQm1xw1b9cJtT5m1a4xQ0m2q7w==
-----END PUBLIC KEY-----"""


@pytest.mark.parametrize(
    ("version", "manager"),
    [
        ("21.02.7", "opkg"),
        ("23.05.5", "opkg"),
        ("24.10.0-rc1", "opkg"),
        ("24.10.4", "opkg"),
        ("24.10-SNAPSHOT", "opkg"),
        ("25.12.0-rc1", "apk"),
        ("25.12.1", "apk"),
        ("25.12-SNAPSHOT", "apk"),
        ("26.10.0", "apk"),
        ("SNAPSHOT", "apk"),
    ],
)
def test_the_version_tells_the_package_manager(version: str, manager: str) -> None:
    """Apk came with 25.12, candidates included."""
    assert package_manager_of(Version.parse(version)) == manager
    assert isinstance(
        package_manager_for(Version.parse(version)), Apk if manager == "apk" else Opkg
    )


@pytest.mark.parametrize("manager", [Opkg(), Apk()], ids=["opkg", "apk"])
class TestPackageManager:
    """What holds for both."""

    def test_appended_feeds_stand_beside_the_builders(self, manager: PackageManager) -> None:
        """Every line of the builder stays, and each feed of the request has one of its own."""
        present = OPKG_LIST if isinstance(manager, Opkg) else APK_LIST
        lines = manager.repositories(present, FEEDS, "append").splitlines()

        assert [line for line in lines if line in present.splitlines()] == present.splitlines()
        assert all(
            any(manager.address(url) in line.split() for line in lines) for url in FEEDS.values()
        )

    def test_replacing_feeds_leave_only_the_builders_own_packages(
        self, manager: PackageManager
    ) -> None:
        """No other server is asked, but kernel and libc still come with the builder."""
        present = OPKG_LIST if isinstance(manager, Opkg) else APK_LIST
        replaced = manager.repositories(present, FEEDS, "replace")

        assert "mirror.example" not in replaced
        assert (
            "src imagebuilder file:packages\n" in replaced or "packages/packages.adb\n" in replaced
        )
        assert all(manager.address(url) in replaced.split() for url in FEEDS.values())

    def test_writing_a_list_twice_changes_nothing(self, manager: PackageManager) -> None:
        """A list that has the feeds already is left as it is."""
        present = OPKG_LIST if isinstance(manager, Opkg) else APK_LIST
        once = manager.repositories(present, FEEDS, "append")

        assert sorted(manager.repositories(once, FEEDS, "append").splitlines()) == sorted(
            once.splitlines()
        )

    def test_a_key_of_neither_kind_is_refused(self, manager: PackageManager) -> None:
        """What is no public key is written into no file."""
        for text in (
            "",
            "secret",
            USIGN[:-4],
            f"{USIGN}\noption x",
            PEM.replace("PUBLIC", "PRIVATE"),
            f"{PEM}\n{PEM}",
            "../../x",
            f"x\n{USIGN}",
        ):
            with pytest.raises(BuildFailed, match="key of a repository is malformed"):
                manager.key_files([text])

    def test_a_feed_of_which_nothing_is_wrong_is_used(self, manager: PackageManager) -> None:
        """The outputs of good builds name no feed as unusable."""
        name = "feed-opkg-used" if isinstance(manager, Opkg) else "feed-apk-used"

        assert manager.unusable_feeds(text_of(name), {"own": "https://feeds.example/own"}) == []


def test_opkg_finds_the_feeds_where_it_looks() -> None:
    """One line each, sorted by name as they were admitted, before those of the builder; the
    signature is always checked.
    """
    replaced = Opkg().repositories(
        "src/gz openwrt_core https://mirror.example/x\n",
        own_urls(dict(reversed(FEEDS.items()))),
        "replace",
    )

    assert (
        replaced
        == "src/gz a https://feeds.example/a\nsrc/gz b https://feeds.example/b\nsrc imagebuilder"
        " file:packages\noption check_signature\n"
    )


def test_a_feed_named_like_one_of_opkgs_takes_its_place() -> None:
    """Opkg would pass over the second of a name, so the builder's own line has to go."""
    appended = Opkg().repositories(
        OPKG_LIST, {"openwrt_luci": "https://feeds.example/luci"}, "append"
    )

    assert [line.split()[1:] for line in appended.splitlines() if line.startswith("src/gz")] == [
        ["openwrt_luci", "https://feeds.example/luci"],
        ["openwrt_core", "https://mirror.example/releases/24.10.4/targets/x86/64/packages"],
    ]


def test_the_name_of_the_builders_own_packages_is_taken() -> None:
    """A feed that would hide kernel and libc is refused with what to do."""
    with pytest.raises(BuildFailed, match="give it another name"):
        Opkg().repositories(OPKG_LIST, {"imagebuilder": "https://feeds.example/x"}, "append")


def test_apk_is_given_indexes() -> None:
    """A directory is completed, since apk would read it as another kind of repository; an index
    stays as it is.
    """
    feeds = {"a": "https://feeds.example/a", "b": "https://feeds.example/b/own.adb"}

    assert (
        Apk().repositories("", feeds, "replace")
        == "https://feeds.example/a/packages.adb\nhttps://feeds.example/b/own.adb\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        USIGN,
        f"{USIGN}\n",
        f"untrusted comment: mine\n{USIGN}",
        f"untrusted comment: mine\r\n{USIGN}\r\n",
    ],
)
def test_opkgs_keys_are_named_by_their_fingerprint(text: str) -> None:
    """Opkg finds a key by nothing else; the comment is ours, whatever came."""
    assert Opkg().key_files([text, PEM]) == {
        f"keys/{FINGERPRINT}": f"untrusted comment: public key {FINGERPRINT}\n{USIGN}\n".encode()
    }


@pytest.mark.parametrize("text", [PEM, f"{PEM}\n", PEM.replace("\n", "\r\n")])
def test_apks_keys_are_pem_files(text: str) -> None:
    """One file for each key, always of the same name; keys of the other kind are left out."""
    files = Apk().key_files([USIGN, text])

    assert list(files.values()) == [f"{PEM}\n".encode()]
    assert all(path.startswith("keys/") and path.endswith(".pem") for path in files)
    assert files == Apk().key_files([PEM])


def test_a_feed_without_a_signature_is_not_used() -> None:
    """A list that came without its signature is dropped by opkg, and that is told."""
    [feed] = Opkg().unusable_feeds(
        text_of("feed-opkg-unsigned"), {"own": "https://feeds.example/own"}
    )

    assert "no signature by a known key; `repository_keys` must hold its usign key" in feed.words
    assert feed.is_untrusted


def test_a_feed_that_nobody_mentions_is_not_used() -> None:
    """Silence is no proof that opkg used a feed."""
    [feed] = Opkg().unusable_feeds(
        text_of("feed-opkg-used"), {"other": "https://feeds.example/other"}
    )

    assert not feed.is_untrusted
    assert feed.words.startswith("other (https://feeds.example/other) cannot be downloaded")


def test_errors_in_the_middle_of_a_line_hide_no_feed() -> None:
    """Opkg's two streams mix, so that what it says of a feed may be cut in two by its errors."""
    assert (
        Opkg().unusable_feeds(
            text_of("feed-opkg-official-missing"), {"own": "https://feeds.example/own"}
        )
        == []
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "feed-apk-missing",
            (
                "own (https://feeds.example/own/packages.adb) cannot be downloaded or is no feed"
                " for apk (unexpected end of file); check"
            ),
        ),
        (
            "feed-apk-untrusted",
            (
                "own (https://feeds.example/own/packages.adb) has no signature by a known key;"
                " `repository_keys` must hold its key in PEM"
            ),
        ),
    ],
)
def test_apk_says_why_it_left_a_feed_out(name: str, words: str) -> None:
    """A missing feed and one without a trusted signature need different remedies."""
    [feed] = Apk().unusable_feeds(text_of(name), {"own": "https://feeds.example/own"})

    assert feed.words.startswith(words)
    assert feed.is_untrusted == ("signature" in words)


@pytest.mark.parametrize(
    "url",
    [
        "https://host/a b",
        "https://host/a\noption check_signature 0",
        "https://host/a\n",
        "https://host/a\t",
        "https://host",
        "https:///a",
        "https://user@host/a",
        "https://host/a/../b",
        "file:///upstream/..",
        "https://host/./a",
        "ftp://host/a",
        "file:packages",
        "/builder/packages",
        "@tag https://host/a",
        "https://host/$(id)",
        "https://host/`id`",
        "https://host/a'",
        'https://host/a"',
        "https://host/a\\b",
        "https://host/a#b",
        "https://host/a?b",
        "https://hóst/a",
        "",
    ],
)
def test_no_odd_address_reaches_the_builder(url: str) -> None:
    """An address is one word of a line and nothing that a line, a shell or a make could
    understand.
    """
    with pytest.raises(BuildFailed, match="malformed"):
        own_urls({"own": url})


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a b", "a\nb", "a/b", "-x", "a\n", "ä", "x" * 65]
)
def test_no_odd_name_reaches_the_builder(name: str) -> None:
    """A name becomes a word and a file's name."""
    with pytest.raises(BuildFailed, match="malformed"):
        own_urls({name: "https://host/a"})


@pytest.mark.parametrize(
    "url",
    [
        "http://host:8080/a/b",
        "https://h.example/~x/a+b/25.12/x-y_z",
        "file:///upstream/x",
        "https://192.0.2.7:8/x/packages.adb",
    ],
)
def test_plain_addresses_are_admitted(url: str) -> None:
    """What feeds really look like passes."""
    assert own_urls({"own": f"{url}/"}) == {"own": url}


def test_versions_that_a_client_insists_on_are_compared() -> None:
    """All that differ are named at once, for people and for programs."""
    with pytest.raises(
        WrongPackageVersions, match=r"curl is 8\.17\.0, not 8\.9\.0; vim is not in the image"
    ) as raised:
        check_versions(
            {"vim": "9", "curl": "8.9.0", "ip": "1"}, {"curl": "8.17.0", "ip": "1"}, IMAGE
        )

    assert [
        (problem["package"], problem["kind"]) for problem in raised.value.body()["problems"]
    ] == [("curl", "version"), ("vim", "missing")]


def test_versions_that_agree_pass() -> None:
    """Nothing happens when the image has what the client insists on."""
    check_versions({"ip": "1"}, {"ip": "1", "curl": "8"}, IMAGE)
