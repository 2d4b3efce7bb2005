"""The rules of both package managers, apart from any index: versions, the ImageBuilder's list,
pools.
"""

import asyncio
import itertools
import random
import time
from array import array

import pytest

from asu_prepare.resolution.package_feed import Package, PackageFeed
from asu_prepare.solver.package_versions import accepts, compare_apk, compare_opkg
from asu_prepare.solver.pools import Pool, Pools, build_pool
from asu_prepare.solver.universe import World


@pytest.mark.parametrize(
    "ordered",
    [
        ["1.0~rc1", "1.0", "1.0-r1", "1.0-r10", "1.0.1-r1", "1.10-r1"],
        ["2023-02-28-bfe882d5-1", "2024.07.14~408c2cc4-r1", "2026.02.15~8d377aa6-r1"],
        ["9:1", "10:0.1"],
    ],
)
def test_opkg_orders_versions_as_debian_does(ordered: list[str]) -> None:
    """A tilde comes before the end; numbers compare as numbers."""
    for one, other in itertools.pairwise(ordered):
        assert compare_opkg(one, other) < 0 < compare_opkg(other, one)
        assert compare_opkg(one, one) == 0


@pytest.mark.parametrize(
    "ordered",
    [
        ["1.0_alpha1", "1.0_rc2", "1.0", "1.0_p1", "1.0.1", "1.10"],
        ["2.34", "2.34-r1", "2.34-r10", "2.34a", "2.35"],
        ["2025.10.03~04cd252e-r1", "2025.10.03~5a81c108-r1", "2025.10.04~f4fe702d-r1"],
    ],
)
def test_apk_orders_versions_in_its_own_way(ordered: list[str]) -> None:
    """A suffix may come before or after, and a tilde begins the hash of a commit."""
    for one, other in itertools.pairwise(ordered):
        assert compare_apk(one, other) < 0 < compare_apk(other, one)


@pytest.mark.parametrize(
    ("relation", "wanted", "version", "is_apk", "is_accepted"),
    [
        (">=", "1.2", "1.10-r1", True, True),
        (">", "1.2-r1", "1.2-r1", True, False),
        ("~", "1.2", "1.2.7-r3", True, True),
        ("~", "1.2", "1.20-r3", True, False),
        ("=", "6.6~1eb8-r1", "6.6~1eb8-r1", False, True),
        ("<", "2", "2", False, True),  # opkg counts an equal version as earlier, too.
        (">=", "99.0", "8.12.1-r1", False, False),
    ],
)
def test_a_dependency_accepts_versions(
    relation: str, wanted: str, version: str, *, is_apk: bool, is_accepted: bool
) -> None:
    """Each package manager reads its own relations."""
    assert accepts(relation, wanted, version, is_apk=is_apk) is is_accepted


def test_the_world_is_the_list_that_the_imagebuilder_makes() -> None:
    """The request first, then the defaults sorted; `-name` takes away from both."""
    defaults = ["ppp", "dnsmasq", "-yafut", "yafut", "base-files"]

    world = World.of(["vim", "-ppp", "dnsmasq", "-vim"], defaults)

    assert world.names == ("dnsmasq", "base-files", "kernel")


def feed(*packages: Package) -> PackageFeed:
    """Return an index of these packages."""
    sizes = array("I", [1] * len(packages))
    return PackageFeed({}, packages, sizes, sizes, has_provides=True)


def test_a_pool_is_built_again_when_an_index_changes() -> None:
    """The old one is not used meanwhile: it would foretell another image."""
    old, new = (feed(Package("vim", version), Package("libc", "1")) for version in ("8", "9"))

    async def versions() -> list[str]:
        pools, found = Pools(2**20), []
        for index in (old, old, new):
            pool = await pools.get("x86", (index,), is_apk=False, patience=60)
            assert pool is not None
            found.append(pool.solve(World(("vim",))).manifest["vim"])
        return found

    assert asyncio.run(versions()) == ["8", "8", "9"]


def test_the_least_used_pool_leaves_first() -> None:
    """Memory is bounded, and what is in use stays."""
    indexes = {name: (feed(Package(name, "1")),) for name in ("a", "b", "c")}

    async def kept() -> tuple[list[Pool | None], int]:
        pools = Pools(
            2 * 4 * 200
        )  # Two pools of four packages: kernel, libc and base-files are three.
        for name in ("a", "b", "a", "c"):
            await pools.get(name, indexes[name], is_apk=False, patience=60)
        without_waiting = [
            await pools.get(name, indexes[name], is_apk=False, patience=0) for name in ("a", "b")
        ]
        await pools.close()
        return without_waiting, pools.size

    (a, b), size = asyncio.run(kept())
    assert a is not None
    assert b is None
    assert size <= 2 * 4 * 200


PACKAGES, BUDGET = 6_000, 0.3
# Seconds of processor time. It takes 0.05; where a search of its own explained each conflict, it
# took up to 1.4.


@pytest.mark.parametrize("is_apk", [True, False], ids=["apk", "opkg"])
def test_a_thousand_packages_with_conflicts_are_explained_quickly(*, is_apk: bool) -> None:
    """One caller within the limits cannot hold the service up for seconds."""
    dice = random.Random(1)  # noqa: S311  # The same packages each time.
    packages = [Package("libc", "1"), Package("kernel", "1"), Package("base-files", "1")]
    for number in range(PACKAGES):
        needed = {f"p{dice.randrange(number)}" for _ in range(min(number, 3))}
        others = {f"p{dice.randrange(PACKAGES)}"} if number % 10 == 0 else set()
        packages.append(
            Package(
                f"p{number}",
                "1",
                (*needed, *(f"!{other}" for other in others if is_apk)),
                conflicts=() if is_apk else tuple(others),
            )
        )
    pool = build_pool((feed(*packages),), is_apk=is_apk)
    spent: list[float] = []
    for attempt in range(5):  # Other programs disturb some of them.
        names = tuple(f"p{number}" for number in range(attempt, PACKAGES, 6))
        begun = time.process_time()
        solution = pool.solve(World(names))
        spent.append(time.process_time() - begun)

        assert len(solution.obstacles) > 10
        assert {one.chain[-1] for one in solution.obstacles} <= {one.name for one in packages}

    assert min(spent) < BUDGET
