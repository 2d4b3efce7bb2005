"""The output of the running build as people follow it: whole lines, a moment after they come.

Nobody's build waits for it or fails for it: what Redis does not take is lost.
"""

import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Self

from asu.errors import QueueUnavailable
from asu.records.redis_memory import LOG_BYTES

EVERY = 0.5  # Seconds between two writes; those who watch see a line within a second.
BATCH_BYTES = 1024
LEAST_BYTES = 128  # What even an empty batch costs.
SHORTEST = 6  # Characters; shorter lines of a script, such as `fi`, stand in any output.
WITHHELD = "[a line of the first-boot script]"
# A terminal would obey these, and a line may come from a package.
_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def withheld(text: str, script: str | None) -> str:
    """Return an output without the lines that show a line of the first-boot script."""
    secrets = {line.strip() for line in (script or "").splitlines()}
    secrets = {line for line in secrets if len(line) >= SHORTEST}
    if not secrets:
        return text
    lines = (
        WITHHELD if any(secret in line for secret in secrets) else line for line in text.split("\n")
    )
    return "\n".join(lines)


class LiveLog:
    """Hands the output on in batches of whole lines.

    `append` gets a batch, and how many of the newest batches may be kept so that all together take
    at most LOG_BYTES.
    """

    def __init__(self, append: Callable[[str, int], object], script: str | None = None) -> None:
        self._append, self._script = append, script
        self._sizes: deque[int] = deque()
        self._rest = b""
        self._guard, self._ended = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self.write(b"\n")
        self._flush()

    def write(self, piece: bytes) -> None:
        """Take the next piece of output; only the newest LOG_BYTES of what waits are kept."""
        with self._guard:
            self._rest = (self._rest + piece)[-LOG_BYTES:]

    def _run(self) -> None:
        while not self._ended.wait(EVERY):
            self._flush()

    def _flush(self) -> None:
        with self._guard:
            lines, _, self._rest = self._rest.rpartition(b"\n")
        text = _CONTROL.sub("", lines.decode(errors="replace")).strip("\n")
        for batch in _batches(withheld(text, self._script)) if text else ():
            self._sizes.append(LEAST_BYTES + len(batch.encode()))
            while sum(self._sizes) > LOG_BYTES:
                self._sizes.popleft()
            try:
                self._append(batch, len(self._sizes))
            except QueueUnavailable:
                return  # Each call may wait for seconds, and the build must not.


def _batches(text: str) -> Iterator[str]:
    """Yield lines together, at most BATCH_BYTES at a time; longer lines are cut."""
    batch: list[str] = []
    size = 0
    for line in text.split("\n"):
        cut = line.encode()[:BATCH_BYTES].decode(errors="ignore")
        if batch and size + len(cut.encode()) + 1 > BATCH_BYTES:
            yield "\n".join(batch)
            batch, size = [], 0
        batch.append(cut)
        size += len(cut.encode()) + 1
    yield "\n".join(batch)
