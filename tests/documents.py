"""Documents of a downloads server, on the disk of a stand-in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def write_documents(tree: Path, documents: Mapping[str, Any]) -> None:
    """Put documents where the server finds them."""
    for name, document in documents.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document), encoding="utf-8")
