"""Errors of the user: the request can never work as it stands."""

from .asu_error import AsuError


class UserError(AsuError):
    """The request can never work as it stands."""

    fault = "user"
    status = 400
    title = "Bad Request"


class InvalidRequest(UserError):
    """{reason}"""

    status, title = 422, "Unprocessable Content"


class BodyTooLarge(UserError):
    """The request body exceeds {limit_kib} KiB; send fewer packages or a shorter first-boot
    script.
    """

    status, title = 413, "Content Too Large"


class NotFound(UserError):
    """There is nothing at this path; /docs lists what there is."""

    status, title = 404, "Not Found"


class UnknownBuild(NotFound):
    """could not find provided request hash

    The words are those of the reference server: clients show them.
    """


class RangeNotSatisfiable(UserError):
    """The file has no such range; it has {size} bytes."""

    status, title = 416, "Range Not Satisfiable"


class MethodNotAllowed(UserError):
    """This path does not answer {method}; it answers {allowed}."""

    status, title = 405, "Method Not Allowed"


class UnsupportedDistro(UserError):
    """Unsupported distro: {distro}"""


class UnsupportedVersion(UserError):
    """Unsupported version: {version}"""


class UnsupportedBranch(UserError):
    """Unsupported branch: {branch}"""


class UnsupportedTarget(UserError):
    """Unsupported target: {target}{hint}"""


class UnsupportedProfile(UserError):
    """Unsupported profile: {profile}{hint}"""


class AmbiguousProfile(UnsupportedProfile):
    """Unsupported profile: {profile} is claimed by more than one; ask for one of {candidates}"""


class DeviceMoved(UserError):
    """Unsupported {field}: {value}{place}"""


class DefaultsNotAllowed(UserError):
    """Handling `defaults` not enabled on server"""


class DefaultsTooLong(UserError):
    """The first-boot script in `defaults` has {length} bytes; this server takes at most {limit}."""


class RootfsTooLarge(UserError):
    """`rootfs_size_mb` is {size}; this server builds at most {limit} MB."""


class RepositoryNotAllowed(UserError):
    """Repository not allowed: {repository}; {reason}

    The beginning is the reference server's.
    """


class MalformedRepository(RepositoryNotAllowed):
    """Repository not allowed: {repository} {reason}"""


class MalformedRepositoryKey(UserError):
    """Key {number} of `repository_keys` {reason}"""


class UnsuitableRepositoryKey(UserError):
    """Key {number} of `repository_keys` is {kind}; {version} installs with {manager}, so send
    {wanted}.
    """


class WrongRevision(UserError):
    """Received inconsistent revision: the request expects {expected}, the ImageBuilder has {found};
    reload the version list and ask again.
    """

    status, title = 500, "Build failed"


class ImpossibleSelection(UserError):
    """Impossible package selection: {reason}"""

    status, title = 500, "Build failed"


class OutputUnreadable(UserError):
    """What the build prints cannot be read in a second; no ImageBuilder prints that, but a package
    can: leave out what you do not know.
    """

    status, title = 500, "Build failed"


class BuildStopsWorkers(UserError):
    """The build stopped the process that makes it twice in the same step and is not begun again. A
    package may do that: leave out what you do not know.
    """

    status, title = 500, "Build failed"


class WrongPackageVersions(UserError):
    """Impossible package selection: {reason}; these versions cannot be had in this release, leave
    them out to accept what it has.
    """

    status, title = 500, "Build failed"


class FeedUntrusted(UserError):
    """Of the repositories that were asked for, {reason}; nothing was built, since packages would
    have come from elsewhere.

    Every later try with the same keys fails as well.
    """

    status, title = 500, "Build failed"


class UnknownFilesystem(UserError):
    """The ImageBuilder of this target makes no {filesystem} images; it makes {available}."""

    status, title = 500, "Build failed"


class ImageTooBig(UserError):
    """The image is too big for the device: {reason}; {advice}."""

    status, title = 500, "Build failed"


class BuildFailed(UserError):
    """The ImageBuilder failed: {reason}"""

    status, title = 500, "Build failed"
