"""What all errors have in common: a message, a code, a status, and whose fault they are."""

import re
from collections.abc import Iterator
from typing import Any, ClassVar

# What an error may hold for programs, beside its message: the mistakes of an invalid request, the
# packages that cannot be installed, the images that do not fit, the device to ask for instead.
DETAILS = ("errors", "problems", "too_big", "suggested")


class AsuError(Exception):
    """Something went wrong."""

    # `code` is made of the name: ShareExceeded has "share-exceeded". Programs depend on both.
    # No ClassVar: a refusal of the prepare service keeps its own code, status and title.
    code: str = "error"
    status: int = 500
    title: str = "Error"
    fault: ClassVar[str] = "infra"
    # Seconds until trying again may help; None where it cannot.
    retry_after: ClassVar[int | None] = None
    # What clients receive in place of a message that speaks of this server's parts, which is for
    # the log and for operators.
    plain: ClassVar[str] = ""
    # Whether a worker begins the build again by itself after some seconds.
    is_passing: ClassVar[bool] = False
    # How often at most, where the build itself may be the cause.
    most_retries: ClassVar[int] = 99

    def __init_subclass__(cls) -> None:
        if "code" not in vars(cls):
            cls.code = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", cls.__name__).lower()

    def __init__(self, **values: Any) -> None:
        self.details = {name: found for name in DETAILS if (found := values.pop(name, None))}
        self.values = values
        super().__init__(self.detail)

    @classmethod
    def message(cls) -> str:
        """Return the message with its placeholders: the first paragraph of the class docstring."""
        return " ".join((cls.__doc__ or "").split("\n\n")[0].split())

    @property
    def detail(self) -> str:
        """The message with its values filled in."""
        return self.message().format(**self.values)

    @property
    def words(self) -> str:
        """The message as clients receive it."""
        return self.plain or self.detail

    def body(self) -> dict[str, Any]:
        """Return the error as clients receive it; `detail` is always a string."""
        body: dict[str, Any] = {
            "status": self.status,
            "title": self.title,
            "detail": self.words,
            "code": self.code,
        }
        body |= self.details
        if self.retry_after is not None:
            body["retry_after"] = self.retry_after
        return body


def error_classes(kind: type[AsuError] = AsuError) -> Iterator[type[AsuError]]:
    """Yield the errors that are raised: all but AsuError and the three kinds right below it."""
    for child in kind.__subclasses__():
        if kind is not AsuError:
            yield child
        yield from error_classes(child)
