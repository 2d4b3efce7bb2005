"""Files of rules: the shipped `package_changes.toml`, and those of an operator's directory.

Names of rules reach the ImageBuilder, and a file may be written in a hurry: each value is checked.
"""

from __future__ import annotations

import fnmatch
import logging
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from .package_changes import Exclusive, Rule, RuleBook, literal_head
from .versions import Version

log = logging.getLogger(__name__)

LOOK_SECONDS = 10.0  # Between two looks at the directory.
MAX_FILES, MAX_BYTES = 64, 256 * 1024  # The shipped file has 15 KiB.

_ACTIONS = ("add", "replace", "replace_prefix", "remove", "remove_pattern")
# What a value of a file can be. Names reach the ImageBuilder, so they have no sign that means
# something to a shell or to make.
_TEXT = re.compile(r"[^\x00-\x1f\x7f]{1,400}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,127}")
_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+*?-]{0,127}")
_TARGET = re.compile(r"[a-z0-9_-]{1,64}/[a-z0-9_-]{1,64}")


def _matches(pattern: re.Pattern[str]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


_KINDS: Mapping[str, Callable[[object], bool]] = {
    "text": _matches(_TEXT),
    "name": _matches(_NAME),
    "pattern": _matches(_PATTERN),
    "target": _matches(_TARGET),
    "number": lambda value: type(value) is int and value >= 0,
    "truth": lambda value: type(value) is bool,
}
_WORDS = {
    "text": "a text of at most 400 characters",
    "name": "a name of letters, digits and . _ + -",
    "names": "a list of names of letters, digits and . _ + -",
    "pattern": "a name that begins with a letter or digit, and may hold * and ?",
    "patterns": "a list of names that begin with a letter or digit, and may hold * and ?",
    "target": "a target with its subtarget",
    "number": "a whole number",
    "truth": "true or false",
}
_EXCLUSIVE = {"id": "name", "packages": "patterns", "virtual": "name", "reason": "text"}
_RULE = {
    "id": "name",
    "since": "text",
    "until": "text",
    "target": "target",
    "profiles": "names",
    "replace": "name",
    "replace_prefix": "name",
    "with": "name",
    "remove": "name",
    "remove_pattern": "pattern",
    "add": "names",
    "revision": "number",
    "mandatory": "truth",
    "reason": "text",
    "reference": "text",
    "without": "text",
}


def read_rules(text: str) -> RuleBook:
    """Read rules from TOML; raises ValueError that names the rule that is wrong."""
    document = tomllib.loads(text)
    unknown = document.keys() - {"rule", "exclusive", "branch_off_revision"}
    if unknown:
        raise ValueError(f"{min(unknown)!r} is not a part of such a file")
    branches = document.get("branch_off_revision", {})
    if not _is_table(branches, int) or any(not Version.parse(name) for name in branches):
        raise ValueError("branch_off_revision must have a number for each branch")
    return RuleBook(
        map(_rule, _entries(document, "rule")),
        branches,
        map(_exclusive, _entries(document, "exclusive")),
    )


def joined_rules(books: Sequence[RuleBook]) -> RuleBook:
    """Return the rules of all books; raises ValueError for ids and replacements that clash."""
    joined = RuleBook(
        [rule for book in books for rule in book.rules],
        {name: number for book in books for name, number in book.branch_off_revisions.items()},
        [exclusive for book in books for exclusive in book.exclusives],
    )
    for rule in joined.rules:
        name, seen = rule.replace, set[str]()
        while name is not None:
            if name in seen:
                raise ValueError(f"rule {rule.id!r} begins a circle of replacements")
            seen.add(name)
            name = next((one.with_package for one in joined.by_name.get(name, ())), None)
    return joined


def _entries(document: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    entries = document.get(name, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"each {name} must stand below [[{name}]]")
    return entries


def _is_table(value: object, kind: type) -> bool:
    return isinstance(value, dict) and all(type(one) is kind for one in value.values())


def _check(entry: Mapping[str, Any], name: str, kinds: Mapping[str, str]) -> None:
    """Raise ValueError unless each value of an entry is of its kind, in the pattern's words."""
    for field, value in entry.items():
        kind = kinds.get(field)
        if kind is None:
            raise ValueError(f"{name}: {field!r} is not a part of it")
        values = value if kind.endswith("s") else [value]
        pattern = _KINDS[kind.removesuffix("s")]
        if not isinstance(values, list) or not values or not all(map(pattern, values)):
            raise ValueError(f"{name}: `{field}` must be {_WORDS[kind]}")
    for field in ("id", "reason"):
        if field not in entry:
            raise ValueError(f"{name}: `{field}` is missing")


@lru_cache(maxsize=1)
def load_rules() -> RuleBook:
    """Return the shipped rules, read once per process when first needed."""
    return read_rules(
        files(__package__).joinpath("package_changes.toml").read_text(encoding="utf-8")
    )


def _exclusive(entry: Mapping[str, Any]) -> Exclusive:
    name = f"exclusive {entry.get('id')!r}"
    _check(entry, name, _EXCLUSIVE)
    if "packages" not in entry:
        raise ValueError(f"{name}: `packages` is missing")
    return Exclusive(
        id=entry["id"],
        members=re.compile("|".join(fnmatch.translate(pattern) for pattern in entry["packages"])),
        heads=tuple(map(literal_head, entry["packages"])),
        reason=entry["reason"],
        virtual=entry.get("virtual"),
    )


def _rule(entry: Mapping[str, Any]) -> Rule:
    fields = dict(entry)
    name = f"rule {fields.get('id')!r}"
    _check(entry, name, _RULE)
    if sum(action in fields for action in _ACTIONS) != 1:
        raise ValueError(f"{name} must have exactly one of {', '.join(_ACTIONS)}")
    if ("with" in fields) != ("replace" in fields or "replace_prefix" in fields):
        raise ValueError(f"{name}: `with` belongs to `replace` and `replace_prefix` alone")
    for bound in ("since", "until"):
        if bound in fields:
            fields[bound] = Version.parse(fields[bound])
    if "profiles" in fields:
        fields["profiles"] = frozenset(fields["profiles"])
    if "add" in fields:
        fields["add"] = tuple(fields["add"])
    if "with" in fields:
        fields["with_package"] = fields.pop("with")
    return Rule(**fields)


class LiveRules:
    """Rules that are read again when the files of a directory change; without one, the shipped."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self._seen: tuple[object, ...] | None = None
        self.current, self.trouble = load_rules(), ""
        self.look()

    def look(self) -> None:
        """Read the directory if something in it has changed. It may hang: call it in a thread."""
        if self._directory is None:
            return
        try:
            files = sorted(self._directory.iterdir())
            files = [path for path in files if path.suffix == ".toml"][:MAX_FILES]
            states = [path.stat() for path in files]
            seen = tuple(
                (path.name, one.st_mtime_ns, one.st_ino, one.st_size)
                for path, one in zip(files, states, strict=True)
            )
            if seen == self._seen:
                return
            found = joined_rules([load_rules(), *map(_read, files)])
        except (OSError, ValueError) as error:
            self._complain(error)
            return
        self._seen, self.current, self.trouble = seen, found, ""
        log.info("%d rules are in use, with %d files of the operator", len(found.rules), len(files))

    def _complain(self, error: Exception) -> None:
        why = f"({error.strerror})" if isinstance(error, OSError) else str(error)
        trouble = f"PACKAGE_CHANGES_DIR cannot be used, the last good rules stay: {why}"
        if trouble != self.trouble:
            log.warning("%s", trouble)
        self.trouble = trouble


def _read(path: Path) -> RuleBook:
    """Read one file; raises OSError, and ValueError that names the file and its mistake."""
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path.name}: has more than {MAX_BYTES // 1024} KiB")
    try:
        return read_rules(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None
