"""Joins the JSON files of single images into profiles.json, as one line with sorted keys.

An existing profiles.json of the same revision is merged into, as the genuine script does.
"""

# ruff: noqa: T201 - The genuine program prints, and so does this one.

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def main(json_dir: Path, output: Path) -> int:
    """Write `output`, or say that there is nothing to write."""
    overview: dict[str, Any] = {}
    if output.exists():
        overview = json.loads(output.read_text())
    # The order of a directory is the order of the genuine glob: nobody may rely on it.
    for entry in os.scandir(json_dir):
        image = json.loads(Path(entry.path).read_text())
        if overview.get("version_code") != image["version_code"]:
            overview = image
            continue
        for name, profile in image["profiles"].items():
            known = overview["profiles"].setdefault(name, profile)
            if known is not profile:
                fresh = {new["name"] for new in profile["images"]}
                known["images"] = [
                    old for old in known["images"] if old["name"] not in fresh
                ] + profile["images"]
    if not overview:
        print("JSON info file script could not find any JSON files for target")
        return 0
    output.write_text(json.dumps(overview, sort_keys=True, separators=(",", ":")))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
