"""What all lines belong to that are logged within a task or a thread: a request, a build, an attempt."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

Fields = Mapping[str, str | int]
_fields: ContextVar[Fields] = ContextVar("fields")
_NONE: Fields = {}


def log_fields() -> Fields:
    """Return the fields that belong to lines which are logged here."""
    return _fields.get(_NONE)


@contextmanager
def logged_with(**fields: str | int) -> Iterator[None]:
    """Let every line that is logged inside carry these fields too; tasks that are begun inside inherit them."""
    token = _fields.set({**log_fields(), **fields})
    try:
        yield
    finally:
        _fields.reset(token)
