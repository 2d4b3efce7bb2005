"""What a failed command of the ImageBuilder means, read from its output.

A failed download ends in the same "Cannot install package" lines as a wrong name, so signs of a failed download are looked
for first: they are never the user's fault. That stderr is not empty means nothing; a successful build fills it. The package
managers' forms differ (opkg up to 24.10, apk from 25.12 on) and neither occurs in the other's output, so both are looked for.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from asu.errors import AsuError, BuildFailed, ContainerFailed, DownloadFailed, ImageTooBig, ImpossibleSelection, StoreFailed

from .container import CommandResult

MAKE_EXIT_CODES = (0, 1, 2)  # make knows no others; podman says 125 to 127 when it cannot start a command, a kill makes 137.
TERMINATED = 137  # 128 + SIGKILL, as a shell tells it.
LAST_WORDS = 200  # Characters; the whole output stands beside the reason.

# `what` names the file or package that failed; the first sign that is found speaks.
_DOWNLOAD_SIGNS = (
    r"Failed to download (?!the package list)(?P<what>\S+)",
    r"Failed to download the package list from (?P<what>\S+)",
    r"wget returned [1-9]",
    r"WARNING: updating and opening (?P<what>\S+): ",
    r"wget: exited with error",
    r"Signature check failed",
    r"UNTRUSTED signature",
    r"Checksum or size mismatch for package (?P<what>\S+?)\.",
    r"ERROR: (?P<what>\S+): ADB block error",
    r"ERROR: (?P<what>\S+): package mentioned in index not found",
)

_OPKG_UNRESOLVED = re.compile(r"cannot find dependency ([^ \n]+(?: \([^)\n]*\))?) for ([^ \n]+)$", re.MULTILINE)
_OPKG_UNSATISFIED = re.compile(r"Cannot satisfy the following dependencies for ([^ \n]+):\n((?: \* *\t[^\n]*\n)*)")
_OPKG_UNINSTALLABLE = re.compile(r"Cannot install package ([^ \n]+)\.$", re.MULTILINE)
_OPKG_CONFLICT = re.compile(r"packages conflict with ([^ \n:]+):\n((?: \* check_conflicts_for: \t[^\n]*\n)+)")
_OPKG_CLASH = re.compile(r"Package (\S+) wants to install file (\S+)\n\tBut that file is already provided by package  \* (\S+)")

_APK_BLOCK = re.compile(r"^  (\S+)( \(no such package\))?:\n((?: {4}.*\n?)*)", re.MULTILINE)
_APK_REASON = re.compile(r"(?:breaks|conflicts): +(.*(?:\n {6,}\S.*)*)")
_APK_SUBJECT = re.compile(r"(\S+?)\[([^\]\n]*)\]")
_APK_OVERWRITE = re.compile(r"ERROR: (\S+): trying to overwrite (\S+) owned by (\S+)\.$", re.MULTILINE)
_APK_VERSION = re.compile(r"-[0-9][^-]*(?:-r[0-9]+)?$")


@dataclass(slots=True)
class _Complaints:
    """What the package manager objects to, each in the order in which it was said."""

    missing: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    clashes: list[str] = field(default_factory=list)
    unsuitable: list[str] = field(default_factory=list)

    def reason(self) -> str:
        """Return all of them as words; empty when there are none."""
        named: Mapping[str, Iterable[str]] = {
            "missing": self.missing,
            "other version needed": self.versions,
            "conflicts": self.conflicts,
            "same file in two packages": self.clashes,
            "not made for this device": self.unsuitable,
        }
        return ", ".join(f"{what} ({', '.join(dict.fromkeys(names))})" for what, names in named.items() if names)


def failure(result: CommandResult) -> AsuError:
    """Return the error that a failed command means."""
    text = f"{result.stdout}\n{result.stderr}"
    if result.exit_code not in MAKE_EXIT_CODES:
        return ContainerFailed(reason="a command in it could not be run to its end")
    if "No space left on device" in text:
        return StoreFailed(reason="the disk of the build container is full")
    for sign in _DOWNLOAD_SIGNS:
        match = re.search(sign, text)
        if match:
            what = match.groupdict().get("what")
            return DownloadFailed(reason=what.rstrip(",.") if what else "the package server does not answer as it should")
    complaints = _Complaints()
    _read_opkg(text, complaints)
    _read_apk(text, complaints)
    reason = complaints.reason()
    if reason:
        return ImpossibleSelection(reason=reason)
    return size_error(text) or _build_error(text) or _crash(result) or BuildFailed(reason=_last_words(result.stderr))


def size_error(text: str) -> ImageTooBig | None:
    """Return what is too big and by how much, or None; builders say it in five ways, mostly with exit code 0."""
    image = re.search(r"Image file \S*/(\S+) is too big: *(\d*) > (\d+)", text)
    if image and image[2]:
        return ImageTooBig(reason=f"{image[1]} has {image[2]} bytes, {int(image[2]) - int(image[3])} more than the device takes")
    by = re.search(r"images are too big by (\d+) bytes", text)
    if by:
        return ImageTooBig(reason=f"{by[1]} bytes more than the device takes")
    partition = re.search(r"partition too big \(more than (\d+) bytes\)", text)
    if partition:
        return ImageTooBig(reason=f"its file system has more than the {partition[1]} bytes that the device takes")
    if image:
        return ImageTooBig(reason=f"{image[1]} has more than the {image[3]} bytes that the device takes")
    if re.search(r"ext4_allocate\w*: failed to allocate \d+ blocks, out of space\?", text):
        return ImageTooBig(reason="the packages do not fit into the ext4 root file system, which a larger `rootfs_size_mb` may mend")
    return None


def _read_opkg(text: str, complaints: _Complaints) -> None:
    """Gather opkg's complaints.

    "Cannot install package X." stands at the end of each of them; only where nothing explains it is X itself what is missing.
    That "Packages for X found, but incompatible with the architectures configured" is untrue, and names nothing new.
    """
    explained: set[str] = set()
    for need, package in _OPKG_UNRESOLVED.findall(text):
        explained.add(package)
        _note_need(need, package, complaints)
    for package, needs in _OPKG_UNSATISFIED.findall(text):
        explained.add(package)
        for need in re.findall(r"\t([^\s*]+(?: \([^)\n]*\))?)", needs):
            _note_need(need, "", complaints)
    for package, others in _OPKG_CONFLICT.findall(text):
        explained.add(package)
        complaints.conflicts += [f"{package} with {other}" for other in re.findall(r"\t([^\s*]+)", others)]
    for package, path, owner in _OPKG_CLASH.findall(text):
        explained.add(package)
        complaints.clashes.append(f"{_inside(path)} of {package} and {owner}")
    complaints.missing += [package for package in _OPKG_UNINSTALLABLE.findall(text) if package not in explained]


def _note_need(need: str, package: str, complaints: _Complaints) -> None:
    """Note a dependency that cannot be met; one with a version exists, but not so."""
    if " (" not in need:
        complaints.missing.append(need)
    elif package:
        complaints.versions.append(f"{package} needs {need}")


def _read_apk(text: str, complaints: _Complaints) -> None:
    """Gather apk's complaints: indented blocks, one for each package that cannot be had."""
    for package, is_missing, details in _APK_BLOCK.findall(text):
        if is_missing:
            complaints.missing.append(package)
        if "error: uninstallable" in details:
            complaints.unsuitable.append(_bare(package))
        for reason in _APK_REASON.findall(details):
            for subject, constraint in _APK_SUBJECT.findall(reason):
                _note_break(_bare(package), _bare(subject), constraint, complaints)
    complaints.clashes += [f"/{path} of {_bare(one)} and {_bare(other)}" for one, path, other in _APK_OVERWRITE.findall(text)]


