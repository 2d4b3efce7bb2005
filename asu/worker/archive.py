"""Reading a large answer of podman's: in pieces, and for no longer than it may take."""

import contextlib
from collections.abc import Iterator
from typing import Any

from requests.exceptions import RequestException

from asu.errors import BuildTimeout

from .deadline import deadline_of

CHUNK = 1024 * 1024


def pieces_of(response: Any, deadline: int) -> Iterator[bytes]:
    """Yield an answer's content; raises RequestException, and BuildTimeout when it is not read to its end after so many seconds."""

    def cut_off() -> None:
        with contextlib.suppress(ValueError, RuntimeError, OSError):  # It has ended in this moment.
            response.raw.shutdown()

    with deadline_of(deadline, cut_off) as expired:
        try:
            yield from response.iter_content(chunk_size=CHUNK)
        except RequestException:
            if not expired.is_set():
                raise
    if expired.is_set():  # What was cut off may look like an end.
        raise BuildTimeout(step="podman cp", seconds=deadline)
