"""Say in sentences what is wrong with a request; pydantic's own messages quote patterns.

A new field needs an entry in `MUST_BE`, and one in `IS_NOT` if it holds names.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

# What answers show in place of a first-boot script; owut reports a script that it does not see.
WITHHELD = "(withheld)"
BROKEN_BODY = (
    "The request body cannot be read: it must be JSON in UTF-8, not nested without end, "
    "with numbers of a usual size."
)
# A body may hold thousands of mistakes; an answer with all of them would be many times its size.
MAX_LISTED = 100
MAX_SENTENCE = 290  # Characters; device clients show `detail` in one line or a small box.
MAX_QUOTED = 40  # Characters of a value, or of the name of an entry.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.+\[\]-]{1,128}")

PACKAGE_NAMES = (
    "names have at most 128 letters, digits and . _ + - and begin with a letter or digit"
)
FILESYSTEMS = "squashfs, ext4, ubifs, erofs, jffs2, jffs2-nand, targz or cpiogz"
VERSION = "a version such as 24.10.4, 25.12.0-rc2, 24.10-SNAPSHOT or SNAPSHOT"

MUST_BE: Mapping[str, str] = {
    "distro": 'the text "openwrt"',
    "version": VERSION,
    "version_code": "a revision such as r28959-29397011cc, or empty",
    "target": "a target with its subtarget, such as ath79/generic",
    "profile": "the name of a profile, such as tplink_archer-c7-v5",
    "packages": 'a list of package names, such as ["luci", "-ppp"]',
    "packages_versions": 'an object of package names and versions, such as {"luci": "25.292"}',
    "diff_packages": "true or false",
    "defaults": "a text of at most 65536 characters",
    "rootfs_size_mb": "a whole number of megabytes, 1 or more and within the limit of the server",
    "filesystem": FILESYSTEMS,
    "repositories": "an object of feed names and addresses, such as "
    '{"own": "https://feeds.example.org/own"}',
    "repositories_mode": "append or replace",
    "repository_keys": "a list of public keys, each at most 4096 characters long",
    "client": "a text of at most 256 characters",
    "from_version": VERSION,
    "ignored_changes": "a list of the `rule` values of a preview's changes",
    "leave_out_missing": "true or false",
    "any_order": "true or false",
    "skip_package_resolution": "true or false",
    "solve": "true or false",
    "branch": "a branch such as 24.10 or SNAPSHOT",
    "limit": "a whole number from 1 to 100",
    "n": "a whole number from 1 to 100",
    "after": "the id of an event of a build's log, such as 1767225600000-0",
    "q": "at most 100 characters long",
}
# What a text under a field is not, and what is allowed.
IS_NOT: Mapping[str, str] = {
    "version": f"is not {VERSION}",
    "version_code": "is not a revision such as r28959-29397011cc",
    "target": "is not a target with its subtarget, such as ath79/generic",
    "profile": "is not the name of a profile; names have at most 128 letters, digits and . _ , + -",
    "packages": f"is not a package name; {PACKAGE_NAMES} (or with a - before that)",
    "packages_versions": "is not a package version; versions have at most 128 letters, digits "
    "and . _ + , ~ -",
    "filesystem": f"is not a file system of images; choose {FILESYSTEMS}",
    "repositories": "is not the address of a feed; give the address alone, such as "
    "https://feeds.example.org/own",
    "repositories_mode": "is neither append nor replace",
    "from_version": f"is not {VERSION}",
    "ignored_changes": "is not the `rule` of a change; copy it from the preview",
}
NAME_IS_NOT: Mapping[str, str] = {
    "packages_versions": f"is not a package name; {PACKAGE_NAMES}",
    "repositories": "is not a name for a feed; names have at most 64 letters, digits and . _ -, "
    "and do not end in .sig, .ipk or .apk",
}


def described(errors: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the first of pydantic's errors, each with `type`, `loc` and a sentence as `msg`."""
    return [
        {
            "type": error["type"],
            "loc": [_place(part) for part in error["loc"]],
            "msg": _sentence(error),
        }
        for error in errors[:MAX_LISTED]
    ]


def summary(mistakes: Sequence[Mapping[str, Any]], count: int) -> str:
    """Return `count` mistakes as a short text: the first of each field, and how many more."""
    text, named = "", 0
    first: dict[tuple[Any, ...], str] = {}
    for mistake in mistakes:
        first.setdefault(tuple(mistake["loc"][:2]), mistake["msg"])
    for message in first.values():
        if text and len(text) + len(message) > MAX_SENTENCE - 40:
            break
        text, named = f"{text} {message}".strip(), named + 1
    return f"{text} And {count - named} more, see `errors`." if count > named else text


def _place(part: int | str) -> int | str:
    """Return a part of a place in the request; the caller chose the names of some entries."""
    return part if isinstance(part, int) or _PLAIN_NAME.fullmatch(part) else "…"


def _sentence(error: Mapping[str, Any]) -> str:
    place = error["loc"]
    if len(place) == 1:
        return "The request must be a JSON object, sent with Content-Type: application/json."
    if error["type"] == "json_invalid":
        return f"The request body is not JSON: it breaks off or is wrong at character {place[1]}."
    return _about_field(error, str(place[1]))


def _about_field(error: Mapping[str, Any], field: str) -> str:
    must_be = f"`{field}` must be {MUST_BE[field]}." if field in MUST_BE else ""
    if error["type"] == "missing":
        return f"`{field}` is missing. {must_be}".strip()
    if error["type"] == "too_long":
        return f"`{field}` has more than {error['ctx']['max_length']} entries."
    value, is_name = error.get("input"), error["loc"][-1] == "[key]"
    if value == WITHHELD and field == "defaults":
        return (
            f"`defaults`: {WITHHELD} stands for a script that this server does not show; send the "
            "script itself."
        )
    is_not = (NAME_IS_NOT if is_name else IS_NOT).get(field)
    if isinstance(value, str) and is_not and error["type"] not in {"list_type", "dict_type"}:
        entry = error["loc"][-1]
        named = field in NAME_IS_NOT and not is_name and _PLAIN_NAME.fullmatch(entry)
        whose = f" for {entry[:MAX_QUOTED]}" if named else ""
        return f"`{field}`: {_quoted(value)}{whose} {is_not}."
    return must_be or f"`{field}` has a value that is not allowed."


def _quoted(value: str) -> str:
    """Return a caller's text, cut, as plain ASCII that holds no markup."""
    cut = value if len(value) <= MAX_QUOTED else f"{value[:MAX_QUOTED]}..."
    return json.dumps(cut).replace("<", r"\u003c")
