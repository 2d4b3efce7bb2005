"""Many devices at once: equal requests are grouped, each group is built once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .building import SKIP, download, follow, preview
from .connection import HTTP_ACCEPTED, HTTP_OK, ClientError, Server
from .node import Node, read_node
from .preview_words import PROBLEMS, exit_code
from .terminal import Terminal


@dataclass(frozen=True, slots=True)
class Group:
    """Devices whose requests lead to the same image."""

    preview: Mapping[str, Any]
    nodes: Sequence[Node]

    @property
    def key(self) -> str:
        """The identity of the image."""
        return str(self.preview["request_hash"])


def read_inventory(directory: Path) -> list[Node]:
    """Read every `*.json` of a directory as a device, in the order of their names."""
    files = sorted(directory.glob("*.json"))
    if not files:
        raise ClientError(
            f"{directory} holds no *.json; `asu inspect HOST > {directory}/NAME.json`"
        )
    return [read_node(file) for file in files]


def grouped(
    server: Server, nodes: Sequence[Node], version: str, ignore: list[str]
) -> tuple[list[Group], dict[str, str]]:
    """Preview each device; return groups by identity, and for devices without one the reason."""
    found: dict[str, Group] = {}
    refused: dict[str, str] = {}
    for node in nodes:
        try:
            answer = preview(server, node.request(version, ignore=ignore))
        except ClientError as error:
            refused[node.name] = str(error)
            continue
        key = str(answer["request_hash"])
        known = found.get(key)
        found[key] = Group(answer, [*(known.nodes if known else []), node])
    return list(found.values()), refused


def show_groups(terminal: Terminal, groups: Sequence[Group], refused: Mapping[str, str]) -> None:
    """Print a table of groups, and below it each device that cannot be upgraded."""
    rows = [("image", "devices", "changes", "problems", "names")]
    rows += [
        (
            group.key[:12],
            str(len(group.nodes)),
            str(len(group.preview.get("changes") or [])),
            str(len(group.preview.get("problems") or [])),
            ", ".join(node.name for node in group.nodes),
        )
        for group in groups
    ]
    terminal.table(rows)
    for name, reason in refused.items():
        terminal.line(f"! {name}: {reason}")


def build_groups(
    server: Server, groups: Sequence[Group], directory: Path, terminal: Terminal
) -> dict[str, str]:
    """Build and download each group, write the checklist, and return what failed by identity.

    All builds are asked for before the first is followed, so they wait in line side by side.
    """
    failed: dict[str, str] = {}
    lines = []
    buildable = [group for group in groups if exit_code(group.preview) != PROBLEMS]
    for group in buildable:
        answer = server.ask("/api/v1/build", group.preview["prepared_request"], **SKIP)
        if answer.status not in {HTTP_OK, HTTP_ACCEPTED}:
            failed[group.key] = answer.detail
    for group in buildable:
        if group.key in failed:
            continue
        try:
            files = download(
                server, follow(server, group.key, terminal), directory / group.key[:12], terminal
            )
        except ClientError as error:
            failed[group.key] = str(error)
            continue
        lines += [f"[ ] {node.name}  {file}" for node in group.nodes for file in files]
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "checklist.txt").write_text("".join(f"{line}\n" for line in lines))
    for line in lines:
        terminal.line(line)
    return failed
