"""The sweep over all devices of a tree: what it counts, and that it sees what is lost."""

import asyncio
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from asu.resolution import Rule, RuleBook, Version, load_rules
from asu.resolution.package_changes import Exclusive
from misc.sweep import Sweep, Tree

OLD, NEW = "24.10.7", "25.12.5"
COMMON = ["base-files", "busybox", "dnsmasq", "dropbear", "firewall4", "libc", "mtd", "netifd"]
OTHERS = ["logd", "uci", "procd", "fstools"]
# Ways of a device: old target and id, new target and id, and names that the new one supports.
WAYS = {
    "kept": ("ath79/generic", "acme_a", "ath79/generic", "acme_a", ["acme,a"]),
    "renamed": ("ath79/generic", "acme_b-v1", "ath79/generic", "acme_b-a1", ["acme,b-v1"]),
    "renamed, old spelling": ("ath79/generic", "acme_c", "ath79/generic", "acme_c-v1", ["acme_c"]),
    "target renamed": ("ipq807x/generic", "acme_d", "qualcommax/ipq807x", "acme_d", ["acme,d"]),
    "split off": ("ath79/generic", "acme_e", "ath79/tiny", "acme_e", ["acme,e"]),
    "both": ("ipq807x/generic", "acme_f", "qualcommax/ipq807x", "acme_f-v1", ["acme,f"]),
    "dropped": ("ath79/generic", "acme_g", "", "", []),
}


def write(directory: Path, version: str, devices: Iterable[tuple[str, str, list[str]]]) -> None:
    """Write the profiles.json of each target of a release; each device has a package of its own."""
    targets: dict[str, dict[str, Any]] = {}
    for target, profile, names in devices:
        own = [f"kmod-{profile}", *([f"new-{profile}"] if version == NEW else [])]
        entry = {"device_packages": own, "supported_devices": names}
        targets.setdefault(target, {})[profile] = entry
    defaults = [*COMMON, *OTHERS, "apk-mbedtls" if version == NEW else "opkg"]
    for target, profiles in targets.items():
        path = directory / version / target / "profiles.json"
        path.parent.mkdir(parents=True)
        document = {
            "version_number": version,
            "version_code": "r1-a",
            "target": target,
            "arch_packages": "mips_24kc",
            "default_packages": defaults,
            "profiles": profiles,
        }
        path.write_text(json.dumps(document), encoding="utf-8")


def swept(directory: Path, rules: RuleBook) -> Sweep:
    """Return the sweep over the devices of `WAYS`."""
    ways = WAYS.values()
    write(directory, OLD, [(way[0], way[1], [way[1].replace("_", ",", 1)]) for way in ways])
    write(directory, NEW, [(way[2], way[3], way[4]) for way in ways if way[2]])
    sweep = Sweep(Tree(directory), rules)
    asyncio.run(sweep.run())
    return sweep


def test_no_way_of_a_device_loses_anything(tmp_path: Path) -> None:
    """Whether it kept its name and target, or has another name or place."""
    sweep = swept(tmp_path, load_rules())

    assert sweep.faults == {kind: [] for kind in sweep.faults}
    expected: Mapping[str, int] = {
        "devices, kept": 1,
        "devices, renamed": 2,
        "devices, moved": 3,
        "devices that the newer release does not have": 1,
        "whole lists (stated)": 6,
        "whole lists (inferred)": 6,
        "lists with some left out": 18,
    }
    assert sweep.counts == expected


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("dnsmasq", "no-such", "a problem"),
        ("dnsmasq", "no-such", "removed by the user"),
        ("fstools", "mtd", "undone"),
    ],
)
def test_what_a_wrong_rule_does_is_seen(tmp_path: Path, old: str, new: str, kind: str) -> None:
    """Each kind of fault."""
    base, since = load_rules(), Version.parse(NEW)
    wrong = Rule(id="wrong", reason="Wrong.", since=since, replace=old, with_package=new)
    rules = RuleBook([*base.rules, wrong], base.branch_off_revisions, base.exclusives)

    assert swept(tmp_path, rules).faults[kind]


def test_a_lost_default_is_seen(tmp_path: Path) -> None:
    """Here two drivers are wrongly called variants of one program."""
    members, heads = re.compile("(new|kmod)-acme_d"), ("new-", "kmod-")
    wrong = Exclusive(id="wrong", members=members, heads=heads, reason="Wrong.")
    base = load_rules()
    rules = RuleBook(base.rules, base.branch_off_revisions, [*base.exclusives, wrong])

    assert len(swept(tmp_path, rules).faults["lost"]) > 1
