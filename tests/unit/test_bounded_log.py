"""Outputs are kept at both ends and bounded between."""

from __future__ import annotations

import pytest

from asu.worker.container import BoundedLog


def log_of(*pieces: bytes, half: int = 10) -> str:
    """Return what a log keeps of these pieces."""
    log = BoundedLog(half)
    for piece in pieces:
        log.write(piece)
    return log.text()


@pytest.mark.parametrize(
    "pieces", [[], [b""], [b"short"], [b"exactly ", b"twenty bytes"], [b"x"] * 20]
)
def test_what_fits_is_kept_whole(pieces: list[bytes]) -> None:
    """Up to twice the half, nothing is lost."""
    assert log_of(*pieces) == b"".join(pieces).decode()


@pytest.mark.parametrize("size", [1, 3, 7, 10, 11, 25, 1000])
def test_a_long_output_keeps_both_ends_whatever_its_pieces(size: int) -> None:
    """The first and the last bytes stay, and the gap tells how much is gone."""
    data = b"BEGINNING " + b"." * 500 + b" THE END.."

    text = log_of(*[data[start : start + size] for start in range(0, len(data), size)])

    assert text == "BEGINNING \n[… 500 bytes left out …]\n THE END.."


def test_memory_stays_bounded() -> None:
    """However much is written, no more than a few halves are ever held."""
    log = BoundedLog(1000)

    for _ in range(1000):
        log.write(b"x" * 999)

    assert len(log.text()) < 2_100


def test_bytes_that_are_no_text_are_marked() -> None:
    """A builder that prints rubbish, or a character cut in two, breaks nothing."""
    assert log_of(b"caf\xc3", b"\xa9 \xff") == "café �"
