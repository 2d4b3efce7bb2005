"""What all lines belong to that are logged within a task or a thread: a request, a build, an attempt."""

from collections.abc import Mapping
from contextvars import ContextVar, Token

Fields = Mapping[str, str | int]
_fields: ContextVar[Fields] = ContextVar("fields")
_NONE: Fields = {}


def log_fields() -> Fields:
    """Return the fields that belong to lines which are logged here."""
    return _fields.get(_NONE)


class logged_with:  # noqa: N801  # It is used as a function is; as a generator it would cost each poll a microsecond more.
    """Let every line that is logged inside carry these fields too; tasks that are begun inside inherit them."""

    __slots__ = ("_added", "_token")
    _token: Token[Fields]

    def __init__(self, **fields: str | int) -> None:
        self._added = fields

    def __enter__(self) -> None:
        self._token = _fields.set({**log_fields(), **self._added})

    def __exit__(self, *_: object) -> None:
        _fields.reset(self._token)
