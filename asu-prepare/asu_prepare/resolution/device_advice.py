"""What to say when a release does not have a device where the request looks for it."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .documents import ABSENT
from .request_hash import normalised_profile
from .versions import Version

if TYPE_CHECKING:
    from .gathering import Gatherer

MAX_SHOWN = 64  # Characters of a name; the longest profile of OpenWrt has 51.
MIN_LIKENESS = 0.75  # Of difflib's ratio.


@dataclass(frozen=True, slots=True)
class Advice:
    """The end of a refusal, and what to ask for instead; with `is_moved` that is sure."""

    hint: str
    suggested: Mapping[str, str] | None = None
    is_moved: bool = False


async def advise(gatherer: Gatherer, version: Version, target: str, name: str) -> Advice:
    """Say where the device is in this version, what is near, or what may have become of it."""
    own, history = normalised_profile(name), gatherer.history
    older, names = await _last_seen(gatherer, version, target, own)
    places = await history.elsewhere(version, target, names, by_support=True)
    if len(places) == 1:
        place, profile = places[0]
        hint = f"; {version} has this device in {place}, as {shown(profile)}: ask for these."
        return Advice(hint, {"target": place, "profile": profile}, is_moved=True)
    if places:
        known = " and ".join(f"{place} (as {shown(profile)})" for place, profile in places[:2])
        return Advice(f"; {version} has such devices in {known}: ask for the one that you have.")
    hint = "; no release that this server knows has it."
    if older is not None:
        hint = f"; {older} has it, but {version} does not: it was dropped, or is not published yet."
    suggested = await _nearest(gatherer, version, target, own)
    if suggested is None:
        return Advice(hint)
    near = suggested["profile"] if suggested["target"] == target else suggested["target"]
    hint = f"{hint} Did you mean {near}?" if older else f"; did you mean {near}?"
    return Advice(hint, suggested if suggested["profile"] else None)


def shown(name: str) -> str:
    """Return a name as a sentence holds it: whole, unless no real one is so long."""
    return name if len(name) <= MAX_SHOWN else f"{name[:MAX_SHOWN]}..."


async def _last_seen(
    gatherer: Gatherer, version: Version, target: str, profile: str
) -> tuple[Version | None, tuple[str, ...]]:
    """Return the newest older release whose target had the device, and the device's names."""
    with contextlib.suppress(*ABSENT):
        for older in (await gatherer.releases()).candidates(version)[1:]:
            with contextlib.suppress(*ABSENT):
                if target not in await gatherer.targets(older):
                    continue
                profiles = await gatherer.profiles(older, target)
                for found in profiles.devices((profile,))[:1]:
                    return older, tuple(dict.fromkeys((profile, *profiles.names_of(found))))
    return None, (profile,)


async def _nearest(
    gatherer: Gatherer, version: Version, target: str, profile: str
) -> dict[str, str] | None:
    """Return the nearest target that exists and its nearest device, "" where none is near."""
    with contextlib.suppress(*ABSENT):
        targets = await gatherer.targets(version)
        place = target if target in targets else _near(target, targets)
        if place is not None:
            device = _near(profile, (await gatherer.profiles(version, place)).device_packages)
            if device or place != target:
                return {"target": place, "profile": device or ""}
    return None


def _near(name: str, names: Iterable[str]) -> str | None:
    """Return the name that is most like this one; the search in 600 names takes up to 3 ms."""
    found = difflib.get_close_matches(name[: 2 * MAX_SHOWN], names, n=1, cutoff=MIN_LIKENESS)
    return found[0] if found else None
