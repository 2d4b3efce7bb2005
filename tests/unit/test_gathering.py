"""What is looked up before a decision, and what a decision does without what cannot be had."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from asu.resolution import Gatherer, Knowledge, PackageRequest, Resolution, Version, load_rules
from asu.resolution.gathering import KEPT_ENTRIES, KEPT_SECONDS
from tests.unit.fixtures.small_world import COMMON, FewDocuments, absolute, relative

RULES = load_rules()
HUB = ("lantiq/xrx200", "bt_homehub-v5a")
NEW, OLD, OLDEST = "releases/25.12.5", "releases/24.10.7", "releases/23.05.6"
PROFILES = f"{NEW}/targets/lantiq/xrx200/profiles.json"
TARGET_INDEX = f"{NEW}/targets/lantiq/xrx200/packages/index.json"
KMODS_INDEX = f"{NEW}/targets/lantiq/xrx200/kmods/6.12-1-abc/index.json"
FEEDS = f"{NEW}/packages/mips_24kc/feeds.conf"
BASE_INDEX = f"{NEW}/packages/mips_24kc/base/index.json"
KERNEL = {"version": "6.12", "release": "1", "vermagic": "abc"}


def profiles(
    *own: str,
    architecture: str = "mips_24kc",
    profile: str = HUB[1],
    kernel: Mapping[str, str] | None = None,
) -> str:
    """Return a profiles.json of one device."""
    entry = {"device_packages": list(own), "supported_devices": []}
    document: dict[str, Any] = {
        "version_code": "r1",
        "arch_packages": architecture,
        "default_packages": COMMON,
        "profiles": {profile: entry},
    }
    return json.dumps({**document, "linux_kernel": kernel} if kernel else document)


def packages(*names: str) -> str:
    """Return an index.json."""
    return json.dumps({"version": 2, "packages": dict.fromkeys(names, "1-r1")})


def world() -> dict[str, str]:
    """Return all documents about one device in three releases; modules are split off in the
    newest.
    """
    return {
        ".versions.json": json.dumps(
            {
                "stable_version": "25.12.5",
                "versions_list": ["25.12.5", "25.12.4", "24.10.7", "24.10.6", "23.05.6"],
            }
        ),
        PROFILES: profiles("kmod-new", kernel=KERNEL),
        f"{OLD}/targets/lantiq/xrx200/profiles.json": profiles("kmod-old"),
        f"{OLD}/targets/x86/64/profiles.json": profiles(architecture="x86_64", profile="generic"),
        f"{OLDEST}/targets/lantiq/xrx200/profiles.json": profiles("kmod-oldest"),
        TARGET_INDEX: packages("base-files"),
        KMODS_INDEX: packages("kmod-new", "kmod-nft-offload", "kmod-dsa-gswip"),
        FEEDS: "src-git base https://example.org/base.git\n",
        BASE_INDEX: packages(
            *COMMON, "luci", "vim", "xrx200-rev1.1-phy11g-firmware", "xrx200-rev1.2-phy11g-firmware"
        ),
    }


def without(*paths: str) -> dict[str, str]:
    """Return the documents without some."""
    return {path: text for path, text in world().items() if path not in paths}


def gather(
    request: PackageRequest, documents: Mapping[str, str], unavailable: Iterable[str] = ()
) -> Knowledge:
    """Return what a new service would know."""
    return asyncio.run(Gatherer(FewDocuments(documents, unavailable)).gather(request))


def decide(
    request: PackageRequest, documents: Mapping[str, str], unavailable: Iterable[str] = ()
) -> Resolution:
    """Return what a new service would decide."""
    return asyncio.run(Gatherer(FewDocuments(documents, unavailable)).decide(request, RULES))


def hub(
    *, since: str | None = None, names: Iterable[str] = (*COMMON, "kmod-old")
) -> PackageRequest:
    """Return an upgrade of the Home Hub to the newest release."""
    return absolute(names, "25.12.5", since=since, device=HUB)


def earlier(knowledge: Knowledge) -> list[str]:
    """Return the releases whose defaults are known, newest first."""
    return [
        str(one.version)
        for one in sorted(knowledge.earlier, key=lambda one: one.version, reverse=True)
    ]


def test_a_stated_origin_is_all_that_is_looked_at() -> None:
    """The client knows best; no other release is fetched."""
    documents = FewDocuments(world())

    knowledge = asyncio.run(Gatherer(documents).gather(hub(since="24.10.7")))

    assert earlier(knowledge) == ["24.10.7"]
    assert not [path for path in documents.reads if path.startswith(OLDEST)]


@pytest.mark.parametrize("origin", ["24.10.9", "24.11.0", "24.11-SNAPSHOT", "24.10.7-rc1"])
def test_an_invented_origin_is_not_looked_for(origin: str) -> None:
    """Documents of versions that no list names would only displace others; where the device comes
    from is inferred instead.
    """
    documents = FewDocuments(world())

    knowledge = asyncio.run(Gatherer(documents).gather(hub(since=origin)))

    assert earlier(knowledge) == ["25.12.5", "24.10.7", "23.05.6"]
    assert not [path for path in documents.reads if f"/{origin}/" in path]


@pytest.mark.parametrize(
    ("origin", "directory"),
    [("24.10-SNAPSHOT", "releases/24.10-SNAPSHOT"), ("SNAPSHOT", "snapshots")],
)
def test_a_snapshot_is_a_possible_origin_though_no_list_names_it(
    origin: str, directory: str
) -> None:
    """That of a listed branch, and the development branch."""
    documents = {
        **world(),
        f"{directory}/targets/lantiq/xrx200/profiles.json": profiles("kmod-snapshot"),
    }

    assert earlier(gather(hub(since=origin), documents)) == [origin]


def test_without_the_list_of_versions_a_stated_origin_is_believed() -> None:
    """Its metadata may well be at hand."""
    assert earlier(gather(hub(since="24.10.7"), world(), [".versions.json"])) == ["24.10.7"]


def test_invented_origins_are_one_to_what_is_kept() -> None:
    """They displace nothing that was put together for others."""
    gatherer = Gatherer(FewDocuments(world()), clock=lambda: 0.0)

    async def flood() -> None:
        for patch in range(500, 600):
            await gatherer.gather(hub(since=f"24.10.{patch}"))

    asyncio.run(flood())

    # The bound is on memory, which nothing else shows.
    assert len(gatherer._kept) == 1  # noqa: SLF001


def test_without_an_origin_each_older_branch_is_a_candidate() -> None:
    """The newest release of each branch stands for it, and the wanted release for itself."""
    assert earlier(gather(hub(), world())) == ["25.12.5", "24.10.7", "23.05.6"]


@pytest.mark.parametrize(
    "unavailable", [(), ("releases/24.10.1/targets/lantiq/xrx200/profiles.json",)]
)
def test_an_origin_whose_metadata_is_missing_is_inferred_from_the_list(
    unavailable: tuple[str, ...],
) -> None:
    """A release may be gone from the server; its branch tells nearly the same, and the answer still
    names what the client said.
    """
    resolution = decide(hub(since="24.10.1"), world(), unavailable)

    assert "kmod-new" in resolution.packages
    assert resolution.from_version is not None
    assert (resolution.from_version.version, resolution.from_version.inferred) == ("24.10.1", False)


def test_a_relative_request_needs_no_earlier_release() -> None:
    """What is wanted beside the defaults says nothing about what was."""
    assert gather(relative(["luci"], "25.12.5", device=HUB), world()).earlier == ()


def test_a_device_that_an_older_release_did_not_know_cannot_come_from_it() -> None:
    """Its profile is not there, so that release is no candidate."""
    documents = {
        **world(),
        f"{OLDEST}/targets/lantiq/xrx200/profiles.json": profiles(profile="other"),
    }

    assert earlier(gather(hub(), documents)) == ["25.12.5", "24.10.7"]


def test_without_the_list_of_versions_only_the_wanted_release_is_a_candidate() -> None:
    """Whatever can be had is used."""
    assert earlier(gather(hub(), world(), [".versions.json"])) == ["25.12.5"]


def test_one_unavailable_release_leaves_the_others() -> None:
    """A single document that cannot be had costs only what it tells."""
    assert earlier(gather(hub(), world(), [f"{OLDEST}/targets/lantiq/xrx200/profiles.json"])) == [
        "25.12.5",
        "24.10.7",
    ]


@pytest.mark.parametrize("gone", [True, False])
def test_without_the_profiles_nothing_is_known_and_nothing_fails(*, gone: bool) -> None:
    """The list stays absolute, and the answer says so."""
    resolution = decide(hub(), without(PROFILES) if gone else world(), [] if gone else [PROFILES])

    assert (resolution.diff_packages, resolution.checked, resolution.problems) == (True, False, ())
    assert "not known at the moment" in resolution.warnings[0]


def test_everything_at_hand_makes_a_checked_answer() -> None:
    """Target packages, split-off modules and feeds together are the whole index."""
    resolution = decide(hub(names=[*COMMON, "kmod-old", "luci"]), world())

    assert (resolution.checked, resolution.problems) == (True, ())
    assert (
        resolution.why("kmod-old")
        == "kmod-old was a default package in 24.10.7 and does not exist in 25.12.5 any more."
    )
    assert resolution.versions["kmod-new"] == "1-r1"


@pytest.mark.parametrize("path", [TARGET_INDEX, KMODS_INDEX, FEEDS, BASE_INDEX])
def test_any_index_that_cannot_be_had_leaves_the_answer_unchecked(path: str) -> None:
    """What was not looked up everywhere may exist; nothing is called unknown and nothing
    dropped.
    """
    resolution = decide(hub(names=[*COMMON, "kmod-old", "nonsense"]), world(), [path])

    assert (resolution.checked, resolution.problems) == (False, ())
    assert {"kmod-old", "nonsense", "kmod-new"} <= set(resolution.packages)


@pytest.mark.parametrize("path", [TARGET_INDEX, FEEDS, BASE_INDEX])
def test_a_half_published_release_leaves_the_answer_unchecked(path: str) -> None:
    """An index that ought to be there and is not says nothing about packages."""
    assert not decide(hub(), without(path)).checked


def test_modules_need_not_be_split_off() -> None:
    """Where there is no directory of modules they are among the target's packages."""
    documents = {
        **without(KMODS_INDEX),
        TARGET_INDEX: packages("base-files", "kmod-new", "kmod-dsa-gswip"),
    }

    resolution = decide(hub(), documents)

    assert (resolution.checked, resolution.problems) == (True, ())


