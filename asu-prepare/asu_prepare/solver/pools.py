"""Keeps what has been prepared for solving, by least use and within a bound on memory."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asu_prepare.resolution.package_feed import PackageFeed

from .opkg_rules import solve_with_opkg
from .universe import Solution, Universe, World

if TYPE_CHECKING:
    from .apk_pool import ApkPool

# Bytes of a package, measured with 12 000 of them: what Python holds, and libsolv beside it.
UNIVERSE_BYTES, LIBSOLV_BYTES = 200, 470
KEPT_SECONDS = 5.0  # As long as the decision core keeps what it has gathered.
MAX_SOLUTIONS = 64  # Of one pool: devices of a target, with and without a web interface.


@dataclass(slots=True)
class Pool:
    """The packages of one release, architecture and target, ready to be solved."""

    feeds: tuple[PackageFeed, ...]
    universe: Universe
    apk: "ApkPool | None"
    solutions: OrderedDict[World, Solution] = field(default_factory=OrderedDict)
    current_until: float = 0.0  # Until then its indexes are not looked at again.

    @property
    def size(self) -> int:
        """Return about how many bytes it takes."""
        each = UNIVERSE_BYTES + (LIBSOLV_BYTES if self.apk else 0)
        return each * len(self.universe.candidates)

    def solve(self, world: World) -> Solution:
        """Return what the package manager makes of a world; solved once for equal ones."""
        found = self.solutions.get(world)
        if found is None:
            found = self.apk.solve(world) if self.apk else solve_with_opkg(self.universe, world)
            self.solutions[world] = found
            if len(self.solutions) > MAX_SOLUTIONS:
                self.solutions.popitem(last=False)
        self.solutions.move_to_end(world)
        return found


class Pools:
    """The pools in use; one that is asked for is built in a thread, once for all that wait."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._pools: OrderedDict[Hashable, Pool] = OrderedDict()
        self._builds: dict[Hashable, asyncio.Task[None]] = {}

    @property
    def size(self) -> int:
        """Return about how many bytes all pools take."""
        return sum(pool.size for pool in self._pools.values())

    def recent(self, key: Hashable) -> Pool | None:
        """Return a pool whose indexes were looked at a moment ago."""
        pool = self._pools.get(key)
        if pool is None or pool.current_until <= time.monotonic():
            return None
        self._pools.move_to_end(key)
        return pool

    async def get(
        self, key: Hashable, feeds: tuple[PackageFeed, ...], *, is_apk: bool, patience: float
    ) -> Pool | None:
        """Return the pool of these indexes; None if it is not ready in time or cannot be built.

        A pool of older indexes is not used: it would foretell another image than the builder makes.
        """
        pool = self._pools.get(key)
        if pool is None or not _are_same(pool.feeds, feeds):
            build = self._builds.get(key)
            if build is None:
                build = asyncio.create_task(self._build(key, feeds, is_apk=is_apk))
                self._builds[key] = build
                build.add_done_callback(lambda _: self._builds.pop(key))
            await asyncio.wait({build}, timeout=patience)
            pool = self._pools.get(key)
        if pool is None or not _are_same(pool.feeds, feeds):
            return None
        self._pools.move_to_end(key)
        pool.current_until = time.monotonic() + KEPT_SECONDS
        return pool

    async def close(self) -> None:
        """Wait for what is being built; a thread cannot be stopped."""
        await asyncio.gather(*self._builds.values(), return_exceptions=True)

    async def _build(self, key: Hashable, feeds: tuple[PackageFeed, ...], *, is_apk: bool) -> None:
        pool = await asyncio.to_thread(build_pool, feeds, is_apk=is_apk)
        self._pools[key] = pool
        self._pools.move_to_end(key)
        while len(self._pools) > 1 and self.size > self._max_bytes:
            self._pools.popitem(last=False)


def build_pool(feeds: tuple[PackageFeed, ...], *, is_apk: bool) -> Pool:
    """Prepare packages for solving; takes about a second."""
    if is_apk:
        # Loaded where it is needed: without libsolv, which is C, previews lack the forecast only.
        from .apk_pool import ApkPool  # noqa: PLC0415

        apk = ApkPool(feeds)
        return Pool(feeds, apk.universe, apk)
    return Pool(feeds, Universe(feeds, is_apk=False), None)


def _are_same(some: tuple[PackageFeed, ...], others: tuple[PackageFeed, ...]) -> bool:
    """Whether these are the very same values; comparing thousands of packages would take long."""
    return len(some) == len(others) and all(map(lambda a, b: a is b, some, others))
