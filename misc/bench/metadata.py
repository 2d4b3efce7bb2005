"""A downloads server's metadata at its real size: five releases of ten targets.

Real indexes have about nine thousand names for an architecture; those here are as many and as long,
invented but for the sample's own. Each package needs up to six others that come before it.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from misc.bench import sample
from tests.upstream.adb import Entry, adb_bytes

RELEASES = ("23.05.5", "23.05.6", "24.10.3", "24.10.4", "25.12.1")
TARGETS: Mapping[str, str] = {
    "lantiq/xrx200": "mips_24kc",
    "ath79/generic": "mips_24kc",
    "ath79/mikrotik": "mips_24kc",
    "ramips/mt7621": "mipsel_24kc",
    "ramips/mt76x8": "mipsel_24kc",
    "mediatek/filogic": "aarch64_cortex-a53",
    "mediatek/mt7622": "aarch64_cortex-a53",
    "ipq40xx/generic": "arm_cortex-a7_neon-vfpv4",
    "mvebu/cortexa9": "arm_cortex-a9_vfpv3-d16",
    "x86/64": "x86_64",
}
# Names in each.
FEEDS: Mapping[str, int] = {
    "base": 1_300,
    "luci": 3_400,
    "packages": 4_000,
    "routing": 150,
    "telephony": 250,
}
KMODS = 900
DEVICES = 60  # Of each target.
KERNEL: Mapping[str, str] = {
    "version": "6.12.78",
    "release": "1",
    "vermagic": "4362e98debdfa2e476ff8c040aad9f09",
}
# Packages of the sample that exist no more in the newest release, so that the rules have their
# usual work.
ENDED = frozenset({"auc", "luci-app-opkg", "luci-i18n-opkg-de", "opkg", "swconfig"})
NEW_DRIVERS = ("kmod-dsa-gswip", "xrx200-rev1.1-phy11g-firmware", "xrx200-rev1.2-phy11g-firmware")
SUCCESSORS = (
    "owut",
    "luci-app-package-manager",
    "luci-i18n-package-manager-de",
    "apk-mbedtls",
    *NEW_DRIVERS,
)
# What the device has by default; its owner has added the rest of the sample, and has another
# dnsmasq.
DEFAULT_NAMES = """
    base-files busybox ca-bundle dnsmasq dropbear firewall4 fstools kmod-gpio-button-hotplug
    kmod-leds-gpio kmod-nft-offload libc libgcc libustream-mbedtls logd mtd netifd nftables-json
    odhcp6c odhcpd-ipv6only opkg ppp ppp-mod-pppoe procd procd-seccomp procd-ujail uci urngd
    swconfig wpad-basic-mbedtls