def test_virtual_names_exist_in_releases_with_opkg() -> None:
    """Opkg's own index says what packages provide."""
    own = f"{OLD}/packages/mips_24kc/base/Packages.gz"
    documents = {
        **world(),
        f"{OLD}/packages/mips_24kc/feeds.conf": "src-git base https://example.org/base.git^1\n",
        f"{OLD}/targets/lantiq/xrx200/packages/index.json": packages("base-files"),
        own: "Package: vim-full\nVersion: 9\nProvides: vim\n",
    }
    request = relative(["vim"], "24.10.7", device=HUB)

    resolution = decide(request, documents)

    assert resolution.versions["vim"] == "9"
    assert "vim" not in {problem.package for problem in resolution.problems}


def test_a_damaged_index_of_the_package_manager_leaves_the_plain_one() -> None:
    """Its names are known then, but not what they provide."""
    damaged = BASE_INDEX.replace("index.json", "packages.adb")

    knowledge = gather(hub(), {**world(), damaged: "no index"})

    assert knowledge.index is not None
    assert knowledge.index.complete
    assert not knowledge.index.provides_known


def test_an_unknown_name_is_looked_for_on_other_targets() -> None:
    """Only then are other targets looked at: their modules, and the feeds of another
    architecture.
    """
    elsewhere = {
        f"{NEW}/targets/x86/64/profiles.json": profiles(
            architecture="x86_64", profile="generic", kernel=KERNEL
        ),
        f"{NEW}/targets/x86/64/packages/index.json": packages("grub2"),
        f"{NEW}/targets/x86/64/kmods/6.12-1-abc/index.json": packages("kmod-e1000"),
        f"{NEW}/packages/x86_64/feeds.conf": "src-git base https://example.org/base.git\n",
        f"{NEW}/packages/x86_64/base/index.json": packages("zerotier"),
    }
    wanted = relative(
        ["kmod-e1000", "zerotier", "nonsense"], "25.12.5", device=("lantiq/xrx200", "any")
    )

    problems = decide(wanted, {**world(), **elsewhere}).problems

    assert [(problem.package, problem.kind) for problem in problems] == [
        ("kmod-e1000", "elsewhere"),
        ("zerotier", "elsewhere"),
        ("nonsense", "unknown"),
    ]


