"""One build from approval to files on the disk: ask, follow, download, check."""

import base64
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from .connection import HTTP_ACCEPTED, HTTP_OK, ClientError, Server
from .terminal import Terminal, size

PROVENANCE = "provenance.intoto.jsonl"
SKIP = {"skip_package_resolution": "true"}


def preview(server: Server, request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a request would lead to; raise ClientError where it cannot be previewed."""
    found: Mapping[str, Any] = server.expect("/api/v1/build/prepare", request)
    return found


def build(server: Server, prepared: Mapping[str, Any], terminal: Terminal) -> Mapping[str, Any]:
    """Build a prepared request, follow it, and return the finished answer."""
    answer = server.ask("/api/v1/build", prepared, **SKIP)
    if answer.status == HTTP_OK:
        return answer.body
    if answer.status != HTTP_ACCEPTED:
        raise ClientError(answer.detail)
    return follow(server, answer.body["request_hash"], terminal)


def follow(
    server: Server, key: str, terminal: Terminal, *, shows_log: bool = False
) -> Mapping[str, Any]:
    """Show a build's progress until it has ended; return its answer, or raise ClientError."""
    for event in server.events(key):
        if event.name == "log":
            if shows_log:
                for line in event.data.get("lines", []):
                    terminal.line(line)
            else:
                terminal.progress(f"{key[:12]}  {(event.data.get('lines') or [''])[-1]}")
        elif event.name == "end":
            terminal.progress("")
            if event.data.get("status") != HTTP_OK:
                raise ClientError(str(event.data.get("detail", "the build failed")))
            return event.data
        else:
            terminal.progress(f"{key[:12]}  {_progress(event.data)}")
    raise ClientError("the server stopped sending the build's progress")


def _progress(state: Mapping[str, Any]) -> str:
    if "queue_position" not in state:
        return str(state.get("imagebuilder_status", state.get("detail", ""))).replace("_", " ")
    eta = f", about {state['eta_seconds']:.0f} s" if state.get("eta_seconds") else ""
    notice = f". {state['notice']}" if state.get("notice") else ""
    return f"{state['queue_position']} builds before this one{eta}{notice}"


def download(
    server: Server,
    answer: Mapping[str, Any],
    directory: Path,
    terminal: Terminal,
    *,
    everything: bool = False,
) -> list[Path]:
    """Download and check the sysupgrade images of a finished build; return the files.

    Without a sysupgrade image, and with `everything`, all images are taken.
    """
    images = answer["images"]
    upgrades = [image for image in images if "sysupgrade" in image.get("type", "")]
    chosen = images if everything or not upgrades else upgrades
    base, files = f"/store/{answer['bin_dir']}/", []
    directory.mkdir(parents=True, exist_ok=True)
    promised = _provenance(server, base)
    for image in chosen:
        name = image["name"]
        if "/" in name or name.startswith("."):
            raise ClientError(f'the server names a file "{name}", which is no file name')
        if promised is not None and promised.get(name) != image["sha256"]:
            raise ClientError(f"{name}: the answer and the provenance name different files")
        file = directory / name
        server.download(base + name, file, image["sha256"], partial(_show, terminal, name))
        files.append(file)
    terminal.progress("")
    return files


def _show(terminal: Terminal, name: str, done: int, total: int) -> None:
    terminal.progress(f"{name}  {size(done)} of {size(total)}")


def _provenance(server: Server, base: str) -> dict[str, str] | None:
    """Return the SHA-256 of each file that the build's provenance names; None without one.

    This compares the server's own statements. Who signed them is for `asu verify --key`.
    """
    answer = server.ask(base + PROVENANCE)
    if answer.status != HTTP_OK:
        return None
    try:
        statement = json.loads(base64.b64decode(answer.body["payload"]))
        return {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
    except (ValueError, KeyError, TypeError):
        raise ClientError("the provenance of this build cannot be read") from None