"""
DEFAULTS = tuple(DEFAULT_NAMES.split())


def write_tree(root: Path) -> None:
    """Write all documents below `root`."""
    chance = random.Random(5)  # noqa: S311 - The same tree each time; nothing is secret.
    names = {
        feed: [f"{feed}-{chance.getrandbits(56):014x}-{number}" for number in range(count)]
        for feed, count in FEEDS.items()
    }
    kmods = [f"kmod-{chance.getrandbits(48):012x}" for _ in range(KMODS)]
    stable, *older = reversed(RELEASES)
    _write(
        root / ".versions.json",
        {
            "stable_version": stable,
            "oldstable_version": older[0],
            "upcoming_version": "",
            "versions_list": RELEASES,
        },
    )
    for number, release in enumerate(RELEASES):
        base = root / "releases" / release
        _write(base / ".targets.json", TARGETS)
        wanted = sorted(
            {*sample.PACKAGES, *SUCCESSORS, *DEFAULTS}
            - (ENDED if release == stable else frozenset())
        )
        for architecture in set(TARGETS.values()):
            _write_feeds(
                base / "packages" / architecture,
                architecture,
                {**names, "base": [*wanted, *names["base"]]},
                number,
            )
        for target, architecture in TARGETS.items():
            _write_target(base / "targets" / target, architecture, kmods, newest=release == stable)


def _write_feeds(
    directory: Path, architecture: str, names: Mapping[str, Iterable[str]], number: int
) -> None:
    for feed, those in names.items():
        # One package in four is as it was in the release before.
        packages = {
            name: f"2024.{place % 12}.{place % 28}~{place * 7919 % 65_536:04x}"
            f"-r{1 if place % 4 == 0 else number}"
            for place, name in enumerate(those)
        }
        _write_index(directory / feed, architecture, packages, list(names["base"]))
    (directory / "feeds.conf").write_text(
        "".join(f"src-git {feed} https://example.org/{feed}.git^{'0' * 40}\n" for feed in names)
    )


def _write_target(
    directory: Path, architecture: str, kmods: Iterable[str], *, newest: bool
) -> None:
    defaults = [name for name in DEFAULTS if not (newest and name in ENDED)]
    own = ["kmod-ath9k", "kmod-usb-dwc2", *(NEW_DRIVERS if newest else ())]
    devices = {
        f"vendor_device-{number}": {
            "device_packages": own,
            "supported_devices": [f"vendor,device-{number}"],
        }
        for number in range(DEVICES)
    }
    devices["bt_homehub-v5a"] = {"device_packages": own, "supported_devices": ["bt,homehub-v5a"]}
    kernel = dict(KERNEL)
    profiles = {
        "version_code": "r1-1",
        "arch_packages": architecture,
        "linux_kernel": kernel,
        "default_packages": defaults,
        "profiles": devices,
    }
    _write(directory / "profiles.json", profiles)
    names = dict.fromkeys(kmods, f"{KERNEL['version']}-r1")
    place = directory / "kmods" / "-".join(KERNEL.values())
    _write_index(place, architecture, names, [f"kernel (= {KERNEL['version']})"])
    brought = {"kernel": KERNEL["version"], "libc": "1.2.5-r4"}
    _write_index(directory / "packages", architecture, brought, [])


def _write_index(
    directory: Path, architecture: str, packages: Mapping[str, str], needs: list[str]
) -> None:
    """Write index.json and the index of both package managers; each reads its own."""
    _write(
        directory / "index.json",
        {"version": 2, "architecture": architecture, "packages": packages},
    )
    listed = entries(architecture, packages, needs)
    (directory / "Packages.gz").write_bytes(
        gzip.compress("\n".join(map(stanza, listed)).encode(), 1)
    )
    spelt = [
        replace(one, depends=tuple(need.replace(" (= ", "=").rstrip(")") for need in one.depends))
        for one in listed
    ]
    (directory / "packages.adb").write_bytes(adb_bytes(spelt))


def entries(architecture: str, packages: Mapping[str, str], needs: list[str]) -> list[Entry]:
    """Return what an index says of these packages; sizes differ between architectures only."""
    chance = random.Random(f"{len(packages)} {architecture}")  # noqa: S311 - As above.
    known = {name: place for place, name in enumerate(needs)}
    return [
        Entry(
            name=name,
            version=version,
            description="A package of about the usual length of a description.",
            hashes=chance.randbytes(32),
            arch=architecture,
            size=chance.randrange(500, 300_000),
            installed_size=chance.randrange(1_000, 900_000),
            # Equal for all architectures, as in real indexes.
            depends=tuple(_needs(name, needs[: known.get(name, len(needs))])),
            provides=(f"{name}-any",),
        )
        for name, version in packages.items()
    ]


def _needs(name: str, those: list[str]) -> list[str]:
    if len(those) <= 1:
        return those
    chance = random.Random(name)  # noqa: S311 - As above.
    return sorted({"libc", *chance.choices(those, k=chance.randrange(6))} - {name})


def stanza(one: Entry) -> str:
    """Return the same for opkg."""
    return (
        f"Package: {one.name}\nVersion: {one.version}\nDepends: {', '.join(one.depends)}\n"
        f"License: GPL-2.0\nSection: base\nArchitecture: {one.arch}\n"
        f"Installed-Size: {one.installed_size}\nFilename: {one.name}.ipk\nSize: {one.size}\n"
        f"SHA256sum: {one.hashes.hex()}\nDescription:  {one.description}\n"
    )


def _write(path: Path, document: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, separators=(",", ":")))
