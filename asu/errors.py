"""Everything that can go wrong, in one place.

AsuError
├── UserError                   the request can never work as it stands
│   ├── InvalidRequest          a field is missing or malformed
│   ├── BodyTooLarge
│   ├── NotFound
│   │   └── UnknownBuild
│   ├── RangeNotSatisfiable
│   ├── MethodNotAllowed
│   ├── UnsupportedDistro
│   ├── UnsupportedVersion
│   ├── UnsupportedBranch
│   ├── UnsupportedTarget
│   ├── UnsupportedProfile
│   │   └── AmbiguousProfile
│   ├── DefaultsNotAllowed
│   ├── DefaultsTooLong
│   ├── RootfsTooLarge
│   ├── RepositoryNotAllowed
│   │   └── MalformedRepository
│   ├── MalformedRepositoryKey
│   ├── UnsuitableRepositoryKey
│   ├── WrongRevision           found by the worker, as all below
│   ├── ImpossibleSelection
│   ├── WrongPackageVersions
│   ├── FeedUntrusted
│   ├── UnknownFilesystem
│   ├── ImageTooBig
│   └── BuildFailed
├── UpstreamError               OpenWrt's servers are the cause; try again later
│   ├── UpstreamUnreachable
│   ├── HalfPublished
│   ├── ImageBuilderMissing
│   ├── ProfileMissingInBuilder found by the worker, as all below
│   ├── FeedUnusable
│   └── DownloadFailed
└── InfraError                  our own machinery is the cause; retried, never cached
    ├── Overloaded
    │   └── ShareExceeded
    ├── DiskFull
    ├── QueueUnavailable
    ├── PrepareUnavailable
    ├── PrepareDisagrees
    ├── ContainerFailed
    ├── ContainerTooLarge
    ├── BuildTimeout
    ├── WorkerLost
    ├── StoreFailed
    ├── SigningFailed
    └── InternalError

The docstring of a class is its message; the table of errors in the documentation is made from the classes. The
edge and the application's handlers turn them into HTTP. `code` is stable and meant for programs, `detail` for people.
"""

from typing import Any, ClassVar, Self

# What an error may list beside its message, for programs: the mistakes of an invalid request, the packages that cannot be
# installed (`package`, `kind`, `suggestion`, `detail`), the images that do not fit (`image`, `filesystem`, `bytes`, `limit`, `excess`).
LISTS = ("errors", "problems", "too_big")


class AsuError(Exception):
    """Something went wrong."""

    # Of the class, but for refusals of the prepare service, which keep their own.
    code: str = "error"
    status: int = 500
    title: str = "Error"
    fault: ClassVar[str] = "infra"
    retry_after: ClassVar[int | None] = None  # Seconds until trying again may help; None where it cannot.

    def __init__(self, **values: Any) -> None:
        self.lists: dict[str, list[dict[str, Any]]] = {name: values.pop(name) for name in LISTS if name in values}
        self.values = values
        super().__init__(self.detail)

    @property
    def detail(self) -> str:
        """The message: the first paragraph of the class docstring with its values filled in."""
        message = " ".join((type(self).__doc__ or "").split("\n\n")[0].split())
        return message.format(**self.values)

    def body(self) -> dict[str, Any]:
        """Return the error as clients receive it; `detail` is always a string, lists stand under names of their own."""
        body: dict[str, Any] = {"status": self.status, "title": self.title, "detail": self.detail, "code": self.code}
        body |= {name: entries for name, entries in self.lists.items() if entries}
        if self.retry_after is not None:
            body["retry_after"] = self.retry_after
        return body


class UserError(AsuError):
    """The request can never work as it stands."""

    fault = "user"
    status = 400
    title = "Bad Request"


class InvalidRequest(UserError):
    """{reason}"""

    code, status, title = "invalid-request", 422, "Unprocessable Content"


class BodyTooLarge(UserError):
    """The request body exceeds {limit_kib} KiB; send fewer packages or a shorter first-boot script."""

    code, status, title = "body-too-large", 413, "Content Too Large"


class NotFound(UserError):
    """There is nothing at this path; /docs lists what there is."""

    code, status, title = "not-found", 404, "Not Found"


