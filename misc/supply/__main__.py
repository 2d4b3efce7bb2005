"""`make audit` and `make sbom`."""

import argparse
import os
import sys
from pathlib import Path

from misc.supply.audit import audit
from misc.supply.sbom import write_boms


def main() -> int:
    """Run one of both; return its exit code."""
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
    options = parser.parse_args()
    if options.command == "audit":
        return audit(strict=options.strict)
    write_boms(options.directory, tag=os.environ.get("ASU_TAG") or "latest")
    return 0


if __name__ == "__main__":
    sys.exit(main())
