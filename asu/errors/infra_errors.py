"""Errors of this server: never blamed on the user, and tried again."""

from typing import Self

from .asu_error import AsuError


class InfraError(AsuError):
    """This server itself is the cause."""

    fault = "infra"
    status, title = 500, "Server failed"
    is_passing = True
    retry_after = 30  # A restart of a service takes seconds.

    stdout, stderr = "", ""  # What the ImageBuilder had printed when the error ended it.

    def after(self, stdout: str, stderr: str) -> Self:
        """Keep what a command had printed, and return the error."""
        self.stdout, self.stderr = stdout, stderr
        return self


class Overloaded(InfraError):
    """server overload, queue contains too many build requests: {waiting}; try again later"""

    status, title = 529, "Server overloaded"
    retry_after = 60


class ShareExceeded(Overloaded):
    """{places} builds that were asked for from your address wait already, and no more may at the
    same time; try again when some have begun.
    """

    # Clients treat 429 as they do 529. Here the address asks for much; the server has room.
    status, title = 429, "Too Many Requests"


class TooManyListeners(InfraError):
    """Too many people watch builds through this server at the moment; poll the build instead."""

    status, title = 503, "Service Unavailable"
    retry_after = 30


class NoWorker(InfraError):
    """server overload, nothing here has built images for five minutes, so new builds are not
    taken; those that were accepted are not lost: try again later

    Words and status follow DiskFull.
    """

    status, title = 529, "Server overloaded"
    retry_after = 300


class QueueUnavailable(InfraError):
    """The build queue does not answer; nothing was lost, try again in a moment."""

    status, title = 503, "Service Unavailable"
    retry_after = 5


class MemoryFull(QueueUnavailable):
    """server overload, the memory of its build queue is too full for new builds; try again later

    Words and status follow DiskFull.
    """

    status, title = 529, "Server overloaded"
    retry_after = 600  # Records of failures expire within ten minutes, others over hours.


class ContainerFailed(InfraError):
    """The build container failed: {reason}; your request is not the cause, try again."""

    plain = "The server could not run the build; your request is not the cause, try again."


class BuildDisrupted(ContainerFailed):
    """The build did not run to its end: {reason}. Packages can cause that, and so can this server;
    without packages that you do not know it may work.
    """

    plain = ""
    most_retries = 1


class ContainerTooLarge(InfraError):
    """The build took more than {limit_mb} MiB of disk, or as many files as go with that, and was
    stopped; ask for fewer packages or a smaller root file system.
    """

    # The same request takes as much again, until the operator allows more.
    is_passing, retry_after = False, 600


class OutputTooLarge(InfraError):
    """The build left more than this server takes of one, {limit}; ask for a smaller root file
    system (`rootfs_size_mb`), or its operator for more.

    It is no fault of the user: the server admitted the request, and nobody can know the size of an
    image before it is built.
    """

    is_passing, retry_after = False, 600  # As above.


class BuilderNotRenewed(InfraError):
    """{reason}; this server's ImageBuilder is old, and a newer one could not be had: your request
    is not the cause, try again later.
    """


class BuildTimeout(InfraError):
    """`{step}` took longer than {seconds} s and was stopped; try again later."""

    most_retries = 1  # A package can stand still, and each try takes all the time again.


class WorkerLost(InfraError):
    """The worker of this build was lost {attempts} times; try again later."""


class PlanUnusable(InfraError):
    """What was to be built under this key does not lead to it, so nothing was built; ask for the
    build again.
    """

    plain = "The server lost what was to be built, so nothing was built; ask for the build again."

    # Another attempt would get the same plan; a new request brings a new one.
    is_passing = False


class StoreFailed(InfraError):
    """The store of the images failed: {reason}; try again later."""

    plain = (
        "The server could not keep or read the images; your request is not the cause, try again "
        "later."
    )


class DiskFull(StoreFailed):
    """server overload, its disk is too full for new builds: {space}; try again later

    It begins as the words for a full queue do, and has their status: clients know no other refusal
    of a good request.
    """

    status, title, plain = 529, "Server overloaded", ""
    retry_after = 600  # Finished builds expire over hours, but an operator may free room sooner.


class SigningFailed(InfraError):
    """The images could not be signed: {reason}; your request is not the cause, try again later."""

    plain = "The images could not be signed; your request is not the cause, try again later."


class CertificateInvalid(SigningFailed):
    """The images could not be signed: the certificate of this server's key is not valid now; its
    operator has to renew it.
    """

    plain = ""  # People may write to the operator.
    # Each try before the renewal would build the whole image in vain.
    is_passing, retry_after = False, 600


class InternalError(InfraError):
    """The server made a mistake; its operator finds the cause in the log under request
    {request_id}.
    """

    title = "Internal Server Error"
