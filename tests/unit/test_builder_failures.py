"""What the output of a failed ImageBuilder is taken to mean, for both package managers.

The fixtures are short texts in the form of genuine outputs, one for each way to fail.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from asu.errors import (
    AsuError,
    BrokenDependency,
    BuildDisrupted,
    BuilderIncomplete,
    BuildFailed,
    ContainerFailed,
    DiskFull,
    DownloadFailed,
    FeedUntrusted,
    FeedUnusable,
    ImageTooBig,
    ImpossibleSelection,
    ProfileMissingInBuilder,
    UnknownFilesystem,
)
from asu.worker.builder_failures import Selection, check, failure
from asu.worker.container import GIVEN_UP, CommandResult
from asu.worker.image_sizes import size_error
from asu.worker.package_managers import Apk, Opkg, OwnFeeds

if TYPE_CHECKING:
    from asu.worker.package_managers import PackageManager

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
    "apk-provides": (
        "conflicts (nftables-json with nftables-nojson, nftables-json with nftables-tiny)"
    ),
    "apk-clash": "same file in two packages (/usr/bin/tool of second and first)",
    "apk-wrong-architecture": "not made for this device (built-for-another)",
}

# Package and kind of each problem, and words of its sentence.
PROBLEMS: dict[str, list[tuple[str, str, str]]] = {
    "opkg-unknown": [
        ("no-such-a", "missing", "no-such-a is in none"),
        ("no-such-b", "missing", "no-such-b is in none"),
    ],
    "opkg-missing-dependency": [
        ("no-such-library", "missing", "wants-library needs no-such-library")
    ],
    "opkg-missing-dependency-deep": [
        ("no-such-library", "missing", "middle needs no-such-library")
    ],
    "opkg-version": [("wants-new-curl", "version", "curl (>= 99.0)")],
    "opkg-conflict": [("wpad-openssl", "conflict", "wpad-openssl and wpad-basic-mbedtls exclude")],
    "opkg-conflict-with-two": [
        ("ip-full", "conflict", "ip-tiny"),
        ("ip-full", "conflict", "ip-bridge-less"),
    ],
    "opkg-clash": [("second", "clash", "second and first both hold /usr/bin/tool")],
    "opkg-several": [
        ("wpad-openssl", "conflict", "wpad-basic-mbedtls"),
        ("no-such-a", "missing", "no-such-a"),
    ],
    "apk-unknown": [
        ("no-such-a", "missing", "no-such-a is in none"),
        ("no-such-b", "missing", "no-such-b is in none"),
    ],
    "apk-missing-dependency": [
        ("no-such-library", "missing", "wants-library needs no-such-library")
    ],
    "apk-version": [("wants-new-curl", "version", "curl (>= 99.0)")],
    "apk-conflict": [("wpad-basic-mbedtls", "conflict", "exclude each other")],
    "apk-provides": [
        ("nftables-json", "conflict", "nftables-nojson"),
        ("nftables-json", "conflict", "nftables-tiny"),
    ],
    "apk-clash": [("second", "clash", "second and first both hold /usr/bin/tool")],
    "apk-wrong-architecture": [
        ("built-for-another", "architecture", "not made for the architecture")
    ],
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
    "apk-schema": ": vim-9.1-r1;",
    "apk-no-package": ": vim-9.1-r1;",
    "apk-mirror-down": BASE_FEED + "packages.adb;",
    "apk-key-unknown": BASE_FEED + "packages.adb;",
}

OTHERS: dict[str, tuple[type[AsuError], str]] = {
    "image-postinst-opkg": (BuildFailed, "the installation script of kmod-odd failed"),
    "image-postinst-apk": (BuildFailed, "the installation script of kmod-odd failed"),
    "image-unknown-profile": (ProfileMissingInBuilder, "has no profile nosuch"),
    "image-unknown-filesystem": (
        UnknownFilesystem,
        "makes no jffs2 images; it makes squashfs, ext4",
    ),
    "image-no-kernel": (BuilderIncomplete, "it lacks 8dev_lima-kernel.bin;"),
    "image-no-tool": (BuilderIncomplete, "it lacks padjffs2;"),
    "image-no-tool-shell": (BuilderIncomplete, "it lacks padjffs2;"),
    "image-no-makefile": (BuilderIncomplete, "it lacks info;"),
    "image-prerequisites": (BuilderIncomplete, "it lacks a program"),
    "image-odd": (BuildFailed, "something quite unexpected"),
    "image-ext4": (ImageTooBig, "the ext4 root file system has at least"),
    "image-check-size": (ImageTooBig, "25427972 bytes, 9043972 more"),
    "image-killed": (BuildDisrupted, "was killed"),
    "image-disk-full": (DiskFull, "nothing is free"),
}

# Kinds of outputs that test_image_sizes.py and test_package_managers.py read.
ELSEWHERE = (
    "image-check-size-",
    "image-mktplinkfw",
    "image-tplink-",
    "image-several",
    "image-left-out",
    "feed-",
)
FEEDS = OwnFeeds({"own": "https://feeds.example/own"})
WITH_FEEDS = Selection(own=FEEDS)


def text_of(name: str) -> str:
    """Return a fixture."""
    return (FIXTURES / f"{name}.txt").read_text()


def manager_of(name: str) -> PackageManager:
    """Return the package manager that a fixture is of; those of the image say the same with
    either.
    """
    return Apk() if "apk" in name else Opkg()


def failed(name: str, selection: Selection = WITH_FEEDS) -> AsuError:
    """Return what a fixture means, for a request with a feed of its own."""
    return failure(CommandResult(2, "", text_of(name)), manager_of(name), selection)


BROKEN = {
    "opkg-missing-dependency": "wants-library needs no-such-library, which is in none of the feeds",
    "opkg-missing-dependency-deep": "middle needs no-such-library, which is in none of the feeds",
    "opkg-version": "wants-new-curl needs curl (>= 99.0), which is in none of the feeds",
    "apk-missing-dependency": "wants-library needs no-such-library, which is in none of the feeds",
    "apk-version": "wants-new-curl needs curl (>= 99.0), which is in none of the feeds",
}


@pytest.mark.parametrize(("name", "words"), BROKEN.items())
def test_what_openwrt_s_own_packages_lack_is_not_the_users_fault(name: str, words: str) -> None:
    """All packages come from OpenWrt, and one of them needs what none of its feeds has."""
    error = failed(name, Selection(["luci", "wants-library", "wants-new-curl", "-ppp"]))

    assert isinstance(error, BrokenDependency)
    assert (error.fault, error.retry_after) == ("upstream", 600)
    assert words in error.detail
    assert error.body()["problems"] == failed(name).body()["problems"]


@pytest.mark.parametrize("name", ["opkg-missing-dependency", "apk-missing-dependency"])
def test_a_missing_name_that_was_asked_for_is_missing_anyway(name: str) -> None:
    """It stands in the list, whatever else needs it."""
    error = failed(name, Selection(["wants-library", "no-such-library"]))

    assert isinstance(error, ImpossibleSelection)


@pytest.mark.parametrize("name", sorted(SELECTIONS.keys() - BROKEN.keys()))
def test_what_excludes_or_does_not_exist_is_never_called_openwrt_s_fault(name: str) -> None:
    """Only a dependency that cannot be met is."""
    assert isinstance(failed(name, Selection(["luci"])), ImpossibleSelection)


@pytest.mark.parametrize("name", ["opkg-unknown", "apk-unknown"])
def test_a_build_says_of_a_missing_name_what_its_preview_said(name: str) -> None:
    """With the same kind and suggestion; a name that the preview did not know stays as it was."""
    explained = {
        "package": "no-such-a",
        "kind": "renamed",
        "suggestion": "such-a",
        "detail": "no-such-a became such-a.",
    }

    error = failed(name, Selection(["no-such-a", "no-such-b"], {"no-such-a": explained}))

    assert "missing (no-such-a, use such-a, no-such-b)" in error.detail
    [renamed, unknown] = error.body()["problems"]
    assert renamed == explained
    assert (unknown["package"], unknown["kind"]) == ("no-such-b", "missing")


@pytest.mark.parametrize(("name", "reason"), SELECTIONS.items())
def test_an_impossible_selection_is_explained_by_name(name: str, reason: str) -> None:
    """Each culprit is named, without version and without a package that is not to blame."""
    error = failed(name)

    assert isinstance(error, ImpossibleSelection)
    assert error.detail == f"Impossible package selection: {reason}"


@pytest.mark.parametrize(("name", "problems"), PROBLEMS.items())
def test_each_problem_is_told_to_programs(name: str, problems: list[tuple[str, str, str]]) -> None:
    """Beside the sentence stands a list in the shape of a preview's problems, one entry for
    each.
    """
    told: list[dict[str, Any]] = failed(name).body()["problems"]

    assert [(problem["package"], problem["kind"]) for problem in told] == [
        (package, kind) for package, kind, _ in problems
    ]
    assert all(
        words in problem["detail"] for problem, (_, _, words) in zip(told, problems, strict=True)
    )
    assert all(list(problem) == ["package", "kind", "suggestion", "detail"] for problem in told)


@pytest.mark.parametrize(("name", "what"), DOWNLOADS.items())
def test_a_failed_download_is_never_the_users_fault(name: str, what: str) -> None:
    """A download that failed is told as such, whatever package errors follow from it."""
    error = failed(name)

    assert isinstance(error, DownloadFailed)
    assert error.fault == "upstream"
    assert what in error.detail
    assert "problems" not in error.body()


@pytest.mark.parametrize(
    ("name", "expected", "words"), [(name, *rest) for name, rest in OTHERS.items()]
)
@pytest.mark.parametrize("manager", [Opkg(), Apk()], ids=["opkg", "apk"])
def test_other_failures_have_their_own_class(
    name: str, expected: type[AsuError], words: str, manager: PackageManager
) -> None:
    """Each way to fail has its class and says what happened, whichever package manager the builder
    has.
    """
    error = failure(CommandResult(2, "", text_of(name)), manager)

    assert type(error) is expected
    assert words in error.detail


def test_every_fixture_is_expected_to_mean_something() -> None:
    """No fixture lies about unused."""
    others = {path.stem for path in FIXTURES.iterdir() if not path.stem.startswith(ELSEWHERE)}

    assert others == {*SELECTIONS, *DOWNLOADS, *OTHERS}


def test_a_profile_that_is_not_there_is_told_on_standard_output() -> None:
    """The builder complains about the profile on stdout; the server lists it, so the user is not to
    blame.
    """
    error = failure(
        CommandResult(
            2, 'Profile "nosuch" does not exist!\n', "make: *** [Makefile:347: manifest] Error 2\n"
        ),
        Opkg(),
    )

    assert error.body()["code"] == "profile-missing-in-builder"
    assert (error.fault, "nosuch" in error.detail) == ("upstream", True)
    assert error.retry_after


@pytest.mark.parametrize("exit_code", [-1, 125, 126, 127, 137])
def test_a_command_without_an_end_of_its_own_is_our_trouble(exit_code: int) -> None:
    """A command that was killed, or that podman could not even start, says nothing about the
    request or its feeds.
    """
    result = CommandResult(
        exit_code,
        "",
        "Error: runc: exec failed: unable to start container process: OCI runtime error\n",
    )

    with pytest.raises(ContainerFailed):
        check(result, Opkg(), WITH_FEEDS)


def test_a_failure_without_words_says_so() -> None:
    """Where the builder gave no reason none is made up."""
    assert (
        failure(CommandResult(2, "", "make: *** [x] Error 2\n"), Apk()).detail
        == "The ImageBuilder failed: it gave no reason"
    )


@pytest.mark.parametrize("name", ["feed-opkg-missing", "feed-apk-missing"])
@pytest.mark.parametrize("exit_code", [0, 2])
def test_a_feed_of_the_request_that_is_left_out_ends_the_build(name: str, exit_code: int) -> None:
    """The builder goes on without it and takes packages from elsewhere; that is told as the feed's
    failure, whatever came of it.
    """
    with pytest.raises(FeedUnusable) as raised:
        check(CommandResult(exit_code, "", text_of(name)), manager_of(name), WITH_FEEDS)

    assert "own (https://feeds.example/own" in raised.value.detail
    assert raised.value.fault == "upstream"


@pytest.mark.parametrize(
    "name", ["feed-opkg-untrusted", "feed-opkg-unsigned", "feed-apk-untrusted"]
)
@pytest.mark.parametrize("exit_code", [0, 2, GIVEN_UP])
def test_a_feed_without_a_fitting_signature_is_refused(name: str, exit_code: int) -> None:
    """No later try with the same keys can go better, so none is made.

    The command ends at that feed. What comes after it is not read yet, and is not to blame.
    """
    manager = manager_of(name)
    feeds = {**FEEDS.urls, "later": "https://feeds.example/later"}
    text = text_of(name)
    refusal = re.search(manager.refusal_of(feeds), text)

    assert refusal is not None
    with pytest.raises(FeedUntrusted) as raised:
        check(
            CommandResult(exit_code, "", text[: refusal.end()]),
            manager,
            Selection(own=OwnFeeds(feeds)),
        )
    assert "own (https://feeds.example/own" in raised.value.detail
    assert "later" not in raised.value.detail
    assert not raised.value.is_passing


@pytest.mark.parametrize("name", ["feed-opkg-used", "feed-apk-used", "feed-opkg-missing"])
def test_words_about_other_feeds_refuse_none(name: str) -> None:
    """A build goes on until the builder has said that a feed of the request is not trusted."""
    assert re.search(manager_of(name).refusal_of(FEEDS.urls), text_of(name)) is None


@pytest.mark.parametrize(("replace", "named"), [(True, True), (False, False)])
@pytest.mark.parametrize("name", ["opkg-missing-dependency", "apk-missing-dependency"])
def test_a_package_that_only_openwrt_has_names_the_mode(
    name: str, *, replace: bool, named: bool
) -> None:
    """Feeds in place of OpenWrt's lack all that only OpenWrt has; that is rarely meant."""
    selection = Selection(own=OwnFeeds({"own": "https://feeds.example/else"}, replace=replace))

    error = failure(CommandResult(2, "", text_of(name)), manager_of(name), selection)

    assert isinstance(error, ImpossibleSelection)
    assert ("set `repositories_mode` to append" in error.detail) is named


