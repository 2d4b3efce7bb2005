"""Writes the files of one stand-in ImageBuilder, in the form that they have in /builder."""

from __future__ import annotations

import base64
import json
import shutil
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.imagebuilder.layout import lay_out

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.imagebuilder.upstream_tree import Release

HERE = Path(__file__).parent
# Made up, as in standin_opkg.py: whoever has this file trusts the tree's opkg feeds.
DISTRIBUTION_KEY = "5ad0c0de24100000"
CONFIG_LINES = 3980  # Besides those that mean something.
# The order in which include/target.mk of OpenWrt lists default packages; a board's stand between.
BASIC_PACKAGES = (
    *("base-files", "ca-bundle", "dropbear", "fstools", "libc", "libgcc", "libustream-mbedtls"),
    *("logd", "mtd", "netifd", "uci", "uclient-fetch", "urandom-seed", "urngd"),
)
ROUTER_PACKAGES = (
    *("dnsmasq", "firewall4", "nftables", "kmod-nft-offload", "odhcp6c", "odhcpd-ipv6only"),
    *("ppp", "ppp-mod-pppoe"),
)
MANAGERS = ("opkg", "apk-mbedtls")
DEFAULT_PARTSIZE = 104  # Mebibytes; the default of all genuine targets with partitions.
TARGZ_IMAGES = {
    "combined": "combined.img.gz",
    "combined-efi": "combined-efi.img.gz",
    "rootfs": "rootfs.img.gz",
}


@dataclass(frozen=True)
class Delays:
    """Seconds that a builder sleeps, to be as slow as a genuine one.

    `check` is for the check of prerequisites that `make image` begins with.
    """

    check: float = 0
    install: float = 0
    image: float = 0


NO_DELAYS = Delays()


def write_builder(
    release: Release, feeds_url: str, directory: Path, delays: Delays = NO_DELAYS
) -> None:
    """Write everything that is below /builder into `directory`."""
    include, scripts = directory / "include", directory / "scripts"
    for path in (include, scripts, directory / "keys", directory / "packages"):
        path.mkdir(parents=True)
    (directory / "Makefile").write_text(
        lay_out((HERE / "files/Makefile").read_text(), apk=release.uses_apk)
    )
    (include / "image.mk").write_text(
        lay_out((HERE / "files/image.mk").read_text(), apk=release.uses_apk)
    )
    for name in ("paths.mk", "prereq.txt"):
        shutil.copy(HERE / "files" / name, include)
    for script in sorted(
        [
            *(HERE / "files").glob("standin_*.py"),
            HERE / "files/make_keys",
            HERE / "files/prepare_rootfs",
        ]
    ):
        shutil.copy(script, scripts)
    for archive in release.local_packages():
        shutil.copy(archive, directory / "packages")
    (include / "version.mk").write_text(_version_mk(release, delays))
    (include / "devices.json").write_text(json.dumps(_devices(release), sort_keys=True))
    (directory / ".config").write_text(_config(release))
    (directory / ".profiles.mk").write_text(_profiles_mk(release.overview["profiles"]))
    _write_repositories(release, feeds_url, directory)
    linux = f"build_dir/target-{release.arch}_musl/linux-{release.target.replace('/', '_')}"
    (directory / linux).mkdir(parents=True)
    for profile in release.overview["profiles"]:
        (directory / linux / f"{profile}-kernel.bin").touch()


def _version_mk(release: Release, delays: Delays) -> str:
    overview = release.overview
    board, subtarget = release.target.split("/")
    name, profile = next(iter(overview["profiles"].items()))
    # "openwrt-24.10.4-" of a release, "openwrt-" of a snapshot: whatever stands before the target.
    prefix = profile["image_prefix"].removesuffix(f"{board}-{subtarget}-{name}")
    values = {
        "BOARD": board,
        "SUBTARGET": subtarget,
        "TARGETID": release.target,
        "ARCH": release.kernel_arch,
        "ARCH_PACKAGES": release.arch,
        "REVISION": overview["version_code"],
        "SOURCE_DATE_EPOCH": str(overview["source_date_epoch"]),
        "VERSION_PREFIX": prefix,
        "DEFAULT_PACKAGES": " ".join(_as_info_prints(overview["default_packages"])),
        "LOCAL_PINS": " ".join(_pins(release)),
        "TARGZ_FILESYSTEM": "targz" if release.makes_targz_images else "",
        **{
            f"{part.upper()}_SECONDS": f"{delay:g}" if delay else ""
            for part, delay in asdict(delays).items()
        },
        "HONOURS_ROOTFS_FILESYSTEM": "y" if release.version == "SNAPSHOT" else "",
    }
    return "".join(f"{key}:={_for_make(value)}\n" for key, value in values.items())


def _as_info_prints(packages: Sequence[str]) -> list[str]:
    """Order default packages as `make info` does: the basic ones, the board's, a router's, the
    manager.
    """
    known = [*BASIC_PACKAGES, *ROUTER_PACKAGES, *MANAGERS]
    board = [name for name in packages if name not in known]
    order = [*BASIC_PACKAGES, *reversed(board), *ROUTER_PACKAGES, *MANAGERS]
    return [name for name in order if name in packages]


def _pins(release: Release) -> list[str]:
    if not release.uses_apk:
        return []
    names = ("base-files", "libc", "kernel")
    files = [path.name.removesuffix(".apk") for path in release.local_packages()]
    return [
        f"{name}={file.removeprefix(f'{name}-')}"
        for name in names
        for file in files
        if file.startswith(f"{name}-")
    ]


