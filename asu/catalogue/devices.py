"""Search devices in the newest release of each branch: by vendor, model, board name or profile."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asu.errors import AsuError, HalfPublished, UpstreamUnreachable
from asu.resolution import Version, overview_path, read_json
from asu.upstream.downloads_server import Upstream

from .validation import Catalogue, document_errors_translated

RELEASES = 6  # Supported and recent branches; older devices come by `version`.
MAX_TITLE = 200
MAX_QUERY = 128  # Characters; no name of a profile has more.
_WORD = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Entry:
    """A device in one release."""

    profile: str
    target: str
    titles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Device:
    """A device over all releases; `releases` begins with the newest."""

    titles: tuple[str, ...]
    releases: tuple[tuple[str, Entry], ...]
    words: str  # Lower case, once with spaces between the words and once without.

    def as_json(self) -> dict[str, Any]:
        """Return what clients get."""
        newest = self.releases[0][1]
        return {
            "title": self.titles[0],
            "titles": list(self.titles),
            "target": newest.target,
            "profile": newest.profile,
            "releases": [
                {"version": version, "target": entry.target, "profile": entry.profile}
                for version, entry in self.releases
            ],
        }


class Devices:
    """The device search."""

    def __init__(self, upstream: Upstream, catalogue: Catalogue) -> None:
        self._upstream, self._catalogue = upstream, catalogue
        self._lists: Sequence[tuple[str, Sequence[Entry]]] = ()
        self._devices: Sequence[Device] = ()

    async def search(self, query: str, version: str | None, limit: int) -> list[dict[str, Any]]:
        """Return at most `limit` devices that have every word of `query`, best first.

        With `version`, only devices of that release. Raise UserError for a version that is not
        served, HalfPublished and UpstreamUnreachable where no list can be had.
        """
        wanted = list(dict.fromkeys(_WORD.findall(query[:MAX_QUERY].lower().replace(",", "_"))))
        if version is None:
            devices = await self._over_releases()
        else:
            known = self._catalogue.parsed(version)
            await self._catalogue.known_targets(known)
            devices = merged([(known.text, await self._entries(known))])
        # Among 2 200 devices it takes up to 9 ms.
        best = await asyncio.to_thread(_best, devices, wanted)
        return [device.as_json() for device in best[:limit]]

    async def _over_releases(self) -> Sequence[Device]:
        releases = await self._catalogue.releases()
        branches: dict[str, list[Version]] = {}
        for version in sorted(releases.versions, reverse=True):
            branches.setdefault(version.branch, []).append(version)
        newest = list(branches.values())[:RELEASES]
        found = await asyncio.gather(*map(self._newest, newest), return_exceptions=True)
        lists = [one for one in found if not isinstance(one, BaseException)]
        if not lists:
            raise next(
                (error for error in found if isinstance(error, AsuError)),
                UpstreamUnreachable(document="the list of devices"),
            )
        # Comparing is quick: the readings stay the same objects until a list changes upstream.
        if lists != self._lists:
            self._lists, self._devices = lists, merged(lists)
        return self._devices

    async def _newest(self, versions: Sequence[Version]) -> tuple[str, Sequence[Entry]]:
        """Return the newest of these with its devices; the one before while that is published."""
        try:
            return versions[0].text, await self._entries(versions[0])
        except HalfPublished:
            if len(versions) == 1:
                raise
            return versions[1].text, await self._entries(versions[1])

    async def _entries(self, version: Version) -> Sequence[Entry]:
        # The fragment names another reading of the document than the resolver's; it is not sent.
        path = f"{overview_path(version)}#titles"
        with document_errors_translated(version, "its devices"):
            entries: Sequence[Entry] = await self._upstream.read(path, read_devices)
        return entries


def read_devices(raw: bytes) -> Sequence[Entry]:
    """Read `.overview.json`; raise ValueError, LookupError or TypeError for something else."""
    return tuple(
        Entry(
            str(profile["id"]),
            str(profile["target"]),
            tuple(dict.fromkeys(map(_title, profile.get("titles") or ()))) or (str(profile["id"]),),
        )
        for profile in read_json(raw)["profiles"]
    )


def merged(lists: Sequence[tuple[str, Sequence[Entry]]]) -> Sequence[Device]:
    """Bring the devices of several releases together, by profile; `lists` begins with the newest.

    `generic` and the like exist in several targets, so one that stays in its target is one device,
    and a profile that is unique in each release is one wherever it moves.
    """
    groups: dict[tuple[str, str], list[tuple[str, Entry]]] = {}
    shared = {
        name
        for _, entries in lists
        for name, count in Counter(entry.profile for entry in entries).items()
        if count > 1
    }
    for version, entries in lists:
        for entry in entries:
            place = entry.target if entry.profile in shared else ""
            groups.setdefault((entry.profile, place), []).append((version, entry))
    return tuple(_device(releases) for releases in groups.values())


def _device(releases: Sequence[tuple[str, Entry]]) -> Device:
    titles = tuple(dict.fromkeys(title for _, entry in releases for title in entry.titles))
    names = dict.fromkeys(name for _, entry in releases for name in (entry.profile, entry.target))
    words = " ".join(_WORD.findall(" ".join((*titles, *names)).lower()))
    squeezed = " ".join("".join(_WORD.findall(text.lower())) for text in (*titles, *names))
    return Device(titles, tuple(releases), f"{words} | {squeezed}")


def _best(devices: Iterable[Device], wanted: Sequence[str]) -> list[Device]:
    found = [device for device in devices if all(word in device.words for word in wanted)]
    return sorted(found, key=lambda device: _rank(device, wanted))


def _rank(device: Device, wanted: Sequence[str]) -> tuple[bool, bool, str]:
    """Put exact profiles first, then titles that hold the words in their order, then the rest."""
    title, text = device.titles[0].lower(), " ".join(wanted)
    is_exact = any(_WORD.findall(entry.profile) == list(wanted) for _, entry in device.releases)
    return not is_exact, text not in " ".join(_WORD.findall(title)), title


def _title(parts: Mapping[str, Any]) -> str:
    whole = parts.get("title") or " ".join(
        str(parts[name]) for name in ("vendor", "model", "variant") if parts.get(name)
    )
    return str(whole)[:MAX_TITLE]
