"""What an image will hold, as `make manifest` lists it."""

from collections.abc import Mapping

from asu.errors import WrongPackageVersions
from asu.resolution import is_older_package
from asu.worker.pulling import BuilderImage
from asu.worker.staleness import outdated_packages

from .problems import PackageProblem


def parse_manifest(output: str) -> dict[str, str]:
    """Read name and version per line; builders with apk had another separator for a while, and a branch may still have it."""
    manifest = {}
    for line in output.splitlines():
        match line.split():
            case [name, "-", version] | [name, version]:
                manifest[name] = version
    return manifest


def check_versions(
    wanted: Mapping[str, str], manifest: Mapping[str, str], image: BuilderImage
) -> None:
    """Compare the versions that a client insists on.

    With all that differ it raises WrongPackageVersions; where each of them is older in the image,
    so that the builder or its feeds have not caught up with what the client has seen,
    BuilderOutdated or BuilderNotRenewed.
    """
    different = {
        name: version for name, version in sorted(wanted.items()) if manifest.get(name) != version
    }
    if not different:
        return
    problems = [
        _difference(name, version, manifest.get(name)) for name, version in different.items()
    ]
    reason, entries = (
        "; ".join(problem.words for problem in problems),
        [problem.entry() for problem in problems],
    )
    if all(
        name in manifest and is_older_package(manifest[name], version)
        for name, version in different.items()
    ):
        raise outdated_packages(f"Impossible package selection: {reason}", image, entries)
    raise WrongPackageVersions(reason=reason, problems=entries)


def _difference(name: str, version: str, found: str | None) -> PackageProblem:
    if found is None:
        words = f"{name} is not in the image"
        return PackageProblem(
            package=name,
            kind="missing",
            words=words,
            detail=f"{words}; version {version} was asked for.",
        )
    words = f"{name} is {found}, not {version}"
    return PackageProblem(
        package=name,
        kind="version",
        words=words,
        detail=f"{name} has version {found} in this release, not {version}.",
    )
