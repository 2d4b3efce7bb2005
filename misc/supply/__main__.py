"""`make audit`, `make sbom` and `make pin`."""

import argparse
import os
import sys
from pathlib import Path

from misc.supply.audit import audit
from misc.supply.pins import NotPinned, pin_images
from misc.supply.sbom import write_boms


def main() -> int:
    """Run one of them; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m misc.supply")
    commands = parser.add_subparsers(dest="command", required=True)
    auditing = commands.add_parser("audit", help="look the locks up in the advisory data")
    auditing.add_argument(
        "--strict",
        action="store_true",
        help="end with 1, too, for packages of which nothing could be learnt",
    )
    writing = commands.add_parser(
        "sbom", help="write the bills of materials of both container images"
    )
    writing.add_argument("directory", type=Path, help="where to, as SERVICE.cdx.json")
    commands.add_parser("pin", help="pin the images of the deployment files by their digests")
    options = parser.parse_args()
    if options.command == "pin":
        return _pin()
    if options.command == "audit":
        return audit(strict=options.strict)
    write_boms(options.directory, tag=os.environ.get("ASU_TAG") or "latest")
    return 0


def _pin() -> int:
    try:
        digests = pin_images()
    except NotPinned as error:
        print(f"make pin: {error}", file=sys.stderr)
        return 1
    print("".join(f"{image}@{digest}\n" for image, digest in digests.items()), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
