"""How a package manager says that something could not be downloaded or trusted: patterns, in the order in which they speak."""

import re
from collections.abc import Iterable


def named_by(signs: Iterable[str], text: str) -> str | None:
    """Return what the first sign that is found names as `what`, empty where it names nothing; None where none is found."""
    matches = (re.search(sign, text) for sign in signs)
    found = next((match for match in matches if match), None)
    return (found.groupdict().get("what") or "").rstrip(",.") if found else None
