"""Pulling an ImageBuilder's image with podman: how long it may take, and what it means when it fails.

podman answers a pull with lines of JSON, mostly with status 200 whatever comes of it: the outcome
is a line with an id, or with an error.
"""

import json
import logging
import queue
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from asu.errors import AsuError, BuildTimeout, ContainerFailed, ImageBuilderMissing

log = logging.getLogger(__name__)

# How registries say that there is no such tag, or no such repository: some hide the latter behind a
# refusal. All else, such as a registry that does not answer or a full disk, is no news about the
# ImageBuilder.
_NO_SUCH_IMAGE = re.compile(
    r"manifest unknown|name unknown|repository \S* ?not found|unexpected HTTP status: 40[34]|StatusCode: 40[34]"
    r"|access to the (requested )?resource is (denied|not authorized)|reading manifest \S+ in \S+: (denied|unauthorized)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderImage:
    """A container image with an ImageBuilder, and for which version and target it is; upstream moves the tags of snapshots.

    What a name leads to may be another image a minute later. A pinned one has `id`, by which podman
    knows it for good, and `digest`, by which everybody does: that of its manifest, `sha256:` and 64
    hexadecimal digits. With `may_be_old` it is the copy that was at hand, since nobody could be
    asked, or was to be asked, whether there is a newer one.
    """

    name: str
    version: str
    target: str
    is_moving: bool = False
    id: str = ""
    digest: str = ""
    may_be_old: bool = False

    def missing(self) -> ImageBuilderMissing:
        """Return the error that there is no such image, which says when to look again."""
        again = datetime.now(UTC) + timedelta(seconds=ImageBuilderMissing.retry_after)
        return ImageBuilderMissing(
            version=self.version, target=self.target, again=again.strftime("%H:%M UTC on %Y-%m-%d")
        )


def pull(ask: Callable[[], str], image: BuilderImage, *, deadline: int) -> None:
    """Pull an image by asking podman for it; raises ImageBuilderMissing, ContainerFailed, and BuildTimeout after so many seconds."""
    answers: queue.SimpleQueue[str] = queue.SimpleQueue()
    # A thread of its own can be left behind: a timeout of the connection begins anew with each byte
    # that podman sends.
    threading.Thread(target=lambda: answers.put(ask()), daemon=True).start()
    try:
        answer = answers.get(timeout=deadline)
    except queue.Empty:
        raise BuildTimeout(step="podman pull", seconds=deadline) from None
    error = failure(answer, image)
    if error:
        log.warning("pulling %s: %s", image.name, answer[-1000:])  # Its last lines are the reason.
        raise error


def failure(answer: str, image: BuilderImage) -> AsuError | None:
    """Return what the answer to a pull means: None when the image is there."""
    lines = [_parsed(line) for line in answer.splitlines()]
    if any(line.get("id") and not line.get("error") for line in lines):
        return None
    if any(
        _NO_SUCH_IMAGE.search(str(line.get(name, "")))
        for line in lines
        for name in ("error", "cause", "message")
    ):
        return image.missing()
    return ContainerFailed(reason="the ImageBuilder's image cannot be pulled")


def _parsed(line: str) -> dict[str, object]:
    try:
        parsed = json.loads(line)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
