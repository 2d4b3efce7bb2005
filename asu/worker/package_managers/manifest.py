"""What an image will hold, as `make manifest` lists it."""

from collections.abc import Mapping

from asu.errors import WrongPackageVersions

from .problems import PackageProblem


def parse_manifest(output: str) -> dict[str, str]:
    """Read name and version per line; builders with apk had another separator for a while, and a branch may still have it."""
    manifest = {}
    for line in output.splitlines():
        match line.split():
            case [name, "-", version] | [name, version]:
                manifest[name] = version
    return manifest


def check_versions(wanted: Mapping[str, str], manifest: Mapping[str, str]) -> None:
    """Compare the versions that a client insists on; raises WrongPackageVersions with all that differ."""
    problems = [_difference(name, version, manifest.get(name)) for name, version in sorted(wanted.items()) if manifest.get(name) != version]
    if problems:
        raise WrongPackageVersions(reason="; ".join(problem.words for problem in problems), problems=[problem.entry() for problem in problems])


def _difference(name: str, version: str, found: str | None) -> PackageProblem:
    if found is None:
        words = f"{name} is not in the image"
        return PackageProblem(package=name, kind="missing", words=words, detail=f"{words}; version {version} was asked for.")
    words = f"{name} is {found}, not {version}"
    return PackageProblem(package=name, kind="version", words=words, detail=f"{name} has version {found} in this release, not {version}.")
