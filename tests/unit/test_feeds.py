"""The feeds and keys of a request, as a whole: names, forms, and what the version installs with."""

import pytest

from asu.catalogue.feed_policy import FeedPolicy
from asu.errors import RepositoryNotAllowed, UnsuitableRepositoryKey, UserError
from asu.resolution import Version
from tests.unit.fixtures.feed_keys import PEM, USIGN

OPKG = ["21.02.7", "23.05.10", "24.10.4", "24.10-SNAPSHOT"]
APK = ["25.12.0-rc1", "25.12.0", "25.12-SNAPSHOT", "SNAPSHOT"]
POLICY = FeedPolicy.of(["https://feeds.example.org/own"])
DIRECTORY, INDEX = (
    "https://feeds.example.org/own/x86_64",
    "https://feeds.example.org/own/x86_64/packages.adb",
)


def is_admitted(repositories: dict[str, str], *keys: str, version: str = "24.10.4") -> bool:
    """Whether feeds and keys pass."""
    try:
        POLICY.admit(repositories, keys, Version.parse(version))
    except UserError:
        return False
    return True


def refusal(
    repositories: dict[str, str], version: str = "24.10.4", policy: FeedPolicy = POLICY
) -> RepositoryNotAllowed:
    """Return the error that feeds are refused with."""
    with pytest.raises(RepositoryNotAllowed) as caught:
        policy.admit(repositories, [], Version.parse(version))
    assert caught.value.status == 400
    return caught.value


@pytest.mark.parametrize("version", OPKG)
def test_opkg_takes_directories_and_usign_keys(version: str) -> None:
    """24.10 and older, the snapshots of their branches included."""
    feeds = {"mine": DIRECTORY, "other": f"{DIRECTORY}/"}
    assert is_admitted(feeds, USIGN, version=version)
    assert not is_admitted(feeds, USIGN, version=APK[0])


@pytest.mark.parametrize("version", APK)
def test_apk_takes_indexes_and_pem_keys(version: str) -> None:
    """25.12 and newer, and the development branch."""
    assert is_admitted({"mine": INDEX}, PEM, version=version)
    assert not is_admitted({"mine": INDEX}, PEM, version=OPKG[0])


@pytest.mark.parametrize("version", APK)
@pytest.mark.parametrize(
    "url", [DIRECTORY, f"{DIRECTORY}/", f"{DIRECTORY}/Packages.gz", f"{DIRECTORY}/packages.ADB"]
)
def test_a_directory_is_no_feed_for_apk(version: str, url: str) -> None:
    """Apk would read it as a repository of another kind and go on without it; the refusal says what
    to give.
    """
    error = refusal({"mine": url}, version)

    assert error.code == "malformed-repository"
    assert (
        f"mine has no index for apk, which {version} installs with; give the address of its"
        " packages.adb" in error.detail
    )


@pytest.mark.parametrize("version", OPKG)
@pytest.mark.parametrize(
    "url",
    [
        INDEX,
        f"{DIRECTORY}/Packages.gz",
        f"{DIRECTORY}/Packages.sig",
        f"{DIRECTORY}/mine_1.0_all.ipk",
    ],
)
def test_a_file_is_no_feed_for_opkg(version: str, url: str) -> None:
    """It would ask for a file below a file; the refusal says what to give."""
    error = refusal({"mine": url}, version)

    assert error.code == "malformed-repository"
    assert (
        f"mine is no directory for opkg, which {version} installs with; give the address of the"
        " directory" in error.detail
    )


def test_an_index_with_a_slash_behind_it_is_no_file() -> None:
    """However the dot is written."""
    assert refusal({"mine": f"{INDEX}/"}, "25.12.0").code == "malformed-repository"
    assert (
        refusal({"mine": f"{DIRECTORY}/packages%2Eadb/"}, "25.12.0").code == "malformed-repository"
    )


@pytest.mark.parametrize(
    "name", ["imagebuilder", "openwrt_core", "openwrt_", "ImageBuilder", "OpenWrt_base"]
)
def test_the_names_of_the_builders_own_feeds_are_taken(name: str) -> None:
    """Opkg skips the second feed of a name, so the packages would be missing without a word."""
    assert (
        "is a name of the ImageBuilder's own feeds; choose another"
        in refusal({name: DIRECTORY}).detail
    )


@pytest.mark.parametrize("name", ["openwrt", "my_openwrt_core", "imagebuilder2"])
def test_names_that_are_like_those_are_free(name: str) -> None:
    """Only what could clash is refused."""
    assert is_admitted({name: DIRECTORY})


@pytest.mark.parametrize(
    "url", [DIRECTORY, "no address at all", "https://user:secret@feeds.example.org/"]
)
def test_a_server_that_admits_none_says_so(url: str) -> None:
    """Nobody need correct an address that is refused anyway."""
    error = refusal({"mine": url}, policy=FeedPolicy(()))

    assert (error.code, error.detail) == (
        "repository-not-allowed",
        "Repository not allowed: mine; this server admits no repositories but OpenWrt's own",
    )


def test_a_refusal_says_what_is_admitted() -> None:
    """Three entries of a long list; the address that was refused is cut."""
    policy = FeedPolicy.of([f"https://feeds.example.org/{number}" for number in range(7)])
    error = refusal({"mine": "https://feeds.example.org/" + "x" * 480}, policy=policy)

    assert (
        error.detail
        == f"Repository not allowed: https://feeds.example.org/{'x' * 74}; this server admits what"
        " lies below https://feeds.example.org/0, https://feeds.example.org/1,"
        " https://feeds.example.org/2 and 4 more addresses"
    )


def test_each_feed_is_looked_at() -> None:
    """One good feed makes no other one good."""
    assert (
        refusal({"mine": DIRECTORY, "other": "https://feeds.example.org/other"}).code
        == "repository-not-allowed"
    )


@pytest.mark.parametrize(
    ("key", "version", "words"),
    [
        (
            USIGN,
            "25.12.0",
            (
                "is usign's public key; 25.12.0 installs with apk, so send a PEM file with an EC"
                " public key."
            ),
        ),
        (
            USIGN,
            "SNAPSHOT",
            (
                "is usign's public key; SNAPSHOT installs with apk, so send a PEM file with an EC"
                " public key."
            ),
        ),
        (
            PEM,
            "24.10.4",
            (
                "is a PEM file with an EC public key; 24.10.4 installs with opkg, so send usign's"
                " public key."
            ),
        ),
        (
            PEM,
            "24.10-SNAPSHOT",
            (
                "is a PEM file with an EC public key; 24.10-SNAPSHOT installs with opkg, so send"
                " usign's public key."
            ),
        ),
    ],
)
def test_a_key_of_the_other_kind_says_what_to_send(key: str, version: str, words: str) -> None:
    """The package manager would not look at it, and drop the feed in silence."""
    with pytest.raises(UnsuitableRepositoryKey) as caught:
        POLICY.admit({}, [key], Version.parse(version))

    assert (caught.value.status, caught.value.detail) == (
        400,
        f"Key 1 of `repository_keys` {words}",
    )
