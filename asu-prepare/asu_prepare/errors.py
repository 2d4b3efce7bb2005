"""Everything that the service refuses, in one place.

PrepareError
├── InvalidRequestError        a field is missing or malformed, or the body is no JSON
├── UnsupportedDistroError
├── UnsupportedBranchError
├── UnsupportedVersionError
├── UnsupportedTargetError     the version has no such target
├── UnsupportedProfileError    the target has no such device
├── AmbiguousProfileError      several devices of the target claim the name
├── DeviceMovedError           the version has the device in another target
├── BodyTooLargeError
├── NotFoundError
├── MethodNotAllowedError
└── InternalError              our own mistake; the only one that is not the caller's

The docstring of a class is its message and says what to do; `code` is stable and meant for
programs. Values that a caller sent are part of a message only where they are known to be harmless,
or cut and escaped.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from pydantic_core import to_json
from starlette.responses import Response

from .resolution import described, summary


class PrepareError(Exception):
    """Something went wrong."""

    code: ClassVar[str]
    status: ClassVar[int]
    title: ClassVar[str]

    def __init__(
        self,
        *,
        errors: Iterable[Mapping[str, Any]] = (),
        suggested: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        **values: object,
    ) -> None:
        self.details = {"errors": list(errors), "suggested": suggested}
        self.headers = headers
        self.detail = " ".join((type(self).__doc__ or "").split()).format(**values)
        super().__init__(self.code)

    def response(self) -> Response:
        """Return the error as clients receive it.

        `detail` is one string, since a list crashes the Firmware Selector.
        """
        body: dict[str, Any] = {
            "status": self.status,
            "title": self.title,
            "detail": self.detail,
            "code": self.code,
        }
        body |= {name: value for name, value in self.details.items() if value}
        return Response(to_json(body), self.status, self.headers, "application/json")


class InvalidRequestError(PrepareError):
    """{reason}"""

    code, status, title = "invalid-request", 422, "Unprocessable Content"


class UnsupportedDistroError(PrepareError):
    """This service knows the packages of openwrt alone; leave `distro` out."""

    code, status, title = "unsupported-distro", 400, "Bad Request"


class UnsupportedBranchError(PrepareError):
    """Unsupported branch: {branch}"""

    code, status, title = "unsupported-branch", 400, "Bad Request"


class UnsupportedVersionError(PrepareError):
    """Unsupported version: {version}"""

    code, status, title = "unsupported-version", 400, "Bad Request"


class UnsupportedTargetError(PrepareError):
    """Unsupported target: {value}{hint}"""

    code, status, title = "unsupported-target", 400, "Bad Request"


class UnsupportedProfileError(PrepareError):
    """Unsupported profile: {value}{hint}"""

    code, status, title = "unsupported-profile", 400, "Bad Request"


class DeviceMovedError(PrepareError):
    """Unsupported {field}: {value}{hint}"""

    code, status, title = "device-moved", 400, "Bad Request"


class AmbiguousProfileError(PrepareError):
    """Unsupported profile: {profile} is claimed by more than one; ask for one of {candidates}"""

    code, status, title = "ambiguous-profile", 400, "Bad Request"


class BodyTooLargeError(PrepareError):
    """The request body has more than {limit} bytes; send fewer packages or a shorter script."""

    code, status, title = "body-too-large", 413, "Content Too Large"


class NotFoundError(PrepareError):
    """There is nothing at this path; /docs lists what there is."""

    code, status, title = "not-found", 404, "Not Found"


class MethodNotAllowedError(PrepareError):
    """This path does not answer that method; /docs lists what it answers."""

    code, status, title = "method-not-allowed", 405, "Method Not Allowed"


class InternalError(PrepareError):
    """The service made a mistake; the operator finds it in the log under request {request_id}."""

    code, status, title = "internal-error", 500, "Internal Server Error"


def invalid_fields(found: Sequence[Mapping[str, Any]]) -> InvalidRequestError:
    """Return the error for mistakes that pydantic found."""
    mistakes = described(found)
    # The framework's place of a field begins with "body".
    errors = [{**mistake, "loc": mistake["loc"][1:]} for mistake in mistakes]
    return InvalidRequestError(reason=summary(mistakes, len(found)), errors=errors)
