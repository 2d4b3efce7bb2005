"""Errors of OpenWrt's servers or of feeds: trying again later may help."""

from typing import ClassVar

from .asu_error import AsuError


class UpstreamError(AsuError):
    """OpenWrt's servers are the cause."""

    fault = "upstream"
    status, title = 500, "Upstream failed"
    is_passing = True
    retry_after = 60  # Faults of OpenWrt's servers mostly pass within minutes.


class UpstreamUnreachable(UpstreamError):
    """The OpenWrt server does not answer for {document}, and no copy that is recent enough is at
    hand; try again in a minute.
    """

    status, title = 503, "Service Unavailable"


class HalfPublished(UpstreamError):
    """The OpenWrt server lists {version} for {target}, but has not published all of it yet; try
    again later.
    """

    status, title = 503, "Service Unavailable"
    is_passing, retry_after = False, 600  # Publishing a release takes hours.


class ImageBuilderMissing(UpstreamError):
    """There is no ImageBuilder for {version} and {target} yet; it is published some hours after
    the release, try again at {again}.
    """

    code = "imagebuilder-missing"
    is_passing = False
    retry_after: ClassVar[int] = 600


class BuilderIncomplete(UpstreamError):
    """OpenWrt's ImageBuilder for this target is not complete: {reason}; your request is not the
    cause, try again when OpenWrt has mended it.
    """

    is_passing, retry_after = False, 600  # As above.


class ProfileMissingInBuilder(UpstreamError):
    """The ImageBuilder has no profile {profile}, which the download server lists: one of them is
    newer than the other; try again later.
    """

    is_passing, retry_after = False, 600  # As above.


class BuilderOutdated(UpstreamError):
    """{reason}; what is asked for is newer than the ImageBuilder, which is published some hours
    later: try again then.
    """

    is_passing, retry_after = False, 600  # As above.


class FeedUnusable(UpstreamError):
    """Of the repositories that were asked for, {reason}; nothing was built, since packages would
    have come from elsewhere.
    """


class BrokenDependency(UpstreamError):
    """OpenWrt's packages do not fit together: {reason} Your selection is not the cause; try again
    when OpenWrt has mended it, or leave these packages out.
    """

    is_passing, retry_after = False, 600  # As above.


class DownloadFailed(UpstreamError):
    """Packages could not be downloaded: {reason}; your selection is not the cause, try again
    later.
    """
