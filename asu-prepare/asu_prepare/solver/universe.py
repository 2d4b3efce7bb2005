"""All packages that one target can install, by every name that they answer to."""

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple

from asu_prepare.resolution.package_feed import Package, PackageFeed, provided

from .package_versions import accepts, compare_apk, sort_key

_NEED = re.compile(r"!?([^\s()<>=~|]+)\s*\(?\s*([<>=~]*)\s*([^\s()]*)\s*\)?")
_EARLIER = {"<<": "<", ">>": ">"}
MAX_CHAIN = 12  # Packages in a sentence.


class Need(NamedTuple):
    """A name that must be there, perhaps in some versions only."""

    name: str
    relation: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A package that can be installed, sizes in bytes; `feed` is the place of its index."""

    package: Package
    size: int
    installed_size: int
    feed: int

    @property
    def name(self) -> str:
        """Return the name of the package, its ABI version included."""
        return self.package.name


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a selection cannot be installed.

    `package` is what the person asked for (or a default) and `chain` leads from it to what fails:
    a package that lacks `what`, or that conflicts with the package `what`. `others` may be named
    instead, where the package manager does not choose by itself.
    """

    kind: Literal["missing-dependency", "conflict", "choice"]
    package: str
    chain: tuple[str, ...]
    what: str
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Solution:
    """What the package manager will install, or why it cannot.

    `hidden` are conflicts that it overlooks. `manifest` is what is installed, as it is printed:
    plain name → version, sorted.
    """

    installed: tuple[Candidate, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()
    hidden: tuple[Obstacle, ...] = ()
    manifest: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def of(installed: Iterable[Candidate], hidden: Iterable[Obstacle] = ()) -> "Solution":
        """Return the solution that installs these packages."""
        installed = tuple(installed)
        packages = (one.package for one in installed)
        names = ((one.plain_name, one.version) for one in packages if one.version)
        return Solution(installed, hidden=tuple(hidden), manifest=dict(sorted(names)))


@dataclass(frozen=True, slots=True)
class World:
    """What the ImageBuilder asks its package manager for, in its order: the request first."""

    names: tuple[str, ...]

    @staticmethod
    def of(wanted: Iterable[str], defaults: Iterable[str]) -> "World":
        """Combine a request with the defaults of a device; `-name` takes a name away from both."""
        wanted = tuple(wanted)
        names = dict.fromkeys((*wanted, *_given(tuple(defaults))))
        for removal in [name for name in wanted if name[0] == "-"]:
            del names[removal]
            names.pop(removal[1:], None)
        return World(tuple(names))


@lru_cache(maxsize=1024)  # Devices times releases that are asked for at a time; 2 KB each.
def _given(defaults: tuple[str, ...]) -> tuple[str, ...]:
    """Return the defaults that are not taken away by others of them, in the builder's order."""
    removed = {name[1:] for name in defaults if name[0] == "-"}
    given = sorted({*defaults, "kernel"})
    return tuple(name for name in given if name[0] != "-" and name not in removed)


class Universe:
    """The packages of some indexes; the first index is preferred."""

    def __init__(self, feeds: Sequence[PackageFeed], *, is_apk: bool) -> None:
        self.is_apk = is_apk
        self.candidates = list(_candidates(feeds))
        self.candidates += _built_in(self.candidates)
        self.by_name: dict[str, list[Candidate]] = {}
        for candidate in self.candidates:
            package = candidate.package
            for name in {package.name, *(provided(text)[0] for text in package.provides)}:
                self.by_name.setdefault(name, []).append(candidate)
        order = sort_key(is_apk=is_apk)
        for found in self.by_name.values():
            if len(found) > 1:
                found.sort(key=lambda one: (one.name, order(one.package.version)))
        # While a snapshot is being published, the modules of its kernel may not be there yet.
        self.has_modules = any(name.startswith("kmod-") for name in self.by_name)
        self._needs: dict[str, tuple[Need, ...]] = {}

    def needs(self, text: str) -> tuple[Need, ...]:
        """Return the choices of a dependency, mostly one: `a | b (>= 2)`."""
        found = self._needs.get(text)
        if found is None:
            found = self._needs[text] = tuple(_need(part) for part in text.split("|"))
        return found

    def accepts(self, need: Need, version: str) -> bool:
        """Whether a version is one of those that are needed."""
        return not need.relation or accepts(
            need.relation, need.version, version, is_apk=self.is_apk
        )

    def is_choosable(self, one: Candidate, name: str) -> bool:
        """Whether apk takes a package for a name by itself: that needs a version or a priority."""
        return one.name == name or one.package.priority > 0 or bool(self._version_as(one, name))

    def preferred(self, name: str) -> Candidate | None:
        """Return what apk takes for a name if nothing else decides; None if it takes nothing."""
        best: Candidate | None = None
        for one in self.by_name.get(name, ()):
            if self.is_choosable(one, name) and (best is None or self._is_better(one, best, name)):
                best = one
        return best

    def _is_better(self, one: Candidate, best: Candidate, name: str) -> bool:
        versions = self._version_as(one, name), self._version_as(best, name)
        order = compare_apk(*versions) if all(versions) else 0
        if not order and one.name == best.name:
            order = compare_apk(one.package.version, best.package.version)
        return (order, one.package.priority, -one.feed) > (0, best.package.priority, -best.feed)

    @staticmethod
    def _version_as(one: Candidate, name: str) -> str:
        """Return the version that a package has under a name; empty for a name without one."""
        if one.name == name:
            return one.package.version
        return next(
            (found[1] for found in map(provided, one.package.provides) if found[0] == name), ""
        )

    def ways(self, start: Iterable[str], goal: str = "") -> dict[str, str]:
        """Return each package that some names lead to, with the one before it on the shortest way.

        The search ends at `goal`.
        """
        came: dict[str, str] = {}
        queue: deque[str] = deque()
        for name in start:
            for candidate in self.by_name.get(name, ()):
                if candidate.name not in came:
                    came[candidate.name] = ""
                    queue.append(candidate.name)
        while queue and goal not in came:
            at = queue.popleft()
            for name in self._needed_names(at):
                for candidate in self.by_name.get(name, ()):
                    if candidate.name not in came:
                        came[candidate.name] = at
                        queue.append(candidate.name)
        return came

    def _needed_names(self, name: str) -> Iterator[str]:
        for candidate in self.by_name.get(name, ()):
            if candidate.name == name:
                for text in candidate.package.depends:
                    if text[0] != "!":
                        yield from (need.name for need in self.needs(text))


def chain(ways: Mapping[str, str], goal: str) -> tuple[str, ...]:
    """Return the last packages of the way to one of them."""
    way = [goal]
    while ways.get(way[-1]):
        way.append(ways[way[-1]])
    return tuple(reversed(way))[-MAX_CHAIN:]


def _candidates(feeds: Sequence[PackageFeed]) -> Iterator[Candidate]:
    """Yield each package once, from the first index that has this version of it."""
    seen: set[tuple[str, str]] = set()
    for number, feed in enumerate(feeds):
        sized = zip(feed.packages, feed.sizes, feed.installed_sizes, strict=True)
        for package, size, installed_size in sized:
            if (package.name, package.version) not in seen:
                seen.add((package.name, package.version))
                yield Candidate(package, size, installed_size, number)


def _built_in(candidates: Iterable[Candidate]) -> Iterator[Candidate]:
    """Yield what an ImageBuilder brings along and no index lists: kernel and libc with opkg.

    Kernel modules name the version of their kernel, and libpthread is built with libc. A version
    that is not known stays out of the manifest.
    """
    known = {one.name: one for one in candidates}
    modules = (one.package for name, one in known.items() if name.startswith("kmod-"))
    kernels = (_need(text) for module in modules for text in module.depends)
    kernel = next((need.version for need in kernels if need.name == "kernel"), "")
    library = next((known[name] for name in ("libpthread", "librt") if name in known), None)
    compiler = next((name for name in known if name.rstrip("0123456789") == "libgcc"), "")
    versions = {"kernel": kernel, "libc": library.package.version if library else ""}
    versions["base-files"] = ""
    for name, version in versions.items():
        if name not in known:
            depends = (compiler,) if name == "libc" and compiler else ()
            yield Candidate(Package(name, version, depends), 0, 0, 0)


def _need(text: str) -> Need:
    found = _NEED.match(text.strip())
    if found is None:
        return Need(text.strip())
    relation = _EARLIER.get(found[2], found[2])
    return Need(found[1], relation, found[3] if relation else "")
