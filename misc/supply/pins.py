"""Pin the container images that the deployment files name to what their tags hold today.

A tag may lead to another image tomorrow; a digest cannot. `name:tag` becomes `name:tag@sha256:...`,
and a digest that is there already is replaced. skopeo asks the registries.
"""

import hashlib
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = (
    "Containerfile",
    "asu-prepare/Containerfile",
    ".env.example",
    "podman-compose*.yml",
    "misc/quadlet/*.container",
    "misc/kubernetes/*.yaml",
)
SECONDS = 120
# A name with a registry and a tag, and the digest that may follow.
IMAGE = re.compile(
    r"\b((?:docker|quay|ghcr)\.io/[a-z0-9./_-]+:[A-Za-z0-9._-]+)(@sha256:[0-9a-f]{64})?"
)


class NotPinned(Exception):
    """An image has no digest that could be written down; the message says which and why."""


def pin_images(root: Path = ROOT) -> dict[str, str]:
    """Write the digests into the files below `root`; return them by image.

    Nothing is written unless every image has one. Raises NotPinned.
    """
    files = sorted({path for pattern in FILES for path in root.glob(pattern)})
    texts = {path: path.read_text(encoding="utf-8") for path in files}
    images = {match[1] for text in texts.values() for match in IMAGE.finditer(text)}
    digests = {str(image): _digest_of(image) for image in sorted(images)}
    for path, text in texts.items():
        pinned = IMAGE.sub(lambda match: f"{match[1]}@{digests[match[1]]}", text)
        path.write_text(pinned, encoding="utf-8")
    return digests


def _digest_of(image: str) -> str:
    """Return the digest of what the tag leads to: a list of all architectures, where there is one.

    It is the hash of the manifest as the registry sends it, and nothing is pulled.
    """
    command = ["skopeo", "inspect", "--raw", f"docker://{image}"]
    try:
        done = subprocess.run(command, check=False, capture_output=True, timeout=SECONDS)
    except FileNotFoundError:
        raise NotPinned("skopeo is missing; install it: apt-get install skopeo") from None
    except subprocess.TimeoutExpired:
        raise NotPinned(f"{image}: no answer within {SECONDS} s") from None
    if done.returncode:
        raise NotPinned(f"{image}: {done.stderr.decode(errors='replace').strip()}")
    return f"sha256:{hashlib.sha256(done.stdout).hexdigest()}"
