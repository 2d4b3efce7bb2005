"""The form of `/upgrade`: what a person chose, and what the buttons beside problems do to it."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs

from pydantic import ValidationError

from asu.build_request import MAX_PACKAGES, BuildRequest
from asu.errors import InvalidRequest
from asu.resolution import described, summary

MAX_FIELDS = 2 * MAX_PACKAGES
# What a preview counts, and the words for one and for several.
COUNTED = (
    ("problems", "problem", "problems"),
    ("warnings", "warning", "warnings"),
    ("replaced", "package is replaced", "packages are replaced"),
    ("added", "is added", "are added"),
    ("removed", "is removed", "are removed"),
    ("downgrades", "is older than now", "are older than now"),
)
_APK = re.compile(r"([\w.+-]+?)-[0-9][\w.+~]*(?:-r[0-9]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeForm:
    """What the person chose so far. Names are those of the request's fields."""

    target: str = ""
    profile: str = ""
    version: str = ""
    from_version: str = ""
    packages: tuple[str, ...] = ()
    diff_packages: bool = False
    ignore: tuple[str, ...] = ()
    defaults: str = ""
    filesystem: str = ""
    rootfs_size_mb: str = ""

    def request(self) -> BuildRequest:
        """Return the build request; raises InvalidRequest."""
        fields: dict[str, Any] = {
            "version": self.version,
            "target": self.target,
            "profile": self.profile,
            "packages": list(self.packages),
            "diff_packages": self.diff_packages,
            "ignored_changes": list(self.ignore),
            "from_version": self.from_version or None,
            "defaults": self.defaults or None,
            "filesystem": self.filesystem or None,
            "rootfs_size_mb": self.rootfs_size_mb or None,
            "client": "page",
        }
        try:
            return BuildRequest.model_validate(fields)
        except ValidationError as error:
            found = [{**one, "loc": ("body", *one["loc"])} for one in error.errors()]
            mistakes = described(found)
            reason = summary(mistakes, len(found))
            raise InvalidRequest(reason=reason, errors=mistakes) from None

    def changed(self, left_out: Iterable[str], used: Mapping[str, str]) -> "UpgradeForm":
        """Leave packages out, and take others (old name → new) in the place of some.

        A default that is no word of the list is removed by `-name`.
        """
        left, present = dict.fromkeys(left_out), set(self.packages)
        kept = [used.get(word, word) for word in self.packages if word not in left]
        if not self.diff_packages:
            kept += [f"-{name}" for name in (*left, *used) if name not in present]
        return replace(self, packages=_once(kept))


def read_form(body: bytes) -> UpgradeForm:
    """Read what a browser sends; raises InvalidRequest."""
    try:
        fields = parse_qs(body.decode(), max_num_fields=MAX_FIELDS)
    except ValueError as error:  # Also UnicodeDecodeError.
        raise InvalidRequest(reason="The form cannot be read; send it again.") from error
    one = {name: values[-1].strip() for name, values in fields.items()}
    words = f"{one.get('packages', '')} {one.get('add', '')}".replace(",", " ").split()
    form = UpgradeForm(
        **{name: one.get(name, "") for name in _TEXTS},
        packages=_once(words),
        diff_packages="diff_packages" in one,
        ignore=_once(fields.get("ignore", ())),
        defaults=one.get("defaults", "").replace("\r\n", "\n"),
    )
    if one.get("pasted"):
        form = _pasted(form, one["pasted"])
    used = dict(pair.partition(" ")[::2] for pair in fields.get("use", ()))
    if len(form.packages) > MAX_PACKAGES:
        raise InvalidRequest(reason=f"`packages` has more than {MAX_PACKAGES} entries.")
    return form.changed(fields.get("leave_out", ()), used)


_TEXTS = ("target", "profile", "version", "from_version", "filesystem", "rootfs_size_mb")


def _pasted(form: UpgradeForm, text: str) -> UpgradeForm:
    """Take device, release and packages from what the device printed; raises InvalidRequest."""
    try:
        board, end = json.JSONDecoder().raw_decode(text[text.index("{") :])
        return replace(
            form,
            profile=str(board["board_name"]),
            target=str(board["release"]["target"]),
            from_version=str(board["release"]["version"]),
            filesystem=str(board.get("rootfs_type") or form.filesystem),
            packages=_once(_installed(text[text.index("{") + end :])),
            diff_packages=True,
        )
    except (ValueError, LookupError, TypeError, RecursionError):
        raise InvalidRequest(
            reason="This is not what the command prints. Copy all of its output."
        ) from None


def _installed(text: str) -> Iterable[str]:
    """Yield the packages of `opkg list-installed` (`vim - 9.1`) or `apk list -I` (`vim-9.1-r1`)."""
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        found = None if rest.startswith("- ") else _APK.fullmatch(word)
        if rest.startswith("- ") or found:
            yield found[1] if found else word


def _once(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for word in words if word))


def counted(preview: Mapping[str, Any]) -> list[tuple[int, str]]:
    """Return how much a preview changes: numbers, and the words that follow them."""
    counts = preview["counts"]
    return [
        (count, one if count == 1 else more)
        for name, one, more in COUNTED
        if (count := counts.get(name))
    ]
