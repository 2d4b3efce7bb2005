"""opkg, of the ImageBuilders up to 24.10."""

import re
from collections.abc import Mapping

from typing_extensions import override

from asu.errors import BuildFailed

from .own_feeds import UnusableFeed
from .problems import PackageProblem, clash, conflict, each_once, missing, other_version
from .protocol import Mode, PackageManager

LOCAL_NAME = "imagebuilder"
# The builder's own packages: without kernel and libc there is no image.
LOCAL = f"src {LOCAL_NAME} file:packages"
CHECKED = "option check_signature"

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
    r"Package (\S+) wants to install file (\S+)\n"
    r"\tBut that file is already provided by package  \* (\S+)"
)

# opkg buffers its output, so the errors that it lists at the end may cut one of its lines in two.
_COLLECTED = re.compile(r"Collected errors:\n(?: \* .*connectivity\.\n\n| \* .*\n|\t.*\n)*")
_DOWNLOAD = re.compile(r"Downloading (\S+)\n(.*?)(?=Downloading |\Z)", re.DOTALL)


class Opkg(PackageManager):
    """opkg; its list of feeds also holds settings."""

    repositories_path = "repositories.conf"
    key_kind = "usign"  # opkg looks a key up by the name of its file, the key's fingerprint.
    download_signs = (
        r"Failed to download (?!the package list)(?P<what>\S+)",
        r"Failed to download the package list from (?P<what>\S+)",
        r"wget returned [1-9]",
        r"Downloading (?P<what>\S+)\nSignature check failed",
        r"Signature check failed",
        r"Checksum or size mismatch for package (?P<what>\S+?)\.(?:\s|$)",
    )

    @override
    def repositories(self, present: str, feeds: Mapping[str, str], mode: Mode) -> str:
        # opkg ignores a second feed of the same name, so a feed of the request replaces that of the
        # builder. Signatures are checked in every mode.
        if LOCAL_NAME in feeds:
            reason = f"a repository is named {LOCAL_NAME}, as its own packages are"
            raise BuildFailed(reason=f"{reason}; give it another name")
        kept = [line for line in present.splitlines() if not _gives_way(line, feeds, mode)]
        own = [f"src/gz {name} {url}" for name, url in feeds.items()]
        settings = [line for line in (LOCAL, CHECKED) if line not in kept]
        return "\n".join([*own, *kept, *settings, ""])

    @override
    def feeds(self, listed: str) -> dict[str, str]:
        # Of two feeds with one name opkg takes the first.
        return {
            name: address for name, address in reversed(_SOURCE.findall(listed)) if "://" in address
        }

    @override
    def refusal_of(self, feeds: Mapping[str, str]) -> str:
        addresses = "|".join(map(re.escape, feeds.values()))
        return (
            rf"Downloading (?:{addresses})/Packages\.sig\n"
            "(?:Signature (?:check|file download) failed|Remove wrong Signature)"
        )

    @override
    def unusable_feeds(self, stderr: str, feeds: Mapping[str, str]) -> list[UnusableFeed]:
        # A feed counts as used only if opkg says that it has its list and trusts it.
        heard = dict(_DOWNLOAD.findall(_COLLECTED.sub("", stderr)))
        unusable = []
        for name, url in feeds.items():
            if "Updated list of available packages" not in heard.get(f"{url}/Packages.gz", ""):
                words = "cannot be downloaded or is no feed for opkg; check its address"
                unusable.append(UnusableFeed(f"{name} ({url}) {words}, or try again later"))
            elif "Signature check passed." not in heard.get(f"{url}/Packages.sig", ""):
                words = "has no signature by a known key; `repository_keys` must hold its usign key"
                unusable.append(UnusableFeed(f"{name} ({url}) {words}", is_untrusted=True))
        return unusable

    @override
    def problems(self, text: str) -> list[PackageProblem]:
        # "Cannot install package X." ends each complaint; X itself is missing only if no other line
        # explains it. "Packages for X found, but incompatible with the architectures configured" is
        # untrue and names nothing new.
        direct = [(package, need) for need, package in _UNRESOLVED.findall(text)]
        deeper = _pairs(_UNSATISFIED, r"\t([^\s*]+(?: \([^)\n]*\))?)", text)
        conflicts = _pairs(_CONFLICT, r"\t([^\s*]+)", text)
        clashes = _CLASH.findall(text)
        explained = {package for package, *_ in [*direct, *deeper, *conflicts, *clashes]}
        known = {need for _, need in direct}
        unmet = [*direct, *(pair for pair in deeper if pair[1] not in known)]
        found = [_unmet(package, need) for package, need in unmet]
        found += [conflict(package, other) for package, other in conflicts]
        found += [clash(package, owner, _inside(path)) for package, path, owner in clashes]
        named = _UNINSTALLABLE.findall(text)
        return each_once([*found, *(missing(name) for name in named if name not in explained)])


def _gives_way(line: str, feeds: Mapping[str, str], mode: Mode) -> bool:
    words = line.split()
    is_feed = len(words) > 1 and words[0] in {"src", "src/gz"} and words[1] != LOCAL_NAME
    return is_feed and (mode == "replace" or words[1] in feeds)


def _pairs(complaint: re.Pattern[str], entry: str, text: str) -> list[tuple[str, str]]:
    """Return each complaint's package with each entry of the list below it."""
    lists = complaint.findall(text)
    return [(package, other) for package, listed in lists for other in re.findall(entry, listed)]


def _unmet(package: str, need: str) -> PackageProblem:
    """Return a dependency that cannot be met; one that names a version exists in another one."""
    return other_version(package, need) if " (" in need else missing(need, package)


def _inside(path: str) -> str:
    """Return a path as it is in the image, without the builder's directories."""
    return re.sub(r"^.*?/root-[^/]+", "", path)
