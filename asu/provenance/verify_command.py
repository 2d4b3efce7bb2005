"""`asu verify`: show what a build was made of, and whether its files agree with that."""

import sys
from collections.abc import Sequence
from pathlib import Path

from asu.keys.usign import PublicKey, UnusableKey, read_public_key

from .envelope import UnusableProvenance
from .sources import SourceError, open_source
from .verification import verify


def run_verify(place: str, files: Sequence[Path], key: Path | None) -> None:
    """Print what was found; end with 1 if anything differs or cannot be checked."""
    try:
        report = verify(open_source(place), files=files, key=_read_key(key) if key else None)
    except (SourceError, UnusableKey) as error:
        raise SystemExit(f"asu verify: {error}") from error
    except UnusableProvenance as error:
        raise SystemExit(f"asu verify: {place}: {error}") from error
    sys.stdout.write(report.in_words())
    if report.differences:
        raise SystemExit(1)


def _read_key(path: Path) -> PublicKey:
    try:
        return read_public_key(path.read_text(encoding="latin-1"))
    except OSError as error:
        raise UnusableKey(f"{path}: {error.strerror}") from error
    except UnusableKey as error:
        raise UnusableKey(f"{path}: {error}") from error
