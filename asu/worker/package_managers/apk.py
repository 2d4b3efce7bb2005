"""apk, of the ImageBuilders from 25.12 on."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from .admitted_feeds import UnusableFeed, key_files
from .image_manifest import parse_manifest
from .problems import PackageProblem, clash, conflict, each_once, missing, other_version, unsuitable
from .signs import named_by

INDEX = "packages.adb"

_DOWNLOAD_SIGNS = (
    r"WARNING: updating and opening (?P<what>\S+): ",
    r"wget: exited with error",
    r"UNTRUSTED signature",
    r"ERROR: (?P<what>\S+): ADB block error",
    r"ERROR: (?P<what>\S+): package mentioned in index not found",
)

_REMOTE = re.compile(r"\s*(?:@\S+\s+)?[a-z]+://")
_LEFT_OUT = re.compile(
    r"^WARNING: (?:updating and )?opening (?:from cache )?(\S+): (.+)$", re.MULTILINE
)
_BLOCK = re.compile(r"^  (\S+)( \(no such package\))?:\n((?: {4}.*\n?)*)", re.MULTILINE)
_REQUIRED_BY = re.compile(r"required by: +(.*(?:\n {6,}\S.*)*)")
_REASON = re.compile(r"(?:breaks|conflicts): +(.*(?:\n {6,}\S.*)*)")
_SUBJECT = re.compile(r"(\S+?)\[([^\]\n]*)\]")
_OVERWRITE = re.compile(r"ERROR: (\S+): trying to overwrite (\S+) owned by (\S+)\.$", re.MULTILINE)
_VERSION = re.compile(r"-[0-9][^-]*(?:-r[0-9]+)?$")
_ASKED_FOR = "world"  # apk's name for the list of what is wanted by itself.


class Apk:
    """See PackageManager."""

    repositories_path = "repositories"

    def address(self, url: str) -> str:
        """See PackageManager; apk takes all that is no index for a repository in Alpine's old layout, so a directory means its index."""
        return url if url.endswith(".adb") else f"{url}/{INDEX}"

    def repositories(
        self, present: str, feeds: Mapping[str, str], mode: Literal["append", "replace"]
    ) -> str:
        """See PackageManager; some builders have a line without a host for their own packages."""
        kept = [
            line for line in present.splitlines() if mode == "append" or _REMOTE.match(line) is None
        ]
        own = [self.address(url) for url in feeds.values()]
        return "\n".join([*dict.fromkeys(line for line in own if line not in kept), *kept, ""])

    def feeds(self, listed: str) -> dict[str, str]:
        """See PackageManager; apk knows no names."""
        words = [line.split()[-1] for line in listed.splitlines() if _REMOTE.match(line)]
        return {address: address for address in words}

    def key_files(self, keys: Sequence[str]) -> dict[str, bytes]:
        """See PackageManager; apk tries every key that it has."""
        return key_files(keys, "pem")

    def manifest(self, output: str) -> dict[str, str]:
        """See PackageManager."""
        return parse_manifest(output)

    def failed_download(self, text: str) -> str | None:
        """See PackageManager."""
        return named_by(_DOWNLOAD_SIGNS, text)

    def unusable_feeds(self, stderr: str, feeds: Mapping[str, str]) -> list[UnusableFeed]:
        """See PackageManager; apk says nothing on stderr of the feeds that it uses, and warns of each that it leaves out."""
        reasons: dict[str, str] = {}
        for address, reason in _LEFT_OUT.findall(stderr):
            reasons.setdefault(address, reason)
        left_out = {
            name: reasons[self.address(url)]
            for name, url in feeds.items()
            if self.address(url) in reasons
        }
        return [
            _unusable(name, self.address(feeds[name]), reason) for name, reason in left_out.items()
        ]

    def problems(self, text: str) -> list[PackageProblem]:
        """See PackageManager; apk prints indented blocks, one for each package that cannot be had."""
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
            f"{name} ({address}) has no signature by a known key; `repository_keys` must hold its key in PEM",
            is_untrusted=True,
        )
    return UnusableFeed(
        f"{name} ({address}) cannot be downloaded or is no feed for apk ({reason}); check its address, or try again later"
    )


def _subjects(introduced_by: re.Pattern[str], details: str) -> Iterator[tuple[str, str]]:
    """Yield packages and what each of them says of the block's package, continuation lines included."""
    for reason in introduced_by.findall(details):
        yield from _SUBJECT.findall(reason)


def _needed_by(details: str) -> str:
    """Return the first package that needs what is missing; empty if it is wanted by itself."""
    subjects = [subject for subject, _ in _subjects(_REQUIRED_BY, details)]
    return _bare(subjects[0]) if subjects and _ASKED_FOR not in subjects else ""


def _broken(package: str, subject: str, constraint: str) -> PackageProblem:
    """Return why `package` and `subject` do not go together: `[name>=1.0]` asks for a version, all else excludes."""
    wanted = re.fullmatch(r"([^!<>=~]+)([<>=~]+)(.+)", constraint)
    if wanted and wanted[1] == package:
        return other_version(subject, f"{package} ({wanted[2]} {wanted[3]})")
    return conflict(package, subject)


def _mirrored(problems: list[PackageProblem]) -> list[PackageProblem]:
    """Return the conflicts, told from the other package's side."""
    pairs = [problem.words.split(" with ") for problem in problems if problem.kind == "conflict"]
    return [conflict(other, package) for package, other in pairs]


def _bare(package: str) -> str:
    """Return a package's name without its version."""
    return _VERSION.sub("", package)
