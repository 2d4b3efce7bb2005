"""What a person sees: colours and a progress line on a terminal, plain lines in a pipe."""

import os
import sys
from collections.abc import Iterable, Sequence

RED, GREEN, YELLOW, BOLD, DIM = "31", "32", "33", "1", "2"


def plain(text: object) -> str:
    """Return text that cannot steer a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text))


class Terminal:
    """Writes results to standard output, and progress to standard error."""

    def __init__(self) -> None:
        self._has_colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._has_progress = sys.stderr.isatty()

    def line(self, text: str = "", style: str = "") -> None:
        """Print one line."""
        safe = plain(text)
        sys.stdout.write(
            f"\x1b[{style}m{safe}\x1b[0m\n" if style and self._has_colour else f"{safe}\n"
        )
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Print a line that is not part of the result."""
        self.progress("")
        sys.stderr.write(plain(text) + "\n")

    def progress(self, text: str) -> None:
        """Replace the progress line; a pipe has none."""
        if self._has_progress:
            sys.stderr.write(f"\r\x1b[K{plain(text)[:110]}")
            sys.stderr.flush()

    def table(self, rows: Iterable[Sequence[object]]) -> None:
        """Print rows with aligned columns."""
        cells = [[plain(cell) for cell in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for row in cells:
            padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.line("  ".join(padded).rstrip())

    def agrees(self, question: str) -> bool:
        """Ask a question; only "y" and "yes" agree, and without a terminal nobody does."""
        if not sys.stdin.isatty():
            self.note(f"{question} Nobody is there to answer; --yes agrees beforehand.")
            return False
        try:
            return input(f"{question} [y/N] ").strip().lower() in {"y", "yes"}
        except EOFError:
            return False


def size(count: float) -> str:
    """Return bytes for people: `320 KiB`, `7.4 MiB`."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:  # noqa: PLR2004 - The unit itself.
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"  # noqa: PLR2004
        count /= 1024
    return f"{count:.1f} GiB"