class UnknownBuild(NotFound):
    """could not find provided request hash

    The words are those of the reference server: clients show them.
    """

    code = "unknown-build"


class RangeNotSatisfiable(UserError):
    """The file has no such range; it has {size} bytes."""

    code, status, title = "range-not-satisfiable", 416, "Range Not Satisfiable"


class MethodNotAllowed(UserError):
    """This path does not answer {method}; it answers {allowed}."""

    code, status, title = "method-not-allowed", 405, "Method Not Allowed"


class UnsupportedDistro(UserError):
    """Unsupported distro: {distro}"""

    code = "unsupported-distro"


class UnsupportedVersion(UserError):
    """Unsupported version: {version}"""

    code = "unsupported-version"


class UnsupportedBranch(UserError):
    """Unsupported branch: {branch}"""

    code = "unsupported-branch"


class UnsupportedTarget(UserError):
    """Unsupported target: {target}"""

    code = "unsupported-target"


class UnsupportedProfile(UserError):
    """Unsupported profile: {profile}"""

    code = "unsupported-profile"


class AmbiguousProfile(UnsupportedProfile):
    """Unsupported profile: {profile} is claimed by more than one; ask for one of {candidates}"""

    code = "ambiguous-profile"


class DefaultsNotAllowed(UserError):
    """Handling `defaults` not enabled on server"""

    code = "defaults-not-allowed"


class DefaultsTooLong(UserError):
    """The first-boot script in `defaults` has {length} bytes; this server takes at most {limit}."""

    code = "defaults-too-long"


class RootfsTooLarge(UserError):
    """`rootfs_size_mb` is {size}; this server builds at most {limit} MB."""

    code = "rootfs-too-large"


class RepositoryNotAllowed(UserError):
    """Repository not allowed: {repository}; {reason}

    The beginning is the reference server's.
    """

    code = "repository-not-allowed"


class MalformedRepository(RepositoryNotAllowed):
    """Repository not allowed: {repository} {reason}"""

    code = "malformed-repository"


class MalformedRepositoryKey(UserError):
    """Key {number} of `repository_keys` {reason}"""

    code = "malformed-repository-key"


class UnsuitableRepositoryKey(UserError):
    """Key {number} of `repository_keys` is {kind}; {version} installs with {manager}, so send {wanted}."""

    code = "unsuitable-repository-key"


class WrongRevision(UserError):
    """Received inconsistent revision: the request expects {expected}, the ImageBuilder has {found}; reload the version list and ask again."""

    code, status, title = "wrong-revision", 500, "Build failed"


class ImpossibleSelection(UserError):
    """Impossible package selection: {reason}"""

    code, status, title = "impossible-selection", 500, "Build failed"


class WrongPackageVersions(UserError):
    """Impossible package selection: {reason}; these versions cannot be had in this release, leave them out to accept what it has."""

    code, status, title = "wrong-package-versions", 500, "Build failed"


class FeedUntrusted(UserError):
    """Of the repositories that were asked for, {reason}; nothing was built, since packages would have come from elsewhere.

    The request brings no key at all that its package manager reads, so no later try will end otherwise.
    """

    code, status, title = "feed-untrusted", 500, "Build failed"


class UnknownFilesystem(UserError):
    """The ImageBuilder of this target makes no {filesystem} images; it makes {available}."""

    code, status, title = "unknown-filesystem", 500, "Build failed"


class ImageTooBig(UserError):
    """The image is too big for the device: {reason}; {advice}."""

    code, status, title = "image-too-big", 500, "Build failed"


class BuildFailed(UserError):
    """The ImageBuilder failed: {reason}"""

    code, status, title = "build-failed", 500, "Build failed"


class UpstreamError(AsuError):
    """OpenWrt's servers are the cause."""

    fault = "upstream"
    status, title = 500, "Upstream failed"
    retry_after = 60  # Upstream faults seen in practice pass within minutes.


class UpstreamUnreachable(UpstreamError):
    """The OpenWrt server does not answer for {document}, and no earlier copy is at hand; try again in a minute."""

    code, status, title = "upstream-unreachable", 503, "Service Unavailable"


