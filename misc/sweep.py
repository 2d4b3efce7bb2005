"""Upgrade every device of a tree of releases: `python -m misc.sweep DIRECTORY`.

The directory holds `profiles.json` files of targets, at any depth; each names its release. Every
device of a release sends its default packages as its list, whole and with some left out by the
user, and is taken to every newer release, also under another name or in another target. What the
upgrades lose is counted; any makes the command fail. Indexes hold what is default anywhere.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asu.resolution import (
    AmbiguousProfileError,
    DeviceDefaults,
    DocumentMissingError,
    Gatherer,
    PackageRequest,
    Resolution,
    RuleBook,
    UnknownProfileError,
    Version,
    directory,
    load_rules,
)
from asu.resolution.device_advice import advise
from asu.resolution.documents import ABSENT
from misc.bench.defaults import STILL_THERE

LEFT_OUT = 5  # Defaults that the user removed before the upgrade.
LISTS = 3  # Lists with others left out, for each device.
SEED = 2026
SHOWN = 20  # Faults that are printed for each kind.
BAD = ("removed by the user", "a problem", "lost", "undone")


class Tree:
    """A downloads server with the documents of a directory, and the indexes that they need."""

    def __init__(self, root: Path) -> None:
        self.releases: dict[str, dict[str, Any]] = {}
        for path in sorted(root.rglob("profiles.json")):
            document = json.loads(path.read_text(encoding="utf-8"))
            release = self.releases.setdefault(document["version_number"], {})
            release[document["target"]] = document
        self._documents = dict(self._made())
        self._copies: dict[str, Any] = {}

    def _made(self) -> Iterator[tuple[str, Any]]:
        yield ".versions.json", {"versions_list": list(self.releases)}
        for version, targets in self.releases.items():
            base, names = directory(Version.parse(version)), set(STILL_THERE)
            for document in targets.values():
                names.update(document["default_packages"])
                for entry in document["profiles"].values():
                    names.update(entry.get("device_packages") or ())
            packages = {name: "1" for name in names if not name.startswith("-")}
            yield (
                f"{base}/.targets.json",
                {target: document["arch_packages"] for target, document in targets.items()},
            )
            places = [
                {"id": profile, "target": target}
                for target, document in targets.items()
                for profile in document["profiles"]
            ]
            yield f"{base}/.overview.json", {"profiles": places}
            for target, document in targets.items():
                feeds = f"{base}/packages/{document['arch_packages']}"
                yield f"{base}/targets/{target}/profiles.json", document
                yield f"{base}/targets/{target}/packages/index.json", {"version": 2, "packages": {}}
                yield f"{feeds}/feeds.conf", "src-git base https://example.org/base\n"
                yield f"{feeds}/base/index.json", {"version": 2, "packages": packages}

    async def read(self, path: str, reader: Callable[[bytes], Any]) -> Any:
        """Return what the reader makes of a document, or made of it before."""
        if path not in self._copies:
            document = self._documents.get(path)
            if document is None:
                raise DocumentMissingError(path)
            text = document if isinstance(document, str) else json.dumps(document)
            self._copies[path] = reader(text.encode())
        return self._copies[path]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """One device's way from a release to another; `name` is what it sends as its own."""

    old: Version
    new: Version
    old_target: str
    old_profile: str
    target: str
    profile: str
    before: DeviceDefaults
    after: DeviceDefaults

    @property
    def kind(self) -> str:
        """Whether the device kept its name and target."""
        if self.target != self.old_target:
            return "moved"
        return "kept" if self.profile == self.old_profile else "renamed"

    def __str__(self) -> str:
        return (
            f"{self.old} {self.old_target} {self.old_profile} to {self.new} {self.target} "
            f"{self.profile}"
        )

    def request(self, packages: tuple[str, ...], *, stated: bool) -> PackageRequest:
        """Return the request for it."""
        return PackageRequest(
            version=self.new,
            target=self.target,
            profile=self.profile,
            packages=packages,
            diff_packages=True,
            from_version=self.old if stated else None,
        )


