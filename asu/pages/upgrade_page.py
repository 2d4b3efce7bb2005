"""The page on which people preview and approve an upgrade: what its template shows."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from asu.catalogue.devices import Devices
from asu.catalogue.validation import Catalogue
from asu.resolution import Version

from .upgrade_form import UpgradeForm, counted

SHOWN = 12  # Devices of a search.
# In the order of harm.
ACTIONS = (("replace", "Replaced"), ("remove", "Removed"), ("add", "Added"))


async def device_of(devices: Devices, form: UpgradeForm) -> Mapping[str, Any] | None:
    """Return the device that a form names; None if the search does not know it.

    A device that has moved to another target since is known by its profile, if that is its alone.
    """
    if not form.profile:
        return None
    found = await devices.search(form.profile, None, 100)
    names = {form.profile, form.profile.replace(",", "_")}
    named = [
        (device, {release["target"] for release in device["releases"]})
        for device in found
        if any(release["profile"] in names for release in device["releases"])
    ]
    here = [device for device, targets in named if form.target in targets]
    return next(iter(here), named[0][0] if len(named) == 1 else None)


async def completed(
    form: UpgradeForm, device: Mapping[str, Any] | None, catalogue: Catalogue
) -> UpgradeForm:
    """Choose the newest stable version for a form without one, under the device's name in it."""
    releases: Sequence[Mapping[str, str]] = device["releases"] if device else ()
    if not form.version:
        stable = [each for each in releases if "-" not in each["version"]] or list(releases)
        latest = [each for each in (await catalogue.releases()).latest if "-" not in each]
        chosen = stable[0]["version"] if stable else next(iter(latest), "SNAPSHOT")
        form = replace(form, version=chosen)
    for release in releases:  # Some devices have another name or target in a later release.
        if release["version"] == form.version:
            return replace(form, target=release["target"], profile=release["profile"])
    return form


def preview_view(preview: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the template shows of a preview."""
    changes = [{"bytes": None, **change} for change in preview["changes"]]
    diff = preview.get("manifest_diff")
    stepped = [
        {"name": name, "old": each.get("old", ""), "new": each["new"], "older": each["downgrade"]}
        for name, each in sorted(preview["versions"].items())
        if each.get("old") not in {None, each["new"]}
    ]
    if diff:
        stepped = [
            {"name": each["package"], "old": each["old"], "new": each["new"], "older": is_older}
            for kind, is_older in (("downgraded", True), ("upgraded", False))
            for each in diff[kind]
        ]
    return {
        "counts": counted(preview),
        "groups": [
            (title, group)
            for action, title in ACTIONS
            if (group := [change for change in changes if change["action"] == action])
        ],
        "refused": preview["ignored_changes"],
        "problems": preview["problems"],
        "warnings": preview["warnings"],
        "size": preview.get("size"),
        "steps": stepped,
        "total": len(preview.get("manifest") or ()),
        "diff": diff,
        "is_ready": preview["cache_available"],
        "is_checked": preview["checked"],
        "jump": jump(preview),
    }


def jump(preview: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return both branches where an upgrade passes over one or more; None where it does not."""
    new, origin = Version.parse(preview["prepared_request"]["version"]), preview["from_version"]
    old = Version.parse(origin["version"]) if origin else new
    if old.is_development or new.is_development or _year(new) - _year(old) < 2:  # noqa: PLR2004
        return None
    return old.branch, new.branch


def _year(version: Version) -> int:
    """Return the year of a branch: each year has one."""
    return int(version.branch.partition(".")[0])
