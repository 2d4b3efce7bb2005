"""Whether a request names something that can be built, seen through the catalogue alone."""

from typing import Any

import pytest

from asu.build_request import BuildRequest
from asu.catalogue.validation import Catalogue, ValidatedRequest
from asu.errors import (
    AmbiguousProfile,
    AsuError,
    DefaultsNotAllowed,
    DefaultsTooLong,
    DeviceMoved,
    HalfPublished,
    MalformedRepositoryKey,
    RepositoryNotAllowed,
    RootfsTooLarge,
    UnsupportedBranch,
    UnsupportedDistro,
    UnsupportedProfile,
    UnsupportedTarget,
    UnsupportedVersion,
    UpstreamError,
    UpstreamUnreachable,
)
from asu.resolution import Gatherer, Version, load_rules
from tests.twins.memory_upstream import MemoryUpstream
from tests.unit.fixtures.feed_keys import USIGN, USIGN_LINE
from tests.unit.worlds import REQUEST, REVISION, metadata, settings

pytestmark = pytest.mark.anyio


def catalogue(
    documents: dict[str, Any] | None = None, *, down: bool = False, **changes: Any
) -> Catalogue:
    """Return a catalogue of these documents."""
    upstream = MemoryUpstream(metadata() if documents is None else documents, down=down)
    return Catalogue(upstream, Gatherer(upstream), settings(**changes), load_rules())


async def validate(where: Catalogue | None = None, **fields: Any) -> ValidatedRequest:
    """Validate a request with these fields changed."""
    return await (where or catalogue()).validate(BuildRequest.model_validate({**REQUEST, **fields}))


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("tplink_archer-c7-v5", "tplink_archer-c7-v5"),
        ("tplink,archer-c7-v5", "tplink_archer-c7-v5"),
        ("archer-c7-v5", "tplink_archer-c7-v5"),
        ("glinet,gl-ar300m-nor", "glinet_gl-ar300m-nor"),
    ],
)
async def test_a_profile_is_found_by_id_board_name_and_unique_alias(asked: str, found: str) -> None:
    """LuCI sends the board name with its comma, older devices a name of `supported_devices`."""
    assert (await validate(profile=asked)).fields["profile"] == found


async def test_an_exact_id_wins_over_an_alias() -> None:
    """A name that is a profile means this profile, whoever else claims it."""
    documents = metadata()
    documents["releases/24.10.4/targets/ath79/generic/profiles.json"]["profiles"]["gl-ar300m"] = {
        "device_packages": []
    }

    assert (await validate(catalogue(documents), profile="gl-ar300m")).fields[
        "profile"
    ] == "gl-ar300m"


async def test_an_ambiguous_alias_names_its_candidates() -> None:
    """Flashing the image of another device bricks this one, so nobody guesses."""
    with pytest.raises(AmbiguousProfile) as caught:
        await validate(profile="gl-ar300m")

    assert "glinet_gl-ar300m-nand, glinet_gl-ar300m-nor" in caught.value.detail


async def test_a_generic_target_takes_any_name() -> None:
    """The board names of PCs are whatever their makers wrote into the firmware."""
    assert (await validate(target="x86/64", profile="innotek-gmbh-virtualbox")).fields[
        "profile"
    ] == "generic"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"version": "24.10.9"}, UnsupportedVersion),
        ({"version": "24.10"}, UnsupportedVersion),
        ({"version": "24.10.4-rc1"}, UnsupportedVersion),
        ({"version": "26.10.0"}, UnsupportedBranch),
        ({"version": "26.10-SNAPSHOT"}, UnsupportedBranch),
        ({"version": "19.07.10"}, UnsupportedBranch),
        ({"target": "ath79/nand"}, DeviceMoved),
        ({"target": "ath79/nand", "profile": "no-such-device"}, UnsupportedTarget),
        ({"profile": "tplink_archer-c7"}, UnsupportedProfile),
        ({"profile": "tplink.archer-c7-v5"}, UnsupportedProfile),
        ({"profile": "generic"}, UnsupportedProfile),
        ({"distro": "lede"}, UnsupportedDistro),
    ],
)
async def test_what_does_not_exist_is_refused(
    fields: dict[str, Any], error: type[AsuError]
) -> None:
    """Version, branch, target, profile and distribution must exist."""
    with pytest.raises(error):
        await validate(**fields)


@pytest.mark.parametrize(
    "version", ["23.05.10", "24.10.3", "24.10-SNAPSHOT", "SNAPSHOT", "25.12.0-rc1"]
)
async def test_versions_of_every_kind(version: str) -> None:
    """Releases with patch numbers of two digits, candidates, and snapshots, which no list names."""
    assert (await validate(version=version)).fields["version"] == version


@pytest.mark.parametrize(
    ("version", "target"),
    [("24.10.4", "lantiq/xrx200"), ("23.05.9", "ath79/generic"), ("SNAPSHOT", "lantiq/xrx200")],
)
async def test_what_is_half_published_is_not_the_users_fault(version: str, target: str) -> None:
    """The server lists it and does not have it (yet): try again later."""
    documents = metadata()
    del documents["snapshots/.targets.json"]
    with pytest.raises(HalfPublished) as caught:
        await validate(catalogue(documents), version=version, target=target)

    assert (caught.value.fault, caught.value.status) == ("upstream", 503)


async def test_a_branch_without_a_snapshot_has_none() -> None:
    """No list names snapshots, so one that is nowhere is not about to be published; asking again
    would change nothing.
    """
    with pytest.raises(UnsupportedVersion, match=r"25\.12-SNAPSHOT"):
        await validate(version="25.12-SNAPSHOT")


