"""The languages of the pages: gettext catalogues, `asu/locale/LANGUAGE.po`, read as they are.

Translators need a text editor or any program for such files, and nothing of Python. A text that a
catalogue lacks is shown in English.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

ENGLISH = "en"
_ENTRY = re.compile(r'^msgid ((?:".*"\s+)+)msgstr ((?:".*"\s*)+)', re.MULTILINE)
_WISH = re.compile(r"([a-z]{2,3})(?:-[a-z0-9-]+)?(?:;q=([0-9.]{1,5}))?")


@cache
def languages() -> tuple[str, ...]:
    """Return all languages, English first."""
    catalogues = (path.name for path in files("asu").joinpath("locale").iterdir())
    return ENGLISH, *sorted(name[:-3] for name in catalogues if name.endswith(".po"))


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """Return text → translation; empty for English."""
    if language == ENGLISH:
        return {}
    text = files("asu").joinpath("locale", f"{language}.po").read_text(encoding="utf-8")
    entries = ((_joined(one), _joined(other)) for one, other in _ENTRY.findall(text))
    return {english: translated for english, translated in entries if english and translated}


def wanted_language(header: str) -> str:
    """Return the best of our languages for an Accept-Language."""
    best, weight = ENGLISH, 0.0
    for part in header.lower().replace(" ", "").split(",")[:20]:
        if (wish := _WISH.fullmatch(part)) and wish[1] in languages():
            try:
                quality = float(wish[2] or 1)
            except ValueError:
                continue
            if quality > weight:
                best, weight = wish[1], quality
    return best


def _joined(quoted: str) -> str:
    """Return the text of adjacent strings in quotes, whose escapes are those of JSON."""
    return "".join(json.loads(line) for line in quoted.split("\n") if line.strip())
