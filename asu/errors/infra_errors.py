"""Errors of our own machinery: never blamed on the user, and tried again."""

from typing import Self

from .asu_error import AsuError


class InfraError(AsuError):
    """This server itself is the cause."""

    fault = "infra"
    status, title = 500, "Server failed"
    is_passing = True
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

    # Clients treat it as they do 529; but it is the address that asks for much, not the server that
    # has too little.
    code, status, title = "share-exceeded", 429, "Too Many Requests"


class DiskFull(InfraError):
    """server overload, its disk is too full for new builds: {free} MiB are free, {reserve} MiB are its reserve; try again later

    It begins as the words for a full queue do, and with its status, which is the one refusal of a
    good request that clients know.
    """

    code, status, title = "disk-full", 529, "Server overloaded"
    # Files of finished builds are removed as their lifetimes end, over hours; somebody may free
    # more any minute.
    retry_after = 600


class QueueUnavailable(InfraError):
    """The build queue does not answer; nothing was lost, try again in a moment."""

    code, status, title = "queue-unavailable", 503, "Service Unavailable"
    retry_after = 5


class MemoryFull(QueueUnavailable):
    """server overload, the memory of its build queue is too full for new builds; try again later

    It begins as the words for a full queue do, and with its status, which is the one refusal of a
    good request that clients know.
    """

    code, status, title = "memory-full", 529, "Server overloaded"
    # Records of finished builds end with their lifetimes, over hours, and those of failures within
    # ten minutes.
    retry_after = 600


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
    # The same request would take as much again, until the operator allows more.
    is_passing, retry_after = False, 600


class OutputTooLarge(InfraError):
    """The build left more than this server takes of one, {limit}; ask for a smaller root file system (`rootfs_size_mb`), or its operator for more.

    The request was admitted, and what an ImageBuilder makes of it nobody can know before; so it is
    the server that does not do what it said.
    """

    code = "output-too-large"
    is_passing, retry_after = False, 600  # As above.


class BuilderNotRenewed(InfraError):
    """{reason}; the ImageBuilder at hand is old, and a newer one was not pulled: your request is not the cause, try again later."""

    code = "builder-not-renewed"


class BuildTimeout(InfraError):
    """`{step}` took longer than {seconds} s and was stopped; try again later."""

    code = "build-timeout"


class WorkerLost(InfraError):
    """The worker of this build was lost {attempts} times; try again later."""

    code = "worker-lost"


class PlanUnusable(InfraError):
    """What was to be built under this key does not lead to it, so nothing was built; ask for the build again."""

    # The next attempt would be handed the same plan; who asks again brings another.
    code, is_passing = "plan-unusable", False


class StoreFailed(InfraError):
    """The store of the images failed: {reason}; try again later."""

    code = "store-failed"


class SigningFailed(InfraError):
    """The images could not be signed: {reason}; your request is not the cause, try again later."""

    code = "signing-failed"


class CertificateInvalid(SigningFailed):
    """The images could not be signed: the certificate of this server's key is not valid now; its operator has to renew it."""

    code = "certificate-invalid"
    # Somebody has to renew it; until then each try would build all of it in vain.
    is_passing, retry_after = False, 600


class InternalError(InfraError):
    """The server made a mistake; its operator finds the cause in the log under request {request_id}."""

    code, title = "internal-error", "Internal Server Error"