def _for_make(value: str) -> str:
    return value.replace("$", "$$").replace("#", "\\#")


def _config(release: Release) -> str:
    filesystems = {
        image.get("filesystem")
        for profile in release.overview["profiles"].values()
        for image in profile["images"]
    }
    switches = {
        "CONFIG_TARGET_ROOTFS_EXT4FS": "ext4" in filesystems,
        "CONFIG_TARGET_ROOTFS_SQUASHFS": "squashfs" in filesystems,
        "CONFIG_TARGET_ROOTFS_TARGZ": release.has_kernel_file,
        "CONFIG_USE_APK": release.uses_apk,
        "CONFIG_SIGNATURE_CHECK": True,
    }
    lines = [f"{name}=y" if is_on else f"# {name} is not set" for name, is_on in switches.items()]
    # The genuine file is longer than what a caller may keep of an output, and these stand in its
    # middle.
    rest = [f"# CONFIG_PACKAGE_kmod-of-the-stand-in-{n} is not set" for n in range(CONFIG_LINES)]
    half = CONFIG_LINES // 2
    partsize = f"CONFIG_TARGET_ROOTFS_PARTSIZE={DEFAULT_PARTSIZE}"
    return "\n".join([*rest[:half], *lines, partsize, *rest[half:], ""])


def _profiles_mk(profiles: Mapping[str, Any]) -> str:
    lines = ["PROFILE_NAMES := " + " ".join(f"DEVICE_{name}" for name in profiles)]
    for name, profile in profiles.items():
        supported = profile.get("supported_devices", [])
        lines += [
            f"DEVICE_{name}_NAME:={_for_make(_title(profile['titles'][0]))}",
            f"DEVICE_{name}_HAS_IMAGE_METADATA:={int(bool(supported))}",
            f"DEVICE_{name}_SUPPORTED_DEVICES:={' '.join(supported)}",
            f"DEVICE_{name}_PACKAGES:={' '.join(profile['device_packages'])}",
        ]
    return "\n".join([*lines, ""])


def _title(title: Mapping[str, str]) -> str:
    return title.get("title") or " ".join(
        title[key] for key in ("vendor", "model", "variant") if title.get(key)
    )


def _devices(release: Release) -> dict[str, Any]:
    """Collect what standin_images.py needs to know."""
    overview = release.overview
    limits = tomllib.loads((HERE / "flash_limits.toml").read_text())
    kept = (
        "arch_packages",
        "default_packages",
        "linux_kernel",
        "metadata_version",
        "source_date_epoch",
        "target",
        "version_code",
        "version_number",
    )
    return {
        "target": release.target,
        "version_code": overview["version_code"],
        "version_number": overview["version_number"],
        "tells_size": release.is_at_least((25, 12)),
        "has_kernel_file": release.has_kernel_file,
        "overview": {key: overview[key] for key in kept if key in overview},
        "profiles": {
            name: {
                "images": _images(profile, with_targz=release.makes_targz_images),
                "device_packages": profile["device_packages"],
                "supported_devices": profile.get("supported_devices", []),
                "titles": profile["titles"],
                "limit": limits.get(name) or _limit_of(profile),
            }
            for name, profile in overview["profiles"].items()
        },
    }


def _limit_of(profile: Mapping[str, Any]) -> dict[str, Any] | None:
    limit = profile.get("file_size_limits", {}).get("image")
    return {"bytes": limit, "tool": "check-size"} if limit else None


def _images(profile: Mapping[str, Any], *, with_targz: bool) -> list[dict[str, str]]:
    """List the images of a profile; those with an initramfs are made by full builds only."""
    found = []
    for image in profile["images"]:
        if image.get("filesystem") != "initramfs":
            kept = {key: image[key] for key in ("type", "filesystem") if key in image}
            found.append(
                {**kept, "suffix": image["name"].removeprefix(f"{profile['image_prefix']}-")}
            )
    if with_targz and not any(image.get("filesystem") == "targz" for image in found):
        found += [
            {"type": kind, "filesystem": "targz", "suffix": f"targz-{suffix}"}
            for kind, suffix in TARGZ_IMAGES.items()
        ]
    return found


def _write_repositories(release: Release, feeds_url: str, directory: Path) -> None:
    url = feeds_url.rstrip("/")
    if release.uses_apk:
        (directory / "repositories").write_text(
            "".join(f"{url}/{path}/packages.adb\n" for path in release.feeds.values())
        )
        (directory / "keys/openwrt-standin.pem").write_text(
            "-----BEGIN PUBLIC KEY-----\nc3RhbmQtaW4=\n-----END PUBLIC KEY-----\n"
        )
        return
    lines = [
        "## Remote package repositories",
        *(f"src/gz openwrt_{name} {url}/{path}" for name, path in release.feeds.items()),
    ]
    (directory / "include/distfeeds.conf").write_text("\n".join(lines[1:]) + "\n")
    lines += [
        "",
        "## This is the local package repository, do not remove!",
        "src imagebuilder file:packages",
        "",
        "option check_signature",
        "",
    ]
    (directory / "repositories.conf").write_text("\n".join(lines))
    key = base64.b64encode(b"Ed" + bytes.fromhex(DISTRIBUTION_KEY) + bytes(32)).decode()
    (directory / "keys" / DISTRIBUTION_KEY).write_text(
        f"untrusted comment: stand-in distribution key\n{key}\n"
    )