def test_other_targets_are_not_looked_at_without_need() -> None:
    """A request whose names all exist costs no further document."""
    documents = FewDocuments(world())

    asyncio.run(Gatherer(documents).decide(hub(), RULES))

    assert not [path for path in documents.reads if "x86" in path or "ath79" in path]


def test_knowledge_is_put_together_once_for_many_requests() -> None:
    """Thousands of requests on release day concern a handful of devices; after some seconds all is
    looked up anew.
    """
    now = [0.0]
    documents = FewDocuments(world())
    gatherer = Gatherer(documents, clock=lambda: now[0])

    async def three_requests() -> list[int]:
        counts = []
        for moment in (0.0, KEPT_SECONDS - 1, KEPT_SECONDS + 1):
            now[0] = moment
            await gatherer.gather(hub())
            counts.append(len(documents.reads))
        return counts

    first, second, third = asyncio.run(three_requests())

    assert first == second
    assert third == 2 * first


def test_what_could_not_be_had_is_asked_for_again_at_once() -> None:
    """A short failure upstream does not outlast itself."""
    documents = FewDocuments(world(), [BASE_INDEX])
    gatherer = Gatherer(documents)

    async def twice() -> tuple[int, int]:
        await gatherer.gather(hub())
        first = len(documents.reads)
        await gatherer.gather(hub())
        return first, len(documents.reads)

    first, second = asyncio.run(twice())

    assert second == 2 * first


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (absolute([*COMMON, "kmod-old", "luci-app-old"], "25.12.5", since="24.10.7", device=HUB),
        "removed"),
        (absolute([*COMMON, "kmod-old", "luci-app-old"], "25.12.5", device=HUB), "removed"),
        (relative(["luci-app-old"], "25.12.5", since="24.10.7", device=HUB), "removed"),
        (relative(["luci-app-old"], "25.12.5", since="24.10.5", device=HUB), "unknown"),
        (relative(["luci-app-old"], "25.12.5", device=HUB), "unknown"),
    ],
)  # fmt: skip
def test_what_the_old_release_had_is_looked_up(request_: PackageRequest, kind: str) -> None:
    """The release that the device runs is the stated one, or the one that its list shows."""
    old = {
        f"{OLD}/targets/lantiq/xrx200/packages/index.json": packages("base-files"),
        f"{OLD}/packages/mips_24kc/feeds.conf": "src-git base https://example.org/base.git\n",
        f"{OLD}/packages/mips_24kc/base/index.json": packages("luci-app-old"),
    }
    [problem] = [
        problem
        for problem in decide(request_, {**world(), **old}).problems
        if problem.package == "luci-app-old"
    ]

    assert problem.kind == kind


