"""Foretells what opkg installs: it takes the packages in their order and never goes back.

opkg is no solver. For each name of its command line it takes the best candidate, then what that
needs, depth first. A conflict counts only if the package that is installed later names it. These
are the steps of opkg's own `opkg_install_pkg` and `pkg_hash_fetch_unsatisfied_dependencies`, the
order in which it marks what it has looked at included.
"""

from collections.abc import Iterable
from typing import Literal

from .universe import Candidate, Need, Obstacle, Solution, Universe, World, chain


def solve_with_opkg(universe: Universe, world: World) -> Solution:
    """Return what `opkg install` makes of a world; raises RecursionError for endless chains."""
    obstacles: list[Obstacle] = []
    installed: dict[str, Candidate] = {}
    # The ImageBuilder calls opkg three times; what it has marked is forgotten in between.
    for names in (("libc",), ("kernel",), world.names):
        run = _Run(universe, installed, names)
        for name in names:
            run.install_by_name(name)
        obstacles += run.obstacles
    unique = tuple({(one.kind, one.chain, one.what): one for one in obstacles}.values())
    if unique:
        return Solution(obstacles=unique)
    return Solution.of(installed.values(), _hidden(universe, world, installed))


class _Run:
    """One call of opkg."""

    def __init__(
        self, universe: Universe, installed: dict[str, Candidate], names: Iterable[str]
    ) -> None:
        self.obstacles: list[Obstacle] = []
        self._universe, self._installed, self._arguments = universe, installed, frozenset(names)
        self._marked: set[Candidate] = set()
        self._looked_at: tuple[set[str], set[str]] = set(), set()  # Really, and beforehand.
        self._lacking: dict[str, tuple[str, str]] = {}  # Package → what lacks something, and what.

    def install_by_name(self, name: str) -> None:
        found = self._usable(name)
        exact = [one for one in found if one.name == name]
        present = [one for one in found if one.name in self._installed]
        own = [one for one in found if not one.package.is_portable]
        best = exact[-1:] or present[-1:] or own[:1] or found[:1]
        if best:
            self._install(best[0], name)
            return
        for one in self._universe.by_name.get(name, ()):
            if one.name in self._lacking:
                self._fail("missing-dependency", name, *self._lacking[one.name])
                return
        self._fail("missing-dependency", name, "", name)

    def _usable(self, name: str) -> list[Candidate]:
        """Return what answers to a name, without what lacks something when first looked at."""
        usable = []
        for one in self._universe.by_name.get(name, ()):
            if one.name not in self._looked_at[1]:
                lost: list[tuple[str, str]] = []
                self._unsatisfied(one, {}, lost, beforehand=True)
                if lost:
                    self._lacking[one.name] = lost[0]
                    continue
            usable.append(one)
        return usable

    def _unsatisfied(
        self,
        one: Candidate,
        needed: dict[Candidate, None],
        lost: list[tuple[str, str]],
        *,
        beforehand: bool = False,
    ) -> None:
        """Add what a package needs installed to `needed`, and what does not exist to `lost`."""
        looked_at = self._looked_at[beforehand]
        if one.name in looked_at:
            return
        looked_at.add(one.name)
        for text in one.package.depends:
            choices = self._universe.needs(text)
            if any(self._best(need, present=True) for need in choices):
                continue
            best = next((best for need in choices if (best := self._best(need))), None)
            if best is None:
                lost.append((one.name, text))
            elif best is not one and best not in needed:
                self._unsatisfied(best, needed, lost, beforehand=beforehand)
                needed[best] = None

    def _best(self, need: Need, *, present: bool = False) -> Candidate | None:
        """Return the last of the best: of that very name, and named on the command line."""
        best, best_score = None, 0
        for one in self._usable(need.name):
            if present and self._installed.get(one.name) is not one:
                continue
            if not self._universe.accepts(need, one.package.version):
                continue
            score = 1 + (one.name == need.name) + (one.name in self._arguments)
            if score >= best_score:
                best, best_score = one, score
        return best

    def _install(self, one: Candidate, name: str) -> bool:
        if one.name in self._installed:
            return True
        self._marked.add(one)
        for text in one.package.conflicts:
            other = self._conflicting(self._universe.needs(text)[0])
            if other is not None and other is not one:
                self._fail("conflict", name, one.name, other.name)
                return False
        needed: dict[Candidate, None] = {}
        lost: list[tuple[str, str]] = []
        self._unsatisfied(one, needed, lost)
        if lost:
            self._fail("missing-dependency", name, *lost[0])
            return False
        self._marked.update(needed)
        if not all(self._install(other, name) for other in needed):
            return False
        self._installed.setdefault(one.name, one)
        return True

    def _conflicting(self, need: Need) -> Candidate | None:
        """Return the package of that name which is installed, or is to be, in such a version."""
        for other in self._universe.by_name.get(need.name, ()):
            is_there = other in self._marked or self._installed.get(other.name) is other
            is_meant = other.name == need.name and is_there
            if is_meant and self._universe.accepts(need, other.package.version):
                return other
        return None

    def _fail(
        self, kind: Literal["missing-dependency", "conflict"], name: str, at: str, what: str
    ) -> None:
        way = chain(self._universe.ways((name,), at), at) if at else ()
        self.obstacles.append(Obstacle(kind, name, way, what))


def _hidden(
    universe: Universe, world: World, installed: dict[str, Candidate]
) -> Iterable[Obstacle]:
    """Yield the conflicts between installed packages that opkg does not see in this order."""
    ways: dict[str, str] = {}
    for one in installed.values():
        for text in one.package.conflicts:
            need = universe.needs(text)[0]
            other = installed.get(need.name)
            if other and other is not one and universe.accepts(need, other.package.version):
                ways = ways or universe.ways(world.names)
                way = chain(ways, one.name)
                yield Obstacle("conflict", way[0], way, other.name)