class HalfPublished(UpstreamError):
    """The OpenWrt server lists {version} for {target}, but has not published all of it yet; try again later."""

    code, status, title = "half-published", 503, "Service Unavailable"
    retry_after = 600  # A release is published over hours.


class ImageBuilderMissing(UpstreamError):
    """There is no ImageBuilder for {version} and {target} yet; it is published some hours after the release, try again at {again}."""

    code = "imagebuilder-missing"
    retry_after: ClassVar[int] = 600


class ProfileMissingInBuilder(UpstreamError):
    """The ImageBuilder has no profile {profile}, which the download server lists: one of them is newer than the other; try again later."""

    code = "profile-missing-in-builder"
    retry_after = 600  # As above.


class FeedUnusable(UpstreamError):
    """Of the repositories that were asked for, {reason}; nothing was built, since packages would have come from elsewhere."""

    code = "feed-unusable"


class DownloadFailed(UpstreamError):
    """Packages could not be downloaded: {reason}; your selection is not the cause, try again later."""

    code = "download-failed"


class InfraError(AsuError):
    """This server itself is the cause."""

    fault = "infra"
    status, title = 500, "Server failed"
    retry_after = 30  # A restart of a service takes seconds; half a minute is not too eager.

    # What the ImageBuilder's command had printed when this ended it.
    stdout = ""
    stderr = ""

    def after(self, stdout: str, stderr: str) -> Self:
        """Keep what a command had printed until then, and return the error."""
        self.stdout, self.stderr = stdout, stderr
        return self


class Overloaded(InfraError):
    """server overload, queue contains too many build requests: {waiting}; try again later"""

    code, status, title = "overloaded", 529, "Server overloaded"
    retry_after = 60


class ShareExceeded(Overloaded):
    """{places} builds that were asked for from your address wait already, and no more may at the same time; try again when some have begun."""

    # Clients treat it as they do 529; but it is the address that asks for much, not the server that has too little.
    code, status, title = "share-exceeded", 429, "Too Many Requests"


class DiskFull(InfraError):
    """server overload, its disk is too full for new builds: {free} MiB are free, {reserve} MiB are its reserve; try again later

    It begins as the words for a full queue do, and with its status, which is the one refusal of a good request that clients know.
    """

    code, status, title = "disk-full", 529, "Server overloaded"
    retry_after = 600  # Files of finished builds are removed as their lifetimes end, over hours; somebody may free more any minute.


class QueueUnavailable(InfraError):
    """The build queue does not answer; nothing was lost, try again in a moment."""

    code, status, title = "queue-unavailable", 503, "Service Unavailable"
    retry_after = 5


class PrepareUnavailable(InfraError):
    """The prepare service does not answer; a build can be asked for without a preview."""

    code, status, title = "prepare-unavailable", 503, "Service Unavailable"
    retry_after = 5


class PrepareDisagrees(InfraError):
    """The prepare service and this server disagree about {about}; a build can be asked for without a preview.

    Their versions do not fit together.
    """

    code, status, title = "prepare-disagrees", 503, "Service Unavailable"


class ContainerFailed(InfraError):
    """The build container failed: {reason}; your request is not the cause, try again."""

    code = "container-failed"


class ContainerTooLarge(InfraError):
    """The build took more than {limit_mb} MiB of disk and was stopped; ask for fewer packages or a smaller root file system."""

    code = "container-too-large"


class BuildTimeout(InfraError):
    """`{step}` took longer than {seconds} s and was stopped; try again later."""

    code = "build-timeout"


class WorkerLost(InfraError):
    """The worker of this build was lost {attempts} times; try again later."""

    code = "worker-lost"


class StoreFailed(InfraError):
    """The store of the images failed: {reason}; try again later."""

    code = "store-failed"


class SigningFailed(InfraError):
    """The images could not be signed: {reason}; your request is not the cause, try again later."""

    code = "signing-failed"


class InternalError(InfraError):
    """The server made a mistake; its operator finds the cause in the log under request {request_id}."""

    code, title = "internal-error", "Internal Server Error"
