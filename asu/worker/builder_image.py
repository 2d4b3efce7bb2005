"""The container image of an ImageBuilder: its name, and what it means when it cannot be pulled.

podman answers a pull with lines of JSON, mostly with status 200; the outcome is a line with an id,
or with an error.
"""

import json
import logging
import queue
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from asu.errors import AsuError, BuildTimeout, ContainerFailed, ImageBuilderMissing
from asu.resolution import Version

log = logging.getLogger(__name__)

# How registries say that there is no such tag or repository; some refuse access to hide the latter.
# All other errors, such as a full disk, say nothing about the ImageBuilder.
_NO_SUCH_IMAGE = re.compile(
    r"manifest unknown|name unknown|repository \S* ?not found"
    r"|unexpected HTTP status: 40[34]|StatusCode: 40[34]"
    r"|access to the (requested )?resource is (denied|not authorized)"
    r"|reading manifest \S+ in \S+: (denied|unauthorized)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderImage:
    """A container image with the ImageBuilder of one version and target.

    The tags of snapshots move, so a name may lead to another image a minute later. A pinned image
    has podman's `id` and the `digest` of its manifest, `sha256:` and 64 hexadecimal digits.
    `may_be_old` means that a newer image may exist: it could not be pulled, or was not to be.
    """

    name: str
    version: str
    target: str
    is_moving: bool = False
    id: str = ""
    digest: str = ""
    may_be_old: bool = False

    def missing(self) -> ImageBuilderMissing:
        """Return the error that there is no such image; it says when to look again."""
        again = datetime.now(UTC) + timedelta(seconds=ImageBuilderMissing.retry_after)
        return ImageBuilderMissing(
            version=self.version, target=self.target, again=again.strftime("%H:%M UTC on %Y-%m-%d")
        )


def builder_image(base: str, request: Mapping[str, Any]) -> BuilderImage:
    """Return the image that a request needs, such as `BASE:ath79-generic-v24.10.4`, not pinned."""
    version = Version.parse(request["version"])
    if version.is_development:
        tag = "master"
    elif version.is_snapshot:
        tag = f"openwrt-{version.branch}"
    else:
        tag = f"v{version}"
    return BuilderImage(
        name=f"{base}:{request['target'].replace('/', '-')}-{tag}",
        version=request["version"],
        target=request["target"],
        is_moving=version.is_snapshot,
    )


def pull(ask: Callable[[], str], image: BuilderImage, *, deadline: int) -> None:
    """Pull an image for at most `deadline` seconds; `ask` returns podman's whole answer.

    Raises ImageBuilderMissing, ContainerFailed and BuildTimeout.
    """
    answers: queue.SimpleQueue[str] = queue.SimpleQueue()
    # A connection's timeout starts over with each byte from podman. A thread can be left behind.
    threading.Thread(target=lambda: answers.put(ask()), daemon=True).start()
    try:
        answer = answers.get(timeout=deadline)
    except queue.Empty:
        raise BuildTimeout(step="fetching the ImageBuilder", seconds=deadline) from None
    error = failure(answer, image)
    if error:
        log.warning("pulling %s: %s", image.name, answer[-1000:])  # Its last lines are the reason.
        raise error


def failure(answer: str, image: BuilderImage) -> AsuError | None:
    """Return what the answer to a pull means: None when the image is there."""
    lines = [_parsed(line) for line in answer.splitlines()]
    if any(line.get("id") and not line.get("error") for line in lines):
        return None
    reasons = [str(line.get(name, "")) for line in lines for name in ("error", "cause", "message")]
    if any(_NO_SUCH_IMAGE.search(reason) for reason in reasons):
        return image.missing()
    return ContainerFailed(reason="the ImageBuilder's image cannot be pulled")


def _parsed(line: str) -> dict[str, object]:
    try:
        parsed = json.loads(line)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