async def test_a_snapshot_whose_list_of_targets_is_missing_is_built() -> None:
    """What the target itself has is enough; the list is one document among many, and may be broken
    for days.
    """
    documents = metadata()
    del documents["releases/24.10-SNAPSHOT/.targets.json"]

    assert (await validate(catalogue(documents), version="24.10-SNAPSHOT")).fields[
        "version"
    ] == "24.10-SNAPSHOT"
    with pytest.raises(UnsupportedVersion):
        await validate(catalogue(documents), version="24.10-SNAPSHOT", target="lantiq/xrx200")


@pytest.mark.parametrize(
    "target",
    ["../../x", "ath79/../../x", "a b/c", "ath79/generic/..", "ath79/gener\u0131c", "x\n/y", "/"],
)
async def test_a_path_is_never_made_of_whatever_comes(target: str) -> None:
    """Where the list of targets is missing, only what can be the name of one is looked for."""
    documents = metadata()
    del documents["releases/24.10-SNAPSHOT/.targets.json"]

    with pytest.raises(UnsupportedTarget) as caught:
        await catalogue(documents).revision("24.10-SNAPSHOT", target)

    assert caught.value.detail.isascii()
    assert caught.value.detail.isprintable()
    assert not await catalogue(documents).has_target(Version.parse("24.10-SNAPSHOT"), target)


@pytest.mark.parametrize(
    "path",
    [
        ".versions.json",
        "releases/24.10.4/.targets.json",
        "releases/24.10.4/targets/ath79/generic/profiles.json",
    ],
)
@pytest.mark.parametrize("broken", [None, [], "login", {"profiles": 1}])
async def test_a_broken_document_is_not_the_users_fault(path: str, broken: object) -> None:
    """Whatever the server sends in place of a document: nothing crashes and no user is blamed."""
    documents = {**metadata(), path: broken}

    with pytest.raises(UpstreamError):
        await validate(catalogue(documents))


async def test_without_upstream_and_copy_nothing_is_valid() -> None:
    """Nobody can say whether the request is good, so it is to be tried again."""
    with pytest.raises(UpstreamUnreachable):
        await validate(catalogue(down=True))


@pytest.mark.parametrize(
    ("changes", "fields", "error"),
    [
        ({}, {"defaults": "true"}, DefaultsNotAllowed),
        ({"allow_defaults": True, "max_defaults_length": 5}, {"defaults": "ééé"}, DefaultsTooLong),
        ({"max_custom_rootfs_size_mb": 100}, {"rootfs_size_mb": 101}, RootfsTooLarge),
        ({}, {"repositories": {"mine": "https://example.org"}}, RepositoryNotAllowed),
        (
            {"repository_allow_list": ["https://example.org/feeds"]},
            {"repositories": {"mine": "https://example.org"}},
            RepositoryNotAllowed,
        ),
        ({}, {"repository_keys": ["key"]}, MalformedRepositoryKey),
    ],
)
async def test_limits_of_the_operator(
    changes: dict[str, Any], fields: dict[str, Any], error: type[AsuError]
) -> None:
    """First-boot scripts (counted in bytes), file system sizes and foreign repositories are the
    operator's to allow.
    """
    with pytest.raises(error):
        await validate(catalogue(**changes), **fields)


@pytest.mark.parametrize(
    "fields", [{"defaults": ""}, {"defaults": None}, {"repositories": {}, "repository_keys": []}]
)
async def test_empty_is_absent(fields: dict[str, Any]) -> None:
    """The Firmware Selector always sends these, allowed or not."""
    assert (await validate(**fields)).fields == (await validate()).fields


async def test_feeds_and_keys_are_handed_on_in_one_spelling() -> None:
    """The worker and the identity of the build see what was admitted, not how it was written."""
    where = catalogue(repository_allow_list=["https://feeds.example.org"])
    repositories = {
        "mine": "HTTPS://Feeds.example.org:443/%61/",
        "other": "https://feeds.example.org/b",
    }

    fields = (
        await validate(
            where,
            repositories=repositories,
            repository_keys=[USIGN_LINE, f"untrusted comment: x\n{USIGN_LINE}\n"],
        )
    ).fields

    assert fields["repositories"] == {
        "mine": "https://feeds.example.org/a",
        "other": "https://feeds.example.org/b",
    }
    assert fields["repository_keys"] == [USIGN]


async def test_the_last_admitted_script_and_size() -> None:
    """Limits are inclusive."""
    where = catalogue(allow_defaults=True, max_defaults_length=6, max_custom_rootfs_size_mb=100)

    assert (await validate(where, defaults="ééé", rootfs_size_mb=100)).fields["defaults"] == "ééé"


async def test_the_oldest_branch_is_a_setting() -> None:
    """An operator may end the support of a branch."""
    with pytest.raises(UnsupportedBranch):
        await validate(catalogue(oldest_branch="24.10"), version="23.05.10")


async def test_the_revision_of_a_target() -> None:
    """LuCI compares it with that of the device."""
    assert await catalogue().revision("SNAPSHOT", "ath79/generic") == REVISION


@pytest.mark.parametrize(
    ("version", "target", "error"),
    [
        ("24.10.9", "ath79/generic", UnsupportedVersion),
        ("x" * 500, "ath79/generic", UnsupportedVersion),
        ("24.10.4", "no/such", UnsupportedTarget),
        ("24.10.4", "lantiq/xrx200", HalfPublished),
    ],
)
async def test_no_revision_of_what_does_not_exist(
    version: str, target: str, error: type[AsuError]
) -> None:
    """The same mistakes as in a request."""
    with pytest.raises(error):
        await catalogue().revision(version, target)
