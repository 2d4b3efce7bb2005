"""The output of `make info`, kept beside the store for the next builds with the same image.

It depends on the ImageBuilder's container image alone. There is one file for each image's name, so
a tag that moves replaces its own.
"""

import contextlib
import hashlib
import json
import secrets
from pathlib import Path

from .builder_image import BuilderImage

DIRECTORY = ".builders"  # Nothing serves it: builds are named by hashes.


def kept_info(store_path: Path, image: BuilderImage) -> str | None:
    """Return what `make info` printed in a container of exactly this image; None if unknown."""
    try:
        kept = json.loads(_file(store_path, image).read_bytes())
        return str(kept["info"]) if image.digest and kept["digest"] == image.digest else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def keep_info(store_path: Path, image: BuilderImage, info: str) -> None:
    """Keep what `make info` printed; a disk that refuses costs the next build a moment."""
    file = _file(store_path, image)
    new = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    with contextlib.suppress(OSError):
        file.parent.mkdir(exist_ok=True)
        new.write_text(json.dumps({"digest": image.digest, "info": info}))
        new.replace(file)


def _file(store_path: Path, image: BuilderImage) -> Path:
    return store_path / DIRECTORY / hashlib.sha256(image.name.encode()).hexdigest()
