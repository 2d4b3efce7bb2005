"""The page of one build: what its template shows of the answer to a poll."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from asu.stores.manifest import PublishedFile

from .templating import device_name

# The steps that pollers see, what a person calls them, and the command whose seconds they took.
STEPS = (
    ("container_setup", "Get the ImageBuilder", "setup"),
    ("validate_revision", "Read what it can build", "info"),
    ("validate_manifest", "Install the packages", "manifest"),
    ("building_image", "Make the image", "image"),
    ("signing_images", "Sign and publish it", ""),
)
ADVICE = {
    "user": "The selection cannot be built as it is. Change it and try again.",
    "upstream": "OpenWrt's servers, or another server that packages come from, did not deliver. "
    "Nothing is wrong with your selection; try again later.",
    "infra": "This server made the mistake. Nothing is wrong with your selection; try again later, "
    "and show the operator this page if it happens again.",
}
# In the order in which they say why: what a package manager refuses, then what make reports.
_FAILING = tuple(
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        r"^.*(?:Cannot install|no such package|breaks:|conflict|No space left|too big).*$",
        r"^.*(?:ERROR|[Ee]rror:|Killed|failed).*$",
        r"^make(?:\[\d+\])?: \*\*\* .*$",
    )
)
# What makes a selection; the rest of a request is the server's to find again.
_ASKED = ("version", "target", "profile", "filesystem", "rootfs_size_mb", "diff_packages")
_ABSENT: Mapping[str, Any] = {
    **dict.fromkeys(("notice", "build_at", "version_code", "builder_digest", "provenance"), ""),
    **dict.fromkeys(("bin_dir", "code", "fault"), ""),
    "eta_seconds": None,
    "queue_position": 0,
}
_SELECTION = ("target", "profile", "filesystem", "rootfs_size_mb")


@dataclass(frozen=True, slots=True)
class Output:
    """An output around the line that says why it failed, which is empty where none does."""

    before: str
    failing: str
    after: str


def marked(text: str) -> Output:
    """Find the line of an output that says why the build failed."""
    for pattern in _FAILING:
        if found := pattern.search(text):
            return Output(text[: found.start()], found[0], text[found.end() :])
    return Output(text, "", "")


def selection(request: Mapping[str, Any]) -> str:
    """Return a request as the fragment of `/upgrade`, without its version: for a later release."""
    fields = {name: request[name] for name in _SELECTION if request.get(name)}
    fields |= {"from_version": request.get("version", "")}
    fields |= {"packages": " ".join(request.get("packages") or ())}
    if request.get("diff_packages"):
        fields["diff_packages"] = "on"
    return urlencode({name: value for name, value in fields.items() if value})


def build_view(body: Mapping[str, Any], files: Sequence[PublishedFile]) -> dict[str, Any]:
    """Return what the template shows of an answer; `files` are those of a finished build."""
    request = body.get("request") or {}
    status = body.get("status")
    state = {200: "done", 202: "queued"}.get(status if isinstance(status, int) else 0, "failed")
    if body.get("detail") == "started":
        state = "running"
    sizes = {file.name: file.size for file in files}
    images = [{**image, "size": sizes.get(image["name"])} for image in body.get("images") or ()]
    is_upgrade = [image.get("type", "").endswith("sysupgrade") for image in images]
    return {
        "state": state,
        "key": body.get("request_hash", ""),
        "body": {**_ABSENT, **body},
        "request": {**dict.fromkeys(_ASKED, ""), **request},
        "packages": request.get("packages") or (),
        "device": device_name(body.get("titles") or (), str(request.get("profile", ""))),
        "steps": _steps(body) if state == "running" else (),
        "attempts": [{"code": "", **each} for each in body.get("attempts") or ()],
        "upgrades": [each for each, yes in zip(images, is_upgrade, strict=True) if yes],
        "others": [each for each, yes in zip(images, is_upgrade, strict=True) if not yes],
        "manifest": body.get("manifest") or {},
        "problems": [{"suggestion": None, **each} for each in body.get("problems") or ()],
        "advice": ADVICE.get(str(body.get("fault")), ""),
        "outputs": [
            (name, marked(text))
            for name in ("stderr", "stdout")
            if (text := str(body.get(name) or "").strip())
        ],
        "selection": selection(request),
        # A script never leaves the server, so without it the build would be another one.
        "can_rebuild": bool(request) and not isinstance(request.get("defaults"), str),
    }


def _steps(body: Mapping[str, Any]) -> list[tuple[str, str, float | None]]:
    """Return name, state (done, now, later) and seconds of each step of a running build."""
    words = [word for word, _, _ in STEPS]
    step, took = body.get("imagebuilder_status"), body.get("make_seconds") or {}
    now = words.index(step) if step in words else 0
    return [
        (name, "done" if at < now else "now" if at == now else "later", took.get(command))
        for at, (_, name, command) in enumerate(STEPS)
    ]