def _note_break(package: str, subject: str, constraint: str, complaints: _Complaints) -> None:
    """Note why `package` and `subject` do not go together: `[name>=1.0]` asks for a version, all else excludes."""
    wanted = re.fullmatch(r"([^!<>=~]+)([<>=~]+)(.+)", constraint)
    if wanted and wanted[1] == package:
        complaints.versions.append(f"{subject} needs {package} ({wanted[2]} {wanted[3]})")
    elif f"{subject} with {package}" not in complaints.conflicts:  # Both packages of a pair get a block.
        complaints.conflicts.append(f"{package} with {subject}")


def _bare(package: str) -> str:
    """Return an apk package's name without its version."""
    return _APK_VERSION.sub("", package)


def _inside(path: str) -> str:
    """Return a path as it is in the image, without the builder's directories."""
    return re.sub(r"^.*?/root-[^/]+", "", path)


def _build_error(text: str) -> BuildFailed | None:
    script = re.search(r"postinst script \S*?/([^/\s]+)\.(postinst|post-install) has failed", text)
    if script:
        # apk's scripts are named NAME-VERSION.CHECKSUM.post-install.
        package = script[1] if script[2] == "postinst" else _bare(script[1].rpartition(".")[0])
        return BuildFailed(reason=f"the installation script of {package} failed")
    profile = re.search(r'Profile "([^"\n]{1,128})" does not exist!', text)
    if profile:
        return BuildFailed(reason=f"it has no profile {profile[1]}")
    if "Prerequisite check failed" in text:
        return BuildFailed(reason="its container lacks a program that it needs")
    rule = re.search(r"No rule to make target '\S*?([^/'\s]+)'", text)
    return BuildFailed(reason=f"it lacks {rule[1]}") if rule else None


def _crash(result: CommandResult) -> ContainerFailed | None:
    if re.search(rf"\bKilled\b|\] Error {TERMINATED}\b", result.stderr):
        return ContainerFailed(reason="a program in it was killed, probably for want of memory")
    return None


def _last_words(stderr: str) -> str:
    """Return the last line that is not make's own report of failing."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and not re.match(r"make(\[\d+\])?: ", line)]
    return lines[-1][:LAST_WORDS] if lines else "it gave no reason"
