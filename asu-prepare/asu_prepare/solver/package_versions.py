"""How opkg and apk order versions, and whether a version is one that a dependency accepts."""

import re
from collections.abc import Callable
from functools import cmp_to_key, lru_cache

# What a token of apk is, in the order in which tokens may follow each other.
_START, _DIGIT, _LETTER, _SUFFIX, _SUFFIX_NUMBER, _HASH, _REVISION, _END, _INVALID = range(9)
_SUFFIXES = ("alpha", "beta", "pre", "rc", "", "cvs", "svn", "git", "hg", "p")
# The token that a word begins, and the latest one that may stand before it.
_FOLLOWS = {
    "letter": (_LETTER, _DIGIT),
    "suffix": (_SUFFIX, _SUFFIX_NUMBER),
    "hash": (_HASH, _SUFFIX_NUMBER),
    "revision": (_REVISION, _HASH),
}
_AFTER = {_START - 1: _START, _START: _DIGIT, _DIGIT: _DIGIT, _SUFFIX: _SUFFIX_NUMBER}
_PRE_RELEASES = 4  # The first of them come before the version without a suffix.
_APK_TOKEN = re.compile(
    r"(?P<letter>[a-z])|\.?(?P<digits>[0-9]+)|_(?P<suffix>[a-z]+)|~(?P<hash>[0-9a-f]+)"
    r"|-r(?P<revision>[0-9]+)"
)
_OPKG_PARTS = re.compile(r"(\D*)(\d*)")
_Token = tuple[int, int | str, str]


def accepts(relation: str, wanted: str, version: str, *, is_apk: bool) -> bool:
    """Whether a version is one that `relation` and `wanted` (`>=`, `1.2`) ask for."""
    if relation in {"~", "<~", ">~"}:
        order = compare_apk(version, wanted, fuzzy=True)
        relation = {"~": "=", "<~": "<=", ">~": ">="}[relation]
    else:
        order = compare_apk(version, wanted) if is_apk else compare_opkg(version, wanted)
    return (
        (order < 0 and "<" in relation)
        or (order > 0 and ">" in relation)
        # opkg counts an equal version as earlier and as later, too.
        or (order == 0 and ("=" in relation or not is_apk))
    )


@lru_cache(maxsize=16_384)
def compare_opkg(one: str, other: str) -> int:
    """Compare as opkg does: epoch, upstream version and revision, each as Debian orders them."""
    for left, right in zip(_opkg_version(one), _opkg_version(other), strict=True):
        if left != right:
            return _compare_debian(left, right)
    return 0


def _opkg_version(text: str) -> tuple[str, str, str]:
    epoch, colon, rest = text.partition(":")
    rest = rest if colon else text
    upstream, dash, revision = rest.rpartition("-")
    return epoch if colon else "0", upstream if dash else rest, revision if dash else ""


def _compare_debian(one: str, other: str) -> int:
    left, right = _debian_parts(one), _debian_parts(other)
    end: tuple[list[int], int] = ([0], 0)
    left += [end] * (len(right) - len(left))
    right += [end] * (len(left) - len(right))
    return (left > right) - (left < right)


def _debian_parts(text: str) -> list[tuple[list[int], int]]:
    """Split into words and numbers; `~` comes before the end, letters before other signs."""
    return [
        ([*(-1 if sign == "~" else ord(sign) + 256 * (not sign.isalpha()) for sign in word), 0],
         _number(digits))
        for word, digits in _OPKG_PARTS.findall(text)
        if word or digits
    ]  # fmt: skip


def _number(digits: str) -> int:
    """Return a number; beyond nineteen digits all are equal, as nobody counts so far."""
    return int(digits.lstrip("0")[:19] or 0)


@lru_cache(maxsize=16_384)
def compare_apk(one: str, other: str, *, fuzzy: bool = False) -> int:
    """Compare as apk does; `fuzzy` takes the other one for a beginning of the first."""
    left, right = _apk_tokens(one), _apk_tokens(other)
    for (kind, value, text), (other_kind, other_value, other_text) in zip(
        left, right, strict=False
    ):
        if kind != other_kind or kind >= _END:
            return _compare_ends(kind, value, other_kind, other_value, fuzzy=fuzzy)
        if kind == _DIGIT and "0" in {text[0], other_text[0]}:
            if text != other_text:
                return 1 if text > other_text else -1
        elif value != other_value:
            return 1 if value > other_value else -1  # type: ignore[operator]  # Of one kind.
    return 0


def _compare_ends(
    kind: int, value: int | str, other_kind: int, other_value: int | str, *, fuzzy: bool
) -> int:
    """Compare where one version goes on and the other one ends, or goes on in another way."""
    if kind == other_kind or (other_kind == _END and fuzzy):
        return 0
    if kind == _SUFFIX and int(value) < _PRE_RELEASES:
        return -1
    if other_kind == _SUFFIX and int(other_value) < _PRE_RELEASES:
        return 1
    return -1 if kind > other_kind else 1


def _apk_tokens(version: str) -> list[_Token]:
    tokens: list[_Token] = []
    at, last = 0, _START - 1
    while at < len(version):
        found = _APK_TOKEN.match(version, at)
        token = _apk_token(found, last) if found else None
        if found is None or token is None or (not tokens and token[0] != _START):
            return [*tokens, (_INVALID, 0, "")]
        tokens.append(token)
        at, last = found.end(), token[0]
    return [*tokens, (_END, 0, "")]


def _apk_token(found: re.Match[str], last: int) -> _Token | None:
    """Return the token that a match is after the last one; None if it may not stand there."""
    group = found.lastgroup or ""
    text = found[group]
    if group == "digits":
        kind = _AFTER.get(last)
        is_dotted = found[0].startswith(".")
        return (
            None if kind is None or (is_dotted and kind != _DIGIT) else (kind, _number(text), text)
        )
    kind, latest = _FOLLOWS[group]
    if last > latest or (group == "suffix" and text not in _SUFFIXES):
        return None
    value: int | str = text
    if group in {"suffix", "revision"}:
        value = _SUFFIXES.index(text) if group == "suffix" else _number(text)
    return kind, value, text


def sort_key(*, is_apk: bool) -> Callable[[str], object]:
    """Return what sorts versions, the oldest first."""
    return cmp_to_key(compare_apk if is_apk else compare_opkg)