def test_the_reason_of_a_left_out_package_is_looked_up() -> None:
    """It is the same as that of a problem."""
    request = relative(
        ["luci-app-old"], "25.12.5", since="24.10.7", device=HUB, leave_out_missing=True
    )
    old = {
        f"{OLD}/targets/lantiq/xrx200/packages/index.json": packages("luci-app-old"),
        f"{OLD}/packages/mips_24kc/feeds.conf": "src-git base https://example.org/base.git\n",
        f"{OLD}/packages/mips_24kc/base/index.json": packages("base-files"),
    }
    reason = decide(request, {**world(), **old}).why("luci-app-old")

    assert reason is not None
    assert "was in the release that the device runs" in reason


def test_what_is_kept_is_bounded() -> None:
    """Devices from more releases than are kept do not grow memory."""
    origins = [f"{number // 100 + 10}.{number % 100:02}.0" for number in range(KEPT_ENTRIES + 10)]
    documents = {**world(), ".versions.json": json.dumps({"versions_list": [*origins, "24.10.7"]})}
    for origin in origins:
        documents[f"releases/{origin}/targets/lantiq/xrx200/profiles.json"] = profiles("kmod-old")
    gatherer = Gatherer(FewDocuments(documents), clock=lambda: 0.0)

    async def flood() -> None:
        for origin in origins:
            await gatherer.gather(hub(since=origin))

    asyncio.run(flood())

    # The bound is on memory, which nothing else shows.
    assert 0 < len(gatherer._kept) <= KEPT_ENTRIES  # noqa: SLF001


def test_profiles_and_releases_can_be_asked_for() -> None:
    """Validation needs them too."""
    gatherer = Gatherer(FewDocuments(world()))

    assert (
        asyncio.run(gatherer.profiles(Version.parse("25.12.5"), HUB[0])).architecture == "mips_24kc"
    )
    assert asyncio.run(gatherer.releases()).latest == ("25.12.5",)
