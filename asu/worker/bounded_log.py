"""What is kept of a command's output."""

import json
from collections.abc import Mapping

# Bytes kept from either end of an output; a whole x86 build prints about 75 KiB.
LOG_HALF = 64 * 1024
LOG_MOST = 2 * LOG_HALF  # Bytes of an output of which nothing was dropped.


# Bytes of either end kept after success: nobody has to find a mistake in it, and records of a day
# lie in Redis' memory.
SUCCESS_HALF = 2 * 1024


class BoundedLog:
    """Keeps head and tail of an output; what lies between is dropped and its size told."""

    def __init__(self, half: int = LOG_HALF) -> None:
        self._half, self._head, self._tail, self._size = half, bytearray(), bytearray(), 0

    def write(self, piece: bytes) -> None:
        """Take the next piece."""
        self._size += len(piece)
        room = self._half - len(self._head)
        self._head += piece[:room]
        self._tail += piece[room:] if room > 0 else piece
        if len(self._tail) > 2 * self._half:
            del self._tail[: -self._half]

    def text(self) -> str:
        """Return what was kept; bytes that are not UTF-8 are marked, not refused."""
        tail = bytes(self._tail[-self._half :])
        dropped = self._size - len(self._head) - len(tail)
        middle = f"\n[… {dropped} bytes left out …]\n".encode() if dropped else b""
        return (bytes(self._head) + middle + tail).decode("utf-8", errors="replace")


def ends_of(text: str, half: int) -> str:
    """Return head and tail of an output, of so many bytes each."""
    log = BoundedLog(half)
    log.write(text.encode())
    return log.text()


def ends_within(outputs: Mapping[str, str], most: int) -> dict[str, str]:
    """Return outputs, or of the longest of them head and tail, that take so many bytes together as JSON.

    That is not their own size: a control character, and one that stands for a byte that is no text,
    takes six there.
    """
    kept: dict[str, str] = {}
    left = most
    for others, name in zip(
        reversed(range(len(outputs))),
        sorted(outputs, key=lambda name: json_size(outputs[name])),
        strict=True,
    ):
        kept[name] = _ends_as_json(outputs[name], left // (others + 1))
        left -= json_size(kept[name])
    return {name: kept[name] for name in outputs}


def json_size(value: object) -> int:
    """Return how many bytes a value takes as JSON."""
    return len(json.dumps(value))  # Which is ASCII.


def _ends_as_json(text: str, most: int) -> str:
    half, kept = len(text.encode()) // 2, text
    # A few rounds; what is left may be denser than what was dropped.
    while (size := json_size(kept)) > most and half > 1:
        half = max(1, half * most // size - 1)
        kept = ends_of(text, half)
    return kept
