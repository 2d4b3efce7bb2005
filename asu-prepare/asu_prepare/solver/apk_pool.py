"""Foretells what apk installs, with libsolv: the only module that imports it.

libsolv compares versions as RPM does, so it never gets to compare any. Whether a version is
accepted is decided here, by apk's order; for libsolv `curl>=8` is one more name that each fitting
package provides, and a package's version is its place among those of its name.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import solv

from asu_prepare.resolution.package_feed import PackageFeed, provided

from .universe import Candidate, Obstacle, Solution, Universe, World, chain

# The ImageBuilder pins these, so that nothing takes them away.
PINNED = ("base-files", "libc", "kernel")


class ApkPool:
    """The packages of some indexes in libsolv; not to be used by two threads at once."""

    def __init__(self, feeds: Sequence[PackageFeed]) -> None:
        self.universe = Universe(feeds, is_apk=True)
        self._pool: Any = solv.Pool()
        self._pool.setarch("noarch")
        self._candidates: dict[int, Candidate] = {}
        self._ids: dict[Candidate, int] = {}
        self._fill(len(feeds))
        self._pool.createwhatprovides()
        self._favours = [
            self._pool.Job(solv.Job.SOLVER_FAVOR | solv.Job.SOLVER_SOLVABLE, self._ids[one])
            for one in self._favourites()
        ]

    def solve(self, world: World) -> Solution:
        """Return what `apk add` makes of a world."""
        names = tuple(dict.fromkeys((*world.names, *PINNED)))
        known = [name for name in names if name in self.universe.by_name]
        obstacles = [
            Obstacle("missing-dependency", name, (), name)
            for name in world.names
            if name not in self.universe.by_name
        ]
        solver = self._pool.Solver()
        problems = solver.solve([*self._favours, *map(self._wanted, known)])
        if problems:
            ways = self.universe.ways(known)
            found = (self._obstacle(problem, known, ways) for problem in problems)
            return Solution(obstacles=(*obstacles, *found))
        installed = [self._candidates[one.id] for one in solver.transaction().newsolvables()]
        obstacles += self._unchosen(known, installed)
        return Solution(obstacles=tuple(obstacles)) if obstacles else Solution.of(installed)

    def _wanted(self, name: str) -> Any:
        kind = solv.Job.SOLVER_INSTALL | solv.Job.SOLVER_SOLVABLE_PROVIDES
        return self._pool.Job(kind, self._pool.str2id(name))

    def _fill(self, feeds: int) -> None:
        repositories = [self._pool.add_repo(str(number)) for number in range(feeds)]
        versioned = self._versioned_needs()
        places: dict[str, int] = {}
        order = sorted(self.universe.candidates, key=lambda one: one.name)
        for one in order:
            group = [other for other in self.universe.by_name[one.name] if other.name == one.name]
            places[one.name] = group.index(one) + 1
            solvable = repositories[one.feed].add_solvable()
            solvable.name, solvable.evr, solvable.arch = one.name, str(places[one.name]), "noarch"
            self._ids[one] = solvable.id
            self._candidates[solvable.id] = one
            self._relate(solvable, one, versioned)

    def _versioned_needs(self) -> dict[str, set[str]]:
        """Return the dependencies that name a version, by the name that they need."""
        found: dict[str, set[str]] = {}
        texts = {text for one in self.universe.candidates for text in one.package.depends}
        for text in texts:
            need = self.universe.needs(text)[0]
            if need.relation:
                found.setdefault(need.name, set()).add(text.lstrip("!"))
        return found

    def _relate(self, solvable: Any, one: Candidate, versioned: dict[str, set[str]]) -> None:
        package, pool = one.package, self._pool
        answers = {package.name: package.version}
        answers.update(provided(text) for text in package.provides)
        for name, version in answers.items():
            solvable.add_deparray(solv.SOLVABLE_PROVIDES, pool.str2id(name))
            for text in versioned.get(name, ()):
                # A name without a version is every version of it.
                if not version or self.universe.accepts(self.universe.needs(text)[0], version):
                    solvable.add_deparray(solv.SOLVABLE_PROVIDES, pool.str2id(text))
            # Of all that have one name, only one may be installed if it has a version.
            if version and len(self.universe.by_name[name]) > 1:
                solvable.add_deparray(solv.SOLVABLE_CONFLICTS, pool.str2id(name))
        for text in package.depends:
            kind = solv.SOLVABLE_CONFLICTS if text[0] == "!" else solv.SOLVABLE_REQUIRES
            solvable.add_deparray(kind, pool.str2id(text.lstrip("!")))

    def _favourites(self) -> Iterable[Candidate]:
        """Return what apk prefers of the packages that answer to one name."""
        found: dict[Candidate, None] = {}
        for name, several in self.universe.by_name.items():
            if len({one.name for one in several}) > 1:
                best = self.universe.preferred(name)
                if best is not None:
                    found[best] = None
        return found

    def _unchosen(self, names: Sequence[str], installed: Sequence[Candidate]) -> Iterable[Obstacle]:
        """Yield the names for which apk chooses nothing by itself.

        That is a name which is only provided without a version and without a priority. libsolv
        takes any of its providers; apk only one that something else wants by its own name.
        """
        there: dict[str, list[Candidate]] = {}
        for one in installed:
            answers = {one.name, *(provided(text)[0] for text in one.package.provides)}
            for name in answers:
                there.setdefault(name, []).append(one)
        reached: set[Candidate] = set()
        open_needs = [(name, "") for name in names]
        while True:
            left = []
            for name, requirer in open_needs:
                chosen = [
                    one
                    for one in there.get(name, ())
                    if one in reached or self.universe.is_choosable(one, name)
                ]
                if not chosen:
                    left.append((name, requirer))
                for one in chosen:
                    if one not in reached:
                        reached.add(one)
                        left += [
                            (self.universe.needs(text)[0].name, one.name)
                            for text in one.package.depends
                            if text[0] != "!"
                        ]
            if len(left) == len(open_needs) and left == open_needs:
                break
            open_needs = left
        ways = self.universe.ways(names) if open_needs else {}
        for name, requirer in open_needs:
            others = tuple(one.name for one in self.universe.by_name.get(name, ()))
            way = chain(ways, requirer) if requirer else ()
            yield Obstacle("choice", way[0] if way else name, way, name, others)

    def _obstacle(self, problem: Any, names: Sequence[str], ways: Mapping[str, str]) -> Obstacle:
        """Return the first fact that a problem of libsolv rests on, in our words."""
        conflict = None
        for rule in problem.findallproblemrules():
            info = rule.info()
            if info.type == solv.Solver.SOLVER_RULE_PKG_NOTHING_PROVIDES_DEP:
                way = chain(ways, info.solvable.name)
                return Obstacle("missing-dependency", way[0], way, str(info.dep))
            if info.type in {
                solv.Solver.SOLVER_RULE_PKG_CONFLICTS,
                solv.Solver.SOLVER_RULE_PKG_SAME_NAME,
            }:
                way = chain(ways, info.solvable.name)
                conflict = conflict or Obstacle("conflict", way[0], way, info.othersolvable.name)
        return conflict or Obstacle("conflict", names[0], (), names[0])
