"""The ImageBuilder's commands, and how to read what they print.

Argument lists are not enough: make itself expands `$(…)` in the value of a variable, and two shells
follow. So every value is checked here once more by an anchored ASCII pattern, whatever came through
Redis; `EXTRA_IMAGE_NAME` and `BIN_DIR` are made of our own hash.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asu.errors import BuildFailed, ImpossibleSelection, ProfileMissingInBuilder, UnknownFilesystem
from asu.resolution import DeviceDefaults, Version, normalised_request, ordered_packages

from .package_managers.problems import impossible_selection, missing

_PACKAGE = re.compile(r"-?[A-Za-z0-9][A-Za-z0-9_.+-]{0,127}")
_PROFILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,127}")
_KEY = re.compile(r"[0-9a-f]{64}")

BUILDER = "/builder"
FILES = "asu-files"
FIRST_BOOT_SCRIPT = f"{FILES}/etc/uci-defaults/99-asu-defaults"
# People need few digits to distinguish builds of a device; the directory has the whole hash. More
# digits would exceed the 256 bytes that auc has for a URL.
NAME_DIGITS = 12

_CONFIG_SYMBOLS = {
    "squashfs": "SQUASHFS",
    "ext4": "EXT4FS",
    "ubifs": "UBIFS",
    "erofs": "EROFS",
    "jffs2": "JFFS2",
    "jffs2-nand": "JFFS2_NAND",
    "targz": "TARGZ",
    "cpiogz": "CPIOGZ",
}
# Archives, which no device can be flashed with: made where they are asked for, never offered.
_ARCHIVES = ("targz", "cpiogz")

_INSTALL = "$(MAKE) package_install"
# What `make image` does after it has installed the packages.
_RESUMED = ("prepare_rootfs", "build_image", "json_overview_image_info", "checksum")
# The names of its values in these steps.
_INNER = {
    "PROFILE": "USER_PROFILE",
    "PACKAGES": "USER_PACKAGES",
    "EXTRA_IMAGE_NAME": "EXTRA_IMAGE_NAME",
    "BIN_DIR": "BIN_DIR",
    "ROOTFS_PARTSIZE": "CONFIG_TARGET_ROOTFS_PARTSIZE",
    "FILES": "USER_FILES",
}
_PASSED = (
    '$(if $(PROFILE),USER_PROFILE="$(PROFILE_FILTER)")',
    *(
        f'$(if $({name}),{_INNER[name]}="$({name})")'
        for name in ("PACKAGES", "BIN_DIR", "ROOTFS_PARTSIZE", "FILES")
    ),
)


@dataclass(frozen=True, slots=True)
class BuilderInfo:
    """The output of `make info`: a pure function of the ImageBuilder's image."""

    revision: str
    default_packages: tuple[str, ...]
    device_packages: Mapping[str, tuple[str, ...]]
    titles: Mapping[str, tuple[str, ...]]


def parse_info(output: str) -> BuilderInfo:
    """Read `make info`; raises BuildFailed when it is not that."""
    revision = re.search(r'^Current Revision: "(.*)"$', output, re.MULTILINE)
    defaults = re.search(r"^Default Packages: (.*)$", output, re.MULTILINE)
    if revision is None or defaults is None:
        raise BuildFailed(reason="it does not say what it can build")
    # A profile's name line may be absent, so the packages are looked for anywhere in its block.
    blocks = re.findall(r"^([^\s:]+):\n((?: {4}.*\n?)+)", output, re.MULTILINE)
    device_packages = {}
    titles: dict[str, tuple[str, ...]] = {}
    for profile, block in blocks:
        name = re.match(r" {4}(?![A-Za-z]+:)(.+)", block)
        # A device that is sold under several names has a block for each.
        titles[profile] = titles.get(profile, ()) + ((" ".join(name[1].split()),) if name else ())
        packages = re.search(r"^ {4}Packages: *(.*)$", block, re.MULTILINE)
        device_packages[profile] = tuple(packages[1].split()) if packages else ()
    return BuilderInfo(revision[1], tuple(defaults[1].split()), device_packages, titles)


def parse_manifest(output: str) -> dict[str, str]:
    """Read name and version per line; builders with apk had another separator for a while."""
    manifest = {}
    for line in output.splitlines():
        match line.split():
            case [name, "-", version] | [name, version]:
                manifest[name] = version
    return manifest


