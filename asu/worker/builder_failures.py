"""What a failed command of the ImageBuilder means, read from its output.

A failed download ends in the same "Cannot install package" lines as a wrong name. So signs of a
failed download, which is never the user's fault, are looked for first. Output on stderr means
nothing: a successful build fills it.
"""

import logging
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from asu import errors

from .container import CommandResult
from .image_sizes import size_error
from .package_managers import NO_FEEDS, OwnFeeds, PackageManager
from .package_managers.own_feeds import UnusableFeed
from .package_managers.problems import (
    NOTHING_EXPLAINED,
    PackageProblem,
    broken_dependency,
    impossible_selection,
)

log = logging.getLogger(__name__)

# make knows no others; podman says 125 to 127 when it cannot start a command, a kill makes 137.
MAKE_EXIT_CODES = (0, 1, 2)
REPLACED = (
    "the repositories of the request replace those of OpenWrt, so what only OpenWrt has is missing;"
    " set `repositories_mode` to append to keep both"
)
LAST_WORDS = 200  # Characters; the whole output stands beside the reason.

_SCRIPT = re.compile(r"postinst script (\S+) has failed")
# opkg names the script after the package, apk after its version and a hash as well.
_SCRIPT_FILE = re.compile(
    r"(?:(.+)\.postinst|(.+?)-[0-9][^-]*(?:-r[0-9]+)?\.X[0-9a-f]+\.post-install)"
)
# What make, shells and busybox print where fork fails.
_NO_PROCESS = re.compile(r"Resource temporarily unavailable|[Cc]an(?:not|'t) fork")
# make and shells end with "Error 127" where a program is not there.
_NO_RULE = re.compile(r"No rule to make target '([^'\s]{1,512})'")
_NO_PROGRAM = re.compile(
    r"(?:^|[ /])([A-Za-z0-9_.+-]{1,64}): "
    r"(?:No such file or directory|not found|command not found)$",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Selection:
    """The packages that a build was asked for, and what is known of those that no index has."""

    packages: Collection[str] = ()
    explained: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: NOTHING_EXPLAINED)
    own: OwnFeeds = NO_FEEDS


NO_SELECTION = Selection()


def check(result: CommandResult, manager: PackageManager, selection: Selection) -> None:
    """Raise the error that a command's outcome means, unless it did its work.

    Builders end well without a feed. A feed of the request must have been used, and beside such
    feeds each of the builder's own, since one of the request's may have replaced its packages.
    """
    own = selection.own
    if own.urls and result.exit_code in MAKE_EXIT_CODES:
        _check_own(manager.unusable_feeds(result.stderr, own.urls))
    if result.exit_code:
        raise failure(result, manager, selection)
    missing = manager.failed_download(result.stderr)
    if missing is not None and own.urls:
        raise _download_failed(missing)
    if missing is not None:
        log.warning("a feed was left out, and no package of it was asked for: %s", missing)


def _check_own(unusable: list[UnusableFeed]) -> None:
    # The command ends at the first feed without a fitting signature, so others may not be read yet.
    untrusted = [feed.words for feed in unusable if feed.is_untrusted]
    if untrusted:
        raise errors.FeedUntrusted(reason=" and ".join(untrusted))
    if unusable:
        raise errors.FeedUnusable(reason=" and ".join(feed.words for feed in unusable))


def failure(
    result: CommandResult, manager: PackageManager, selection: Selection = NO_SELECTION
) -> errors.AsuError:
    """Return the error that a failed command means."""
    text = f"{result.stdout}\n{result.stderr}"
    if result.exit_code not in MAKE_EXIT_CODES:
        return errors.BuildDisrupted(reason="a command in it was ended, or could not begin")
    if _NO_PROCESS.search(text):  # Before signs of a download: wget cannot be started, either.
        return errors.BuildDisrupted(reason="no process was left for its commands")
    if "No space left on device" in text:
        return errors.DiskFull(space="nothing is free for the build container")
    download = manager.failed_download(text)
    if download is not None:
        return _download_failed(download)
    problems = manager.problems(text)
    if problems:
        return _selection_error(problems, selection)
    return (
        size_error(result.stdout, result.stderr)
        or _build_error(text)
        or _out_of_memory(result)
        or errors.BuildFailed(reason=_last_words(result.stderr))
    )


def _selection_error(
    problems: Sequence[PackageProblem], selection: Selection
) -> errors.BrokenDependency | errors.ImpossibleSelection:
    """Return whose fault it is: a feed of the request may lack what its packages need."""
    own = selection.own
    if not own.urls and (broken := broken_dependency(problems, selection.packages)):
        return broken
    why_missing = REPLACED if own.urls and own.replace else ""
    return impossible_selection(problems, why_missing, selection.explained)


def _download_failed(what: str) -> errors.DownloadFailed:
    return errors.DownloadFailed(reason=what or "the package server does not answer as it should")


def _build_error(text: str) -> errors.AsuError | None:
    script = _SCRIPT.search(text)
    file = _SCRIPT_FILE.fullmatch(script[1].rpartition("/")[2]) if script else None
    if file:
        return errors.BuildFailed(reason=f"the installation script of {file[1] or file[2]} failed")
    profile = re.search(r'Profile "([^"\n]{1,128})" does not exist!', text)
    if profile:
        return errors.ProfileMissingInBuilder(profile=profile[1])
    filesystem = re.search(
        r'Filesystem "([^"\n]{1,64})" is not available!\nAvailable filesystems: *(.*)', text
    )
    if filesystem:
        available = ", ".join(filesystem[2].split()) or "none"
        return errors.UnknownFilesystem(filesystem=filesystem[1], available=available)
    if "Prerequisite check failed" in text:
        return errors.BuilderIncomplete(reason="it lacks a program that it needs")
    lacking = _NO_RULE.search(text) or ("Error 127" in text and _NO_PROGRAM.search(text))
    if lacking:
        return errors.BuilderIncomplete(reason=f"it lacks {lacking[1].rpartition('/')[2]}")
    return None


def _out_of_memory(result: CommandResult) -> errors.BuildDisrupted | None:
    if re.search(r"\bKilled\b|\] Error 137\b", result.stderr):  # 128 + SIGKILL.
        return errors.BuildDisrupted(
            reason="a program in it was killed, probably for want of memory"
        )
    return None


def _last_words(stderr: str) -> str:
    """Return the last line that is not make's own report of failing."""
    lines = [
        line.strip()
        for line in stderr.splitlines()
        if line.strip() and not re.match(r"make(\[\d+\])?: ", line)
    ]
    return lines[-1][:LAST_WORDS] if lines else "it gave no reason"
