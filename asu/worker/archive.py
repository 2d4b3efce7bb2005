"""Reading a large answer of podman's: in pieces, and for no longer than it may take."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from requests.exceptions import RequestException

from asu.errors import BuildTimeout

CHUNK = 1024 * 1024


def pieces_of(response: Any, deadline: int) -> Iterator[bytes]:
    """Yield an answer's content; raises RequestException, and BuildTimeout when it is not read to its end after so many seconds."""
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        with contextlib.suppress(ValueError, RuntimeError, OSError):  # It has ended in this moment.
            response.raw.shutdown()

    # A timeout of the connection begins anew with each byte that podman sends.
    timer = threading.Timer(deadline, expire)
    timer.daemon = True
    timer.start()
    try:
        yield from response.iter_content(chunk_size=CHUNK)
    except RequestException:
        if not expired.is_set():
            raise
    finally:
        timer.cancel()
    if expired.is_set():  # What was cut off may look like an end.
        raise BuildTimeout(step="podman cp", seconds=deadline)