def selection(request: Mapping[str, Any], info: BuilderInfo) -> list[str]:
    """Return the packages to hand to make, in the order that is part of the build's identity.

    An absolute list gets `-name` for each default that is not in it.
    """
    profile, packages = request["profile"], list(dict.fromkeys(request["packages"]))
    if profile not in info.device_packages:
        raise ProfileMissingInBuilder(profile=profile)
    if request["diff_packages"]:
        wanted = {name.removeprefix("-") for name in packages}
        device = DeviceDefaults.of(
            Version.parse(request["version"]), info.default_packages, info.device_packages[profile]
        )
        packages += [f"-{name}" for name in device.defaults if name not in wanted]
    return list(_admitted(ordered_packages({**normalised_request(request), "packages": packages})))


def manifest_command(request: Mapping[str, Any], packages: Sequence[str]) -> list[str]:
    """Return the command that lists what would be installed."""
    return ["make", "manifest", _profile(request), _packages(packages), "STRIP_ABI=1"]


def image_command(request: Mapping[str, Any], packages: Sequence[str], key: str) -> list[str]:
    """Return the command that makes the images.

    Clients index its arguments, so their order is that of the reference server.
    """
    if _KEY.fullmatch(key) is None:
        raise BuildFailed(reason="the key of the build is malformed")
    command = ["make", "image", _profile(request), _packages(packages)]
    command += [f"EXTRA_IMAGE_NAME={key[:NAME_DIGITS]}", f"BIN_DIR={output_directory(key)}"]
    if request["rootfs_size_mb"]:
        command.append(f"ROOTFS_PARTSIZE={int(request['rootfs_size_mb'])}")
    if request["defaults"]:
        command.append(f"FILES={FILES}")
    return command


def resumed_command(image_command: Sequence[str]) -> list[str]:
    """Return the command for what is left of this `make image` after an install."""
    values = dict(argument.split("=", 1) for argument in image_command[2:])
    values["PROFILE"] = f"DEVICE_{values['PROFILE']}"
    return ["make", "-s", *_RESUMED, *(f"{_INNER[name]}={value}" for name, value in values.items())]


def can_resume(makefile: str) -> bool:
    """Whether this Makefile's `make image` can be resumed after `make manifest`.

    Both must install in the same way, and what follows in `make image` must be the known steps,
    which get their values under the known names.
    """
    image, manifest = _recipe(makefile, "_call_image"), _recipe(makefile, "_call_manifest")
    if _INSTALL not in image or f"{_INSTALL} >/dev/null" not in manifest:
        return False
    steps = [line.removeprefix("$(MAKE) -s ") for line in image[image.index(_INSTALL) + 1 :]]
    passed = " ".join(_recipe(makefile, "image"))
    return steps == list(_RESUMED) and all(value in passed for value in _PASSED)


def _recipe(makefile: str, target: str) -> list[str]:
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    return [line.strip() for line in found[1].splitlines()] if found else []


def output_directory(key: str) -> str:
    """Return the directory of the images in the container."""
    return f"{BUILDER}/{key}"


def filesystem_command(config: str, filesystem: str) -> list[str]:
    """Return the command that switches all other file systems off in the builder's .config.

    Releases before 2026 ignore ROOTFS_FILESYSTEM; this works on all of them and nearly halves the
    time of an x86 build. Raises UnknownFilesystem.
    """
    offered = [
        name
        for name, symbol in _CONFIG_SYMBOLS.items()
        if f"\nCONFIG_TARGET_ROOTFS_{symbol}=y\n" in f"\n{config}\n"
    ]
    if filesystem not in offered:
        available = ", ".join(name for name in offered if name not in _ARCHIVES) or "none"
        raise UnknownFilesystem(filesystem=filesystem, available=available)
    others = [_CONFIG_SYMBOLS[name] for name in offered if name != filesystem]
    edit = "s/^CONFIG_TARGET_ROOTFS_{0}=y$/# CONFIG_TARGET_ROOTFS_{0} is not set/"
    edits = [part for symbol in others for part in ("-e", edit.format(symbol))]
    return ["sed", "-i", *edits, f"{BUILDER}/.config"] if edits else ["true"]


def _admitted(packages: Iterable[str]) -> Iterable[str]:
    for name in packages:
        if _PACKAGE.fullmatch(name):
            yield name
        elif _PACKAGE.fullmatch(name.replace(",", "")) is None:
            raise ImpossibleSelection(reason="a name is malformed")
        elif name[0] != "-":  # No package has a comma in its name, so there is none to take away.
            raise impossible_selection([missing(name)])


def _profile(request: Mapping[str, Any]) -> str:
    profile = request["profile"]
    if _PROFILE.fullmatch(profile) is None:
        raise BuildFailed(reason="the profile's name is malformed")
    return f"PROFILE={profile}"


def _packages(packages: Sequence[str]) -> str:
    return f"PACKAGES={' '.join(_admitted(packages))}"
