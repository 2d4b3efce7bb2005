"""Who is to blame when the ImageBuilder is not what a request expects: whoever has the older of the two.

A client's list of versions grows old while its page is open; that is the user's to mend. An
ImageBuilder is published some hours after what it is made from, mirrors lag, and a newer one may be
out of reach: then nothing is wrong with the request, and it goes well later.

A newer builder that was not pulled is our fault, but only of what comes with it. Most packages come
from feeds, and the image of a snapshot may hold nothing but the script that fetches its builder:
what is old then is so on the downloads server.
"""

import re
from collections.abc import Sequence
from typing import Any

from asu.errors import BuilderNotRenewed, BuilderOutdated, InfraError, UpstreamError, WrongRevision

from .pulling import BuilderImage

# Or, as kernel modules do, from a feed that belongs to the builder's very kernel.
_COMES_WITH_BUILDER = re.compile("base-files|kernel|libc|kmod-.+")

# The number of commits on the branch; of a tree with changes of its own, that where it left
# OpenWrt's and how many came after.
_REVISION = re.compile(r"r([0-9]{1,9})(?:\+([0-9]{1,9}))?(?:-.*)?")


def check_revision(expected: str, found: str, image: BuilderImage) -> None:
    """Return if the builder has the revision that is expected, or none is; raises WrongRevision, BuilderOutdated and BuilderNotRenewed.

    Where nobody can say which is the older, the request is asked to change: trying again would not
    mend it. Neither would it for a release, whose builder never becomes another.
    """
    if not expected or expected == found:
        return
    wanted, had = _number(expected), _number(found)
    if image.is_moving and wanted is not None and had is not None and had < wanted:
        raise outdated(
            f"Received inconsistent revision: the request expects {expected}, the ImageBuilder has {found}",
            image,
        )
    raise WrongRevision(expected=expected, found=found)


def outdated(
    reason: str, image: BuilderImage, problems: Sequence[dict[str, Any]] = ()
) -> UpstreamError | InfraError:
    """Return the error that a builder is too old: ours where there may be a newer one than the copy that was kept, else upstream's."""
    if image.may_be_old:
        return BuilderNotRenewed(reason=reason, problems=list(problems))
    return BuilderOutdated(reason=reason, problems=list(problems))


def outdated_packages(
    reason: str, image: BuilderImage, problems: Sequence[dict[str, Any]]
) -> UpstreamError | InfraError:
    """Return the error that packages, one for each of the problems, are older than asked for: ours only where all of them come with the builder."""
    if all(_COMES_WITH_BUILDER.fullmatch(problem["package"]) for problem in problems):
        return outdated(reason, image, problems)
    return BuilderOutdated(reason=reason, problems=list(problems))


def _number(revision: str) -> tuple[int, int] | None:
    match = _REVISION.fullmatch(revision)
    return (int(match[1]), int(match[2] or 0)) if match else None
