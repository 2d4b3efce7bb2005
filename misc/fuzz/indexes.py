"""Send damaged package indexes to their readers: `python -m misc.fuzz.indexes [SECONDS] [SEED]`.

A reader may refuse a document with one kind of error only, and may not take longer than its size
allows. The documents are small indexes with bytes, numbers and whole parts changed at random.
"""

from __future__ import annotations

import random
import struct
import sys
import time
import zlib
from collections.abc import Callable

from asu.resolution.apk_index import read_apk_index
from asu.resolution.opkg_index import read_opkg_index
from asu.resolution.package_feed import PackageFeed, Shared, UnreadableIndexError
from tests.upstream.adb import Entry, adb_bytes

SECONDS = 600.0
SECONDS_PER_MEBIBYTE = 0.2
LEAST_SECONDS = 0.05  # Of processor time, for documents too small to be measured.
SMALL, LARGE = 30, 3_000  # Packages; the large ones have about a mebibyte.
LARGE_PART = 0.01  # Of all documents.
MEBIBYTE = 2**20
NUMBERS = (0, 1, 2, 3, 2**28 - 1, 2**30, 2**31, 2**32 - 1, 0xE0000000, 0x80000000, 0xA0000000)


def apk_sample(packages: int = SMALL) -> bytes:
    """Return a plain index with every kind of value."""
    entries = [
        Entry(
            name=f"package{number}",
            version=f"1.{number}-r1",
            arch="x86_64" if number % 2 else "noarch",
            hashes=number.to_bytes(32, "big"),
            size=2 ** min(number, SMALL),
            installed_size=2 ** min(number, SMALL),
            priority=number % 3,
            depends=("libc", f"package{number - 1}>=1.0", "!other"),
            provides=(f"package{number}-any", "virtual=1.0", "x" * (min(number, SMALL) * 10 + 1)),
            tags=(f"openwrt:abiversion={number}",),
        )
        for number in range(1, packages + 1)
    ]
    return adb_bytes(entries, signature=b"signature", packed=False)


def opkg_sample(packages: int = SMALL) -> bytes:
    """Return a plain `Packages` file."""
    return "\n".join(
        f"Package: package{number}\nVersion: 1.{number}\nDepends: libc, a | b (>= 1)\n"
        f"Provides: virtual\nConflicts: other\nABIVersion: {number}\nArchitecture: all\n"
        f"Installed-Size: 10240\nSize: {number}\nDescription: text\n more\n"
        for number in range(1, packages + 1)
    ).encode()


def damaged(document: bytes, dice: random.Random) -> bytes:
    """Return the document with one to eight changes."""
    changed = bytearray(document)
    for _ in range(dice.randrange(1, 9)):
        at = dice.randrange(max(len(changed), 1))
        match dice.randrange(5):
            case 0:
                changed[at : at + 1] = dice.randbytes(1)
            case 1:
                number = dice.choice([*NUMBERS, dice.randrange(2**32), len(document)])
                changed[at // 4 * 4 : at // 4 * 4 + 4] = struct.pack("<I", number)
            case 2:
                del changed[at : at + dice.randrange(1, 64)]
            case 3:
                other = dice.randrange(max(len(changed), 1))
                changed[at:at] = changed[other : other + dice.randrange(1, 256)]
            case _:
                changed[at:at] = dice.choice([b"\n\n", b": ", b",", b"\xff", b"9" * 20, b"\0" * 8])
    return bytes(changed)


def packed(document: bytes, form: bytes) -> bytes:
    """Return a document of apk in its usual container, or one of opkg as gzip."""
    bits = -zlib.MAX_WBITS if form == b"ADBd" else 16 + zlib.MAX_WBITS
    packer = zlib.compressobj(1, zlib.DEFLATED, bits)
    body = packer.compress(document) + packer.flush()
    return form + body if form == b"ADBd" else body


def fuzz(seconds: float, seed: int) -> int:
    """Try documents for so long; return how many. Raises what no reader may raise."""
    dice = random.Random(seed)  # noqa: S311  # No secret.
    ends, count = time.monotonic() + seconds, 0
    samples: list[list[tuple[Callable[..., PackageFeed], bytes, bytes]]] = [
        [(read_apk_index, apk_sample(size), b"ADBd"), (read_opkg_index, opkg_sample(size), b"")]
        for size in (SMALL, LARGE)
    ]
    while time.monotonic() < ends:
        reader, sample, form = samples[dice.random() < LARGE_PART][count % 2]
        document = damaged(sample, dice)
        match dice.randrange(3):
            case 0:
                document = packed(document, form)
            case 1:
                document = damaged(packed(sample, form), dice)
            case _:
                pass
        began = time.process_time()
        try:
            reader(document, Shared())
        except UnreadableIndexError:
            pass
        except Exception:
            sys.stderr.write(f"seed {seed}, document {count}: {document.hex()}\n")
            raise
        took = time.process_time() - began
        # A packed document is longer than it looks, by no more than its sample.
        size = max(len(document), len(sample))
        if took > max(LEAST_SECONDS, SECONDS_PER_MEBIBYTE * size / MEBIBYTE):
            raise TimeoutError(f"seed {seed}, document {count} took {took:.2f} s")
        count += 1
    return count


def main() -> None:
    """Run the command."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1  # noqa: PLR2004  # The second argument.
    print(f"{fuzz(seconds, seed)} documents in {seconds:g} s, nothing but refusals")


if __name__ == "__main__":
    main()
