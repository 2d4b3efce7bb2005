"""opkg, of the ImageBuilders up to 24.10."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from asu.errors import BuildFailed

from .admitted_feeds import UnusableFeed, key_files
from .image_manifest import parse_manifest
from .problems import PackageProblem, clash, conflict, each_once, missing, other_version
from .signs import named_by

LOCAL_NAME = "imagebuilder"
# The builder's own packages: without kernel and libc there is no image.
LOCAL = f"src {LOCAL_NAME} file:packages"
CHECKED = "option check_signature"

_DOWNLOAD_SIGNS = (
    r"Failed to download (?!the package list)(?P<what>\S+)",
    r"Failed to download the package list from (?P<what>\S+)",
    r"wget returned [1-9]",
    r"Downloading (?P<what>\S+)\nSignature check failed",
    r"Signature check failed",
    r"Checksum or size mismatch for package (?P<what>\S+?)\.(?:\s|$)",
)

_SOURCE = re.compile(r"^src(?:/gz)?[ \t]+(\S+)[ \t]+(\S+)", re.MULTILINE)
_UNRESOLVED = re.compile(
    r"cannot find dependency ([^ \n]+(?: \([^)\n]*\))?) for ([^ \n]+)$", re.MULTILINE
)
_UNSATISFIED = re.compile(
    r"Cannot satisfy the following dependencies for ([^ \n]+):\n((?: \* *\t[^\n]*\n)*)"
)
_UNINSTALLABLE = re.compile(r"Cannot install package ([^ \n]+)\.$", re.MULTILINE)
_CONFLICT = re.compile(
    r"packages conflict with ([^ \n:]+):\n((?: \* check_conflicts_for: \t[^\n]*\n)+)"
)
_CLASH = re.compile(
    r"Package (\S+) wants to install file (\S+)\n\tBut that file is already provided by package  \* (\S+)"
)

# opkg's standard output is buffered: what it says of errors in the end may stand in the middle of
# one of its lines.
_COLLECTED = re.compile(r"Collected errors:\n(?: \* .*connectivity\.\n\n| \* .*\n|\t.*\n)*")
_DOWNLOAD = re.compile(r"Downloading (\S+)\n(.*?)(?=Downloading |\Z)", re.DOTALL)


class Opkg:
    """See PackageManager."""

    repositories_path = "repositories.conf"

    def address(self, url: str) -> str:
        """See PackageManager."""
        return url

    def repositories(
        self, present: str, feeds: Mapping[str, str], mode: Literal["append", "replace"]
    ) -> str:
        """See PackageManager; raises BuildFailed.

        opkg passes over a second feed of the same name. So a feed of the request takes the place of
        the builder's of that name, and what is not signed is used in no mode.
        """
        if LOCAL_NAME in feeds:
            raise BuildFailed(
                reason=f"a repository is named {LOCAL_NAME}, as its own packages are; give it another name"
            )
        kept = [line for line in present.splitlines() if not _gives_way(line, feeds, mode)]
        own = [f"src/gz {name} {self.address(url)}" for name, url in feeds.items()]
        settings = [line for line in (LOCAL, CHECKED) if line not in kept]
        return "\n".join([*own, *kept, *settings, ""])

    def feeds(self, listed: str) -> dict[str, str]:
        """See PackageManager; of two feeds with one name opkg takes the first."""
        return {
            name: address for name, address in reversed(_SOURCE.findall(listed)) if "://" in address
        }

    def key_files(self, keys: Sequence[str]) -> dict[str, bytes]:
        """See PackageManager; opkg looks a key up by the name of its file, which is the key's fingerprint."""
        return key_files(keys, "usign")

    def manifest(self, output: str) -> dict[str, str]:
        """See PackageManager."""
        return parse_manifest(output)

    def failed_download(self, text: str) -> str | None:
        """See PackageManager."""
        return named_by(_DOWNLOAD_SIGNS, text)

    def unusable_feeds(self, stderr: str, feeds: Mapping[str, str]) -> list[UnusableFeed]:
        """See PackageManager; a feed counts as used only if opkg says that it has its list and trusts it."""
        heard = dict(_DOWNLOAD.findall(_COLLECTED.sub("", stderr)))
        unusable = []
        for name, url in feeds.items():
            if "Updated list of available packages" not in heard.get(f"{url}/Packages.gz", ""):
                unusable.append(
                    UnusableFeed(
                        f"{name} ({url}) cannot be downloaded or is no feed for opkg; check its address, or try again later"
                    )
                )
            elif "Signature check passed." not in heard.get(f"{url}/Packages.sig", ""):
                words = f"{name} ({url}) has no signature by a known key; `repository_keys` must hold its usign key"
                unusable.append(UnusableFeed(words, is_untrusted=True))
        return unusable

    def problems(self, text: str) -> list[PackageProblem]:
        """See PackageManager.

        "Cannot install package X." stands at the end of each complaint; only where nothing explains
        it is X itself what is missing. That "Packages for X found, but incompatible with the
        architectures configured" is untrue, and names nothing new.
        """
        direct = [(package, need) for need, package in _UNRESOLVED.findall(text)]
        deeper = [
            (package, need)
            for package, needs in _UNSATISFIED.findall(text)
            for need in re.findall(r"\t([^\s*]+(?: \([^)\n]*\))?)", needs)
        ]
        conflicts = [
            (package, other)
            for package, others in _CONFLICT.findall(text)
            for other in re.findall(r"\t([^\s*]+)", others)
        ]
        clashes = _CLASH.findall(text)
        explained = {package for package, *_ in [*direct, *deeper, *conflicts, *clashes]}
        told = {need for _, need in direct}
        found = [
            _unmet(package, need)
            for package, need in [*direct, *(pair for pair in deeper if pair[1] not in told)]
        ]
        found += [conflict(package, other) for package, other in conflicts]
        found += [clash(package, owner, _inside(path)) for package, path, owner in clashes]
        return each_once(
            [
                *found,
                *(
                    missing(package)
                    for package in _UNINSTALLABLE.findall(text)
                    if package not in explained
                ),
            ]
        )


def _gives_way(line: str, feeds: Mapping[str, str], mode: Literal["append", "replace"]) -> bool:
    words = line.split()
    is_feed = len(words) > 1 and words[0] in {"src", "src/gz"} and words[1] != LOCAL_NAME
    return is_feed and (mode == "replace" or words[1] in feeds)


def _unmet(package: str, need: str) -> PackageProblem:
    """Return a dependency that cannot be met; one with a version exists, but not so."""
    return other_version(package, need) if " (" in need else missing(need, package)


def _inside(path: str) -> str:
    """Return a path as it is in the image, without the builder's directories."""
    return re.sub(r"^.*?/root-[^/]+", "", path)
