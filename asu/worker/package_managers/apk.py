"""apk, of the ImageBuilders from 25.12 on."""

import re
from collections.abc import Iterator, Mapping

from typing_extensions import override

from .own_feeds import UnusableFeed
from .problems import (
    PackageProblem,
    clash,
    conflict,
    each_once,
    missing,
    other_version,
    unsuitable,
)
from .protocol import Mode, PackageManager

INDEX = "packages.adb"

_REMOTE = re.compile(r"\s*(?:@\S+\s+)?[a-z]+://")
_LEFT_OUT = re.compile(
    r"^WARNING: (?:updating and )?opening (?:from cache )?(\S+): (.+)$", re.MULTILINE
)
_BLOCK = re.compile(r"^  (\S+)( \(no such package\))?:\n((?: {4}.*\n?)*)", re.MULTILINE)
_REQUIRED_BY = re.compile(r"required by: (.*(?:\n {6,}\S.*)*)")
_REASON = re.compile(r"(?:breaks|conflicts): (.*(?:\n {6,}\S.*)*)")
_SUBJECT = re.compile(r"(?<![^\s\]])([^\s\[\]]+)\[([^\[\]\n]*)\]")
_OVERWRITE = re.compile(r"ERROR: (\S+): trying to overwrite (\S+) owned by (\S+)\.$", re.MULTILINE)
_VERSION = re.compile(r"-[0-9][^-]*(?:-r[0-9]+)?$")
_ASKED_FOR = "world"  # apk's name for the list of what is wanted by itself.


class Apk(PackageManager):
    """apk; its list of feeds has one address a line and no names."""

    repositories_path = "repositories"
    key_kind = "pem"  # apk tries every key that it has.
    download_signs = (
        r"WARNING: updating and opening (?P<what>\S+): ",
        r"wget: exited with error",
        r"UNTRUSTED signature",
        r"ERROR: (?P<what>\S+): (?:ADB (?:block|schema) error|file format is invalid)",
        r"ERROR: (?P<what>\S+): package mentioned in index not found",
    )

    @override
    def address(self, url: str) -> str:
        # apk takes all that is no index for a repository in Alpine's old layout.
        return url if url.endswith(".adb") else f"{url}/{INDEX}"

    @override
    def repositories(self, present: str, feeds: Mapping[str, str], mode: Mode) -> str:
        # Some builders list their own packages by a line without a host.
        kept = [
            line for line in present.splitlines() if mode == "append" or _REMOTE.match(line) is None
        ]
        own = [self.address(url) for url in feeds.values()]
        return "\n".join([*dict.fromkeys(line for line in own if line not in kept), *kept, ""])

    @override
    def feeds(self, listed: str) -> dict[str, str]:
        words = [line.split()[-1] for line in listed.splitlines() if _REMOTE.match(line)]
        return {address: address for address in words}

    @override
    def refusal_of(self, feeds: Mapping[str, str]) -> str:
        addresses = "|".join(re.escape(self.address(url)) for url in feeds.values())
        return rf"opening (?:{addresses}): UNTRUSTED signature"

    @override
    def unusable_feeds(self, stderr: str, feeds: Mapping[str, str]) -> list[UnusableFeed]:
        # apk is silent about the feeds that it uses and warns of each that it leaves out.
        reasons = dict(reversed(_LEFT_OUT.findall(stderr)))
        addresses = {name: self.address(url) for name, url in feeds.items()}
        return [
            _unusable(name, address, reasons[address])
            for name, address in addresses.items()
            if address in reasons
        ]

    @override
    def problems(self, text: str) -> list[PackageProblem]:
        # apk prints one indented block for each package that cannot be installed.
        found: list[PackageProblem] = []
        for package, is_missing, details in _BLOCK.findall(text):
            if is_missing:
                found.append(missing(package, _needed_by(details)))
            if "error: uninstallable" in details:
                found.append(unsuitable(_bare(package)))
            for subject, constraint in _subjects(_REASON, details):
                problem = _broken(_bare(package), _bare(subject), constraint)
                if problem not in _mirrored(found):  # Both packages of a pair get a block.
                    found.append(problem)
        found += [
            clash(_bare(one), _bare(other), f"/{path}")
            for one, path, other in _OVERWRITE.findall(text)
        ]
        return each_once(found)


def _unusable(name: str, address: str, reason: str) -> UnusableFeed:
    if "UNTRUSTED" in reason:
        return UnusableFeed(
            f"{name} ({address}) has no signature by a known key; "
            "`repository_keys` must hold its key in PEM",
            is_untrusted=True,
        )
    return UnusableFeed(
        f"{name} ({address}) cannot be downloaded or is no feed for apk ({reason}); "
        "check its address, or try again later"
    )


def _subjects(introduced_by: re.Pattern[str], details: str) -> Iterator[tuple[str, str]]:
    """Yield packages and what each says about the block's package; lines may be continued."""
    for reason in introduced_by.findall(details):
        yield from _SUBJECT.findall(reason)


def _needed_by(details: str) -> str:
    """Return the first package that needs what is missing; empty if it is wanted by itself."""
    subjects = [subject for subject, _ in _subjects(_REQUIRED_BY, details)]
    return _bare(subjects[0]) if subjects and _ASKED_FOR not in subjects else ""


def _broken(package: str, subject: str, constraint: str) -> PackageProblem:
    """Return why `package` and `subject` do not go together.

    A constraint such as `name>=1.0` asks for a version; all others exclude.
    """
    wanted = re.fullmatch(r"([^!<>=~]+)([<>=~]+)(.+)", constraint)
    if wanted and wanted[1] == package:
        return other_version(subject, f"{package} ({wanted[2]} {wanted[3]})")
    return conflict(package, subject)


def _mirrored(problems: list[PackageProblem]) -> list[PackageProblem]:
    """Return the conflicts as the other package would report them."""
    pairs = [problem.words.split(" with ") for problem in problems if problem.kind == "conflict"]
    return [conflict(other, package) for package, other in pairs]


def _bare(package: str) -> str:
    """Return a package's name without its version."""
    return _VERSION.sub("", package)
