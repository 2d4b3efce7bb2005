"""apk's own index, `packages.adb`: its packages and their dependencies."""

from __future__ import annotations

from collections.abc import Iterator

from .adb_values import DAMAGE, AdbValues
from .package_feed import (
    PORTABLE,
    Package,
    PackageFeed,
    Shared,
    UnreadableIndexError,
    package_feed,
)

# Places of a package's fields; absent ones at the end are left out.
_NAME, _VERSION, _ARCH, _INSTALLED, _SIZE, _PRIORITY, _DEPENDS, _PROVIDES, _TAGS = (
    0, 1, 4, 11, 12, 13, 14, 15, 20,
)  # fmt: skip
_FIELDS = 21
_EQUAL, _LESS, _GREATER, _FUZZY, _CONFLICT = 1, 2, 4, 8, 16
_ANY = _EQUAL | _LESS | _GREATER
_ABI = "openwrt:abiversion="
_HASH_BYTES = 32  # Each package has a hash, which is not read.


def read_apk_index(raw: bytes, shared: Shared) -> PackageFeed:
    """Read an index of apk; raises UnreadableIndexError."""
    try:
        return package_feed(_Index(AdbValues(raw, b"indx", shared), shared).packages())
    except DAMAGE as error:
        raise UnreadableIndexError("damaged") from error


class _Index:
    """The packages of one document; lists and dependencies that several share are read once."""

    def __init__(self, values: AdbValues, shared: Shared) -> None:
        self._values, self._shared = values, shared
        self._dependencies: dict[int, str] = {}
        self._lists: dict[int, tuple[str, ...]] = {0: ()}
        self._abis: dict[int, str] = {0: ""}

    def packages(self) -> Iterator[tuple[Package, int, int]]:
        listed = self._values.root()
        for value in self._values.slots(listed[1]) if len(listed) > 1 else ():
            yield self._package(value)

    def _package(self, value: int) -> tuple[Package, int, int]:
        self._values.charge(_HASH_BYTES)
        fields = self._values.slots(value)[:_FIELDS]
        fields.extend((0,) * (_FIELDS - len(fields)))
        name, version = self._values.text(fields[_NAME]), self._values.text(fields[_VERSION])
        if not name:
            raise UnreadableIndexError("a package without a name")
        depends, provides = self._list(fields[_DEPENDS]), self._list(fields[_PROVIDES])
        abi = self._abi(fields[_TAGS])
        priority = self._values.integer(fields[_PRIORITY])
        is_portable = self._values.text(fields[_ARCH]) in PORTABLE
        package = Package(name, version, depends, provides, (), abi, priority, is_portable)
        sizes = self._values.integer(fields[_SIZE]), self._values.integer(fields[_INSTALLED])
        return self._shared(package), *sizes

    def _abi(self, value: int) -> str:
        """Return the version of the binary interface that a list of tags names, or nothing."""
        found = self._abis.get(value)
        if found is None:
            tags = [self._values.text(slot) for slot in self._values.slots(value)]
            named = (tag[len(_ABI) :] for tag in tags if tag.startswith(_ABI))
            found = self._abis[value] = self._shared(next(named, ""))
        return found

    def _list(self, value: int) -> tuple[str, ...]:
        found = self._lists.get(value)
        if found is None:
            known, slots = self._dependencies, self._values.slots(value)
            words = [known.get(slot) or self._dependency(slot) for slot in slots]
            found = self._lists[value] = self._shared(tuple(words))
        return found

    def _dependency(self, value: int) -> str:
        """Return a dependency as apk writes it: `name`, `name>=1.0`, `!name`."""
        slots = self._values.slots(value)
        name = self._values.text(slots[0])
        version = self._values.text(slots[1]) if len(slots) > 1 else ""
        # The third.
        match = self._values.integer(slots[2]) if len(slots) > 2 else 0  # noqa: PLR2004
        match = match or (_EQUAL if version else _ANY)
        sign = "!" if match & _CONFLICT else ""
        text = f"{sign}{name}{_relation(match) if version else ''}{version}"
        self._dependencies[value] = self._shared(text)
        return text


def _relation(match: int) -> str:
    greater, less = ">" if match & _GREATER else "", "<" if match & _LESS else ""
    if match & _FUZZY:
        return f"{less or greater}~"
    return f"{less}{greater}{'=' if match & _EQUAL else ''}"