@pytest.mark.parametrize("name", ["feed-opkg-official-missing", "feed-apk-official-missing"])
def test_an_official_feed_that_is_left_out_ends_only_builds_with_feeds_beside_it(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Alone, no other feed can have stood in for it; beside a feed of the request, that one can."""
    result = CommandResult(0, "", text_of(name))
    with caplog.at_level(logging.WARNING):
        check(result, manager_of(name), Selection())

    assert "telephony" in caplog.text
    with pytest.raises(DownloadFailed, match="telephony"):
        check(result, manager_of(name), WITH_FEEDS)


@pytest.mark.parametrize("name", ["feed-opkg-used", "feed-apk-used"])
def test_a_feed_that_is_used_is_no_failure(name: str) -> None:
    """Nothing is raised when all feeds were had and trusted, however full stderr is."""
    check(CommandResult(0, "", text_of(name)), manager_of(name), WITH_FEEDS)


@pytest.mark.parametrize("name", ["opkg-conflict", "apk-conflict"])
def test_the_words_of_the_other_package_manager_mean_nothing(name: str) -> None:
    """A builder has one of the two; what looks like the other's complaint is none."""
    other: PackageManager = Opkg() if name.startswith("apk") else Apk()

    assert other.problems(text_of(name)) == []


def test_sizes_are_looked_for_after_packages() -> None:
    """A selection that cannot be installed makes no image, so its size is no reason."""
    assert size_error("", text_of("opkg-conflict")) is None
