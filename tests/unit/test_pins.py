"""`make pin` writes one digest for an image into every deployment file, or nothing at all."""

from __future__ import annotations

import hashlib
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from misc.supply.pins import FILES, IMAGE, ROOT, NotPinned, pin_images

if TYPE_CHECKING:
    from pathlib import Path

# What asks registries: the manifest of an image changes with the release.
SKOPEO = """\
#!/bin/sh
[ "$3" = "docker://$REFUSED" ] && { echo "manifest unknown" >&2; exit 1; }
printf '%s' "$3$RELEASE"
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy the deployment files to a directory, and put a skopeo first on the PATH."""
    for path in {path for pattern in FILES for path in ROOT.glob(pattern)}:
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    program = tmp_path / "bin" / "skopeo"
    program.parent.mkdir()
    program.write_text(SKOPEO)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return tmp_path


def images_in(checkout: Path) -> list[tuple[str, str]]:
    """Return each image with its digest, wherever it stands."""
    files = [path for pattern in FILES for path in checkout.glob(pattern)]
    return [found for path in files for found in IMAGE.findall(path.read_text())]


def test_every_image_gets_one_digest_everywhere(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hash of its manifest; a later run replaces it, and changes nothing else."""
    before = {path: path.read_text() for path in checkout.rglob("*") if path.is_file()}
    digests = pin_images(checkout)
    first = images_in(checkout)
    monkeypatch.setenv("RELEASE", "2")
    pin_images(checkout)
    second = images_in(checkout)

    nginx = hashlib.sha256(b"docker://docker.io/library/nginx:1.28").hexdigest()
    assert digests["docker.io/library/nginx:1.28"] == f"sha256:{nginx}"
    assert {image for image, _ in first} == set(digests)
    assert len(first) > len(set(first)) == len(digests) >= 6
    assert all(digest == f"@{digests[image]}" for image, digest in first)
    assert not {digest for _, digest in first} & {digest for _, digest in second}
    for path, text in before.items():
        assert re.sub(r"@sha256:[0-9a-f]{64}", "", path.read_text()) == re.sub(
            r"@sha256:[0-9a-f]{64}", "", text
        )


def test_without_one_of_them_nothing_is_written(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that name old and new images would fit nothing that was tried."""
    before = images_in(checkout)
    monkeypatch.setenv("REFUSED", before[-1][0])

    with pytest.raises(NotPinned, match="manifest unknown"):
        pin_images(checkout)

    assert images_in(checkout) == before
