"""Defaults of real devices: what absolute lists would lose, over all devices and jumps.

The devices are all those of eight targets in three releases, with the default packages that OpenWrt
publishes for them. Each sends the old release's defaults as its list, whole or with some left out
by the user, and is taken to the new release.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from asu.resolution import (
    DeviceDefaults,
    Knowledge,
    PackageIndex,
    PackageRequest,
    Resolution,
    Version,
    load_rules,
    resolve,
)
from misc.bench.report import Row, Section, at_most

TITLE = "defaults of real devices"
# Release → target → default packages, and lists of device packages with the devices that share
# them.
FIXTURE = Path(__file__).parents[2] / "tests" / "unit" / "fixtures" / "real_defaults.json"
# No defaults any more in a release of the fixture, but packages all the same; the indexes hold far
# more than defaults.
STILL_THERE = ("busybox", "iwinfo", "kmod-bluetooth", "kmod-nvme", "procd", "procd-seccomp")
LEFT_OUT = 5  # As many as the bar asks for.
REPEATS = 5  # Lists with other packages left out, per device.
SEED = 20_26
# Where the old release is not stated and the user removed just what marks it, no rule
# can be right about all lists. Both figures are parts of all lists; over twelve seeds 14 of 39960
# lists lost a package and none brought one back.
MAX_LOST, MAX_BACK = 0.002, 0.005

Device = tuple[str, str]  # Target and profile.


@dataclass(frozen=True, slots=True)
class Jump:
    """An upgrade of all devices from one release to another."""

    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.old} to {self.new}"


@dataclass(frozen=True, slots=True)
class Case:
    """One device's upgrade: what it sent, what the user had left out, and what came of it."""

    device: Device
    before: DeviceDefaults
    after: DeviceDefaults
    left_out: frozenset[str]
    request: PackageRequest
    knowledge: Knowledge
    resolution: Resolution

    @property
    def lost(self) -> set[str]:
        """The packages that became default and are missing."""
        return {name for name in self.after.defaults if name not in self.before.defaults} - set(
            self.resolution.packages
        )

    @property
    def back(self) -> set[str]:
        """The packages that the user had left out and that are installed again, or not removed."""
        still_default = {name for name in self.left_out if name in self.after.defaults}
        return {name for name in still_default if f"-{name}" not in self.resolution.packages} | (
            self.left_out & set(self.resolution.packages)
        )

    @property
    def dropped(self) -> set[str]:
        """The packages that were dropped because they exist no more."""
        return {
            change.package
            for change in self.resolution.changes
            if change.rule.startswith("gone-default-")
        }


@lru_cache(maxsize=1)
def releases() -> Mapping[str, Mapping[Device, DeviceDefaults]]:
    """Return every release's devices with their default packages."""
    document = json.loads(FIXTURE.read_text(encoding="utf-8"))
    return {
        release: dict(_devices(Version.parse(release), targets))
        for release, targets in document.items()
    }


def jumps() -> list[Jump]:
    """Return every upgrade from one release to a newer one."""
    return [Jump(old, new) for old, new in itertools.combinations(releases(), 2)]


def cases(jump: Jump, *, left_out: int, stated: bool) -> Iterator[Case]:
    """Upgrade each device of both releases, with random packages left out, `stated` or inferred."""
    # The same lists each time, so that figures can be compared.
    chance = random.Random(SEED)  # noqa: S311
    index = _index(jump.new)
    for device in sorted(releases()[jump.old].keys() & releases()[jump.new].keys()):
        for _ in range(REPEATS if left_out else 1):
            before = releases()[jump.old][device]
            absent = frozenset(chance.sample(list(before.defaults), left_out))
            yield _upgrade(jump, device, absent, index, stated=stated)


def measure() -> Section:
    """Count what is lost and what comes back, for every jump."""
    rows = [row for jump in jumps() for row in _rows(jump)]
    notes = [
        f"absolute lists; packages are left out at random: {LEFT_OUT}, in {REPEATS} lists a device"
    ]
    return Section(title=TITLE, rows=rows, notes=notes)


def _rows(jump: Jump) -> Iterator[Row]:
    for left_out, stated in itertools.product((0, LEFT_OUT), (True, False)):
        found = list(cases(jump, left_out=left_out, stated=stated))
        lost, back = sum(bool(case.lost) for case in found), sum(bool(case.back) for case in found)
        where = (
            f"{jump}, {'some left out, ' if left_out else ''}"
            f"origin {'stated' if stated else 'inferred'}"
        )
        certain = stated or not left_out
        yield at_most(
            f"{where}: of {len(found)} lists losing",
            lost,
            0 if certain else int(MAX_LOST * len(found)),
            "lists",
            digits=0,
        )
        if left_out:
            yield at_most(
                f"{where}: bringing back",
                back,
                0 if certain else int(MAX_BACK * len(found)),
                "lists",
                digits=0,
            )
        else:
            yield Row(
                what=f"{where}: dropping what is gone",
                value=sum(bool(case.dropped) for case in found),
                unit="lists",
                digits=0,
            )


def _upgrade(
    jump: Jump, device: Device, absent: frozenset[str], index: PackageIndex, *, stated: bool
) -> Case:
    before, after = releases()[jump.old][device], releases()[jump.new][device]
    candidates = [
        devices[device]
        for release, devices in releases().items()
        if device in devices and Version.parse(release) <= after.version
    ]
    request = PackageRequest(
        version=after.version,
        target=device[0],
        profile=device[1],
        packages=tuple(name for name in before.defaults if name not in absent),
        diff_packages=True,
        from_version=before.version if stated else None,
    )
    knowledge = Knowledge(
        defaults=after, earlier=(before,) if stated else tuple(candidates), index=index
    )
    return Case(
        device, before, after, absent, request, knowledge, resolve(request, load_rules(), knowledge)
    )


def _index(release: str) -> PackageIndex:
    """Return an index that holds all that is default anywhere in a release."""
    names = {name for device in releases()[release].values() for name in device.defaults}
    return PackageIndex((dict.fromkeys((*names, *STILL_THERE), "1"),))


def _devices(
    version: Version, targets: Mapping[str, Mapping[str, object]]
) -> Iterator[tuple[Device, DeviceDefaults]]:
    for target, entry in targets.items():
        groups = entry["devices"]
        if not isinstance(groups, dict):
            raise TypeError(f"{FIXTURE.name}: the devices of {target} are no mapping")
        for device_packages, profiles in groups.items():
            for profile in profiles.split():
                yield (
                    (target, profile),
                    DeviceDefaults.of(
                        version, str(entry["default_packages"]).split(), device_packages.split()
                    ),
                )
