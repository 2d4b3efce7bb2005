"""What all errors have in common: words, a code, a status, and whose fault they are."""

from typing import Any, ClassVar

# What an error may list beside its message, for programs: the mistakes of an invalid request, the
# packages that cannot be installed (`package`, `kind`, `suggestion`, `detail`), the images that do
# not fit (`image`, `filesystem`, `bytes`, `limit`, `excess`).
LISTS = ("errors", "problems", "too_big")


class AsuError(Exception):
    """Something went wrong."""

    # Of the class, but for refusals of the prepare service, which keep their own.
    code: str = "error"
    status: int = 500
    title: str = "Error"
    fault: ClassVar[str] = "infra"
    # Seconds until trying again may help; None where it cannot.
    retry_after: ClassVar[int | None] = None
    # Whether the same build may go well some seconds later, so that a worker begins it again by
    # itself.
    is_passing: ClassVar[bool] = False

    def __init__(self, **values: Any) -> None:
        self.lists: dict[str, list[dict[str, Any]]] = {
            name: values.pop(name) for name in LISTS if name in values
        }
        self.values = values
        super().__init__(self.detail)

    @property
    def detail(self) -> str:
        """The message: the first paragraph of the class docstring with its values filled in."""
        message = " ".join((type(self).__doc__ or "").split("\n\n")[0].split())
        return message.format(**self.values)

    def body(self) -> dict[str, Any]:
        """Return the error as clients receive it; `detail` is always a string, lists stand under names of their own."""
        body: dict[str, Any] = {
            "status": self.status,
            "title": self.title,
            "detail": self.detail,
            "code": self.code,
        }
        body |= {name: entries for name, entries in self.lists.items() if entries}
        if self.retry_after is not None:
            body["retry_after"] = self.retry_after
        return body