class Sweep:
    """Makes all upgrades of a tree and counts what comes of them."""

    def __init__(self, tree: Tree, rules: RuleBook) -> None:
        self._tree, self._rules, self._gatherer = tree, rules, Gatherer(tree)
        self.counts: Counter[str] = Counter()
        self.faults: dict[str, list[str]] = {kind: [] for kind in BAD}
        # The same lists each time, so that figures can be compared.
        self._dice = random.Random(SEED)  # noqa: S311

    async def run(self) -> None:
        """Make all upgrades."""
        versions = sorted(map(Version.parse, self._tree.releases))
        for old, new in itertools.combinations(versions, 2):
            for target, document in self._tree.releases[old.text].items():
                for profile in document["profiles"]:
                    upgrade = await self._upgrade(old, new, target, profile)
                    if upgrade is None:
                        self.counts["devices that the newer release does not have"] += 1
                    else:
                        await self._try(upgrade)

    async def _upgrade(
        self, old: Version, new: Version, target: str, profile: str
    ) -> Upgrade | None:
        """Return the upgrade of a device; None where the newer release has no such device."""
        place = await self._place(new, target, profile)
        if place is None:
            return None
        before = await self._gatherer.profiles(old, target)
        after = await self._gatherer.profiles(new, place[0])
        was, becomes = before.defaults_of(old, profile), after.defaults_of(new, place[1])
        assert was is not None  # noqa: S101  # Both were found in these documents.
        assert becomes is not None  # noqa: S101
        return Upgrade(
            old=old,
            new=new,
            old_target=target,
            old_profile=profile,
            target=place[0],
            profile=place[1],
            before=was,
            after=becomes,
        )

    async def _place(self, new: Version, target: str, profile: str) -> tuple[str, str] | None:
        """Return where a service finds a device, or where it sends its client."""
        try:
            return target, (await self._gatherer.profiles(new, target)).find(profile)
        except (UnknownProfileError, AmbiguousProfileError, *ABSENT):
            advice = await advise(self._gatherer, new, target, profile)
        if not advice.is_moved or advice.suggested is None:
            return None
        return advice.suggested["target"], advice.suggested["profile"]

    async def _try(self, upgrade: Upgrade) -> None:
        self.counts[f"devices, {upgrade.kind}"] += 1
        whole = tuple(upgrade.before.defaults)
        for stated in (True, False):
            done = await self._decide(upgrade.request(whole, stated=stated))
            self._judge_whole(upgrade, done, stated=stated)
        for _ in range(LISTS if len(whole) > LEFT_OUT else 0):
            absent = set(self._dice.sample(whole, LEFT_OUT))
            packages = tuple(name for name in whole if name not in absent)
            done = await self._decide(upgrade.request(packages, stated=True))
            # What is still a default must be taken away. One that replaces it comes: it is new.
            undone = absent & set(done.packages) | {
                name
                for name in absent & upgrade.after.defaults.keys()
                if f"-{name}" not in done.packages
            }
            self.counts["lists with some left out"] += 1
            self._note("undone", undone, upgrade, "")
            self._note("lost", self._lost(upgrade, done), upgrade, " (some left out)")

    async def _decide(self, request: PackageRequest) -> Resolution:
        return await self._gatherer.decide(request, self._rules)

    def _judge_whole(self, upgrade: Upgrade, done: Resolution, *, stated: bool) -> None:
        how = " (stated)" if stated else " (inferred)"
        self.counts[f"whole lists{how}"] += 1
        absent = {one.package for one in done.changes if one.rule.startswith("absent-")}
        taken = {name[1:] for name in done.packages if name.startswith("-")}
        self._note("removed by the user", absent | taken, upgrade, how)
        self._note("a problem", {one.package for one in done.problems}, upgrade, how)
        self._note("lost", self._lost(upgrade, done), upgrade, how)

    def _lost(self, upgrade: Upgrade, done: Resolution) -> set[str]:
        """Return the packages that became default and are missing."""
        new = upgrade.after.defaults.keys() - upgrade.before.defaults.keys()
        return new - set(done.packages)

    def _note(self, kind: str, names: set[str], upgrade: Upgrade, how: str) -> None:
        if names:
            self.faults[kind].append(f"{upgrade}{how}: {', '.join(sorted(names))}")


def main() -> int:
    """Run the command."""
    if len(sys.argv) != 2:  # noqa: PLR2004  # The name of the command and the directory.
        sys.exit("usage: python -m misc.sweep DIRECTORY")
    sweep = Sweep(Tree(Path(sys.argv[1])), load_rules())
    asyncio.run(sweep.run())
    for what, count in sorted(sweep.counts.items()):
        print(f"{count:7} {what}")
    for kind, found in sweep.faults.items():
        print(f"{len(found):7} {kind}")
        for fault in found[:SHOWN]:
            print(f"        {fault}")
    return 1 if any(sweep.faults.values()) or not sweep.counts else 0


if __name__ == "__main__":
    sys.exit(main())
