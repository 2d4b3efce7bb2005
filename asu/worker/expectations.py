"""Check that a builder has the revision and the package versions that a request expects.

A difference is the fault of the side with the older state. Where the client is behind, its list of
versions grew old while its page was open. Where the builder is, the request works some hours later.
"""

import re
from collections.abc import Mapping

from asu import errors
from asu.resolution import is_older_package

from .builder_image import BuilderImage
from .package_managers.problems import PackageProblem

# Kernel modules may also come from a feed that belongs to the builder's very kernel.
_COMES_WITH_BUILDER = re.compile("base-files|kernel|libc|kmod-.+")

# The number of commits on the branch. In a tree with its own changes: where it left OpenWrt's, and
# how many commits followed.
_REVISION = re.compile(r"r([0-9]{1,9})(?:\+([0-9]{1,9}))?(?:-.*)?")


def check_revision(expected: str, found: str, image: BuilderImage) -> None:
    """Raise WrongRevision, BuilderOutdated or BuilderNotRenewed for another revision than expected.

    An empty `expected` accepts all. Where no order is known, or for a release, whose builder never
    changes, trying again cannot help, so the request is asked to change.
    """
    if not expected or expected == found:
        return
    wanted, had = _number(expected), _number(found)
    if image.is_moving and wanted is not None and had is not None and had < wanted:
        reason = f"the request expects {expected}, the ImageBuilder has {found}"
        raise _outdated(is_ours=image.may_be_old)(
            reason=f"Received inconsistent revision: {reason}", problems=[]
        )
    raise errors.WrongRevision(expected=expected, found=found)


def check_versions(
    wanted: Mapping[str, str], manifest: Mapping[str, str], image: BuilderImage
) -> None:
    """Compare the versions that a client insists on, name → version, with those in the image.

    Raises WrongPackageVersions with all that differ. Where each of them is older in the image, the
    builder or its feeds lag: raises BuilderOutdated, or BuilderNotRenewed where all of them come
    with a builder that may be old.
    """
    different = {
        name: version for name, version in sorted(wanted.items()) if manifest.get(name) != version
    }
    if not different:
        return
    problems = [
        _difference(name, version, manifest.get(name)) for name, version in different.items()
    ]
    reason = "; ".join(problem.words for problem in problems)
    entries = [problem.entry() for problem in problems]
    if not all(
        name in manifest and is_older_package(manifest[name], version)
        for name, version in different.items()
    ):
        raise errors.WrongPackageVersions(reason=reason, problems=entries)
    come_with_builder = all(map(_COMES_WITH_BUILDER.fullmatch, different))
    raise _outdated(is_ours=image.may_be_old and come_with_builder)(
        reason=f"Impossible package selection: {reason}", problems=entries
    )


def _outdated(*, is_ours: bool) -> type[errors.AsuError]:
    """Return the error for an old builder; `is_ours` where a newer one was not pulled."""
    return errors.BuilderNotRenewed if is_ours else errors.BuilderOutdated


def _number(revision: str) -> tuple[int, int] | None:
    match = _REVISION.fullmatch(revision)
    return (int(match[1]), int(match[2] or 0)) if match else None


def _difference(name: str, version: str, found: str | None) -> PackageProblem:
    if found is None:
        words = f"{name} is not in the image"
        return PackageProblem("missing", name, words, f"{words}; version {version} was asked for.")
    detail = f"{name} has version {found} in this release, not {version}."
    return PackageProblem("version", name, f"{name} is {found}, not {version}", detail)
