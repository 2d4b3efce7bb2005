"""What each command of the command line does. Each returns the exit code."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from .building import build, download, follow, preview
from .connection import HTTP_ACCEPTED, HTTP_OK, ClientError, Server
from .inventory import build_groups, grouped, read_inventory, show_groups
from .node import inspect, read_node
from .preview_words import PROBLEMS, UNCHANGED, exit_code, show_preview
from .terminal import BOLD, DIM, RED, Terminal

FAILED = 1


def run(options: argparse.Namespace) -> int:
    """Run the command that was named; failures become one line on standard error."""
    terminal = Terminal()
    try:
        return COMMANDS[options.command](options, terminal)
    except ClientError as error:
        terminal.note(f"asu {options.command}: {error}")
        return FAILED
    except KeyboardInterrupt:
        terminal.note("Stopped here. The server goes on; `asu status KEY` shows the build.")
        return FAILED


def _server(options: argparse.Namespace) -> Server:
    address = options.server or os.environ.get("ASU_SERVER")
    if not address:
        raise ClientError("which server? Give --server URL or set ASU_SERVER")
    return Server(address)


def _versions(options: argparse.Namespace, terminal: Terminal) -> int:
    latest = _server(options).expect("/json/v1/latest.json")
    for version in latest.get("versions") or latest["latest"]:
        terminal.line(version, BOLD if version in latest["latest"] else "")
    return UNCHANGED


def _devices(options: argparse.Namespace, terminal: Terminal) -> int:
    query = {"q": " ".join(options.words), **({"version": options.to} if options.to else {})}
    found = _server(options).expect("/api/v1/devices", **query)["devices"]
    if options.json:
        return _print_json(found)
    terminal.table(
        [("device", "target", "profile", "releases")]
        + [
            (
                device["title"],
                device["target"],
                device["profile"],
                ", ".join(release["version"] for release in device["releases"]),
            )
            for device in found
        ]
    )
    return UNCHANGED if found else FAILED


def _packages(options: argparse.Namespace, terminal: Terminal) -> int:
    server = _server(options)
    where = server.expect("/api/v1/devices", q=options.device, version=options.to)["devices"]
    if not where:
        raise ClientError(f'no device "{options.device}" in {options.to}; `asu devices` searches')
    found = server.expect(
        "/api/v1/packages",
        q=" ".join(options.words),
        version=options.to,
        target=where[0]["target"],
    )["packages"]
    if options.json:
        return _print_json(found)
    terminal.table(
        (entry["name"], entry["version"], entry.get("description") or "") for entry in found
    )
    return UNCHANGED if found else FAILED


def _inspect(options: argparse.Namespace, _: Terminal) -> int:
    sys.stdout.write(inspect(options.host).as_json())
    return UNCHANGED


def _prepare(options: argparse.Namespace, terminal: Terminal) -> int:
    found = preview(_server(options), _request(options))
    if options.json:
        _print_json(found)
    else:
        show_preview(terminal, found)
    return exit_code(found)


def _build(options: argparse.Namespace, terminal: Terminal) -> int:
    server = _server(options)
    found = preview(server, _request(options))
    show_preview(terminal, found)
    if exit_code(found) == PROBLEMS:
        raise ClientError("this selection cannot be built; see the problems above")
    if not (options.yes or terminal.agrees("Build it?")):
        return FAILED
    answer = build(server, found["prepared_request"], terminal)
    return _save(server, answer, options, terminal)


def _download(options: argparse.Namespace, terminal: Terminal) -> int:
    server = _server(options)
    for key in options.keys:
        _save(server, _finished(server, key), options, terminal)
    return UNCHANGED


def _fleet(options: argparse.Namespace, terminal: Terminal) -> int:
    server, nodes = _server(options), read_inventory(options.inventory)
    groups, refused = grouped(server, nodes, options.to, options.ignore)
    if not groups:
        raise ClientError("; ".join(f"{name}: {reason}" for name, reason in refused.items()))
    show_groups(terminal, groups, refused)
    if not (options.yes or terminal.agrees(f"Build {len(groups)} images?")):
        return FAILED
    failed = build_groups(server, groups, options.output, terminal)
    for key, reason in failed.items():
        terminal.line(f"! {key[:12]}: {reason}", RED)
    has_problems = any(exit_code(group.preview) == PROBLEMS for group in groups)
    return FAILED if failed else PROBLEMS if has_problems or refused else UNCHANGED


def _status(options: argparse.Namespace, terminal: Terminal) -> int:
    server, rows = _server(options), [("build", "state", "")]
    for key in options.keys:
        answer = server.build(key)
        step = answer.body.get("imagebuilder_status") or answer.body.get("queue_position", "")
        rows.append((key[:12], answer.detail, str(step)))
    terminal.table(rows)
    return UNCHANGED


def _log(options: argparse.Namespace, terminal: Terminal) -> int:
    server = _server(options)
    for key in options.keys:
        answer = server.build(key)
        if answer.status == HTTP_ACCEPTED:
            follow(server, str(answer.body["request_hash"]), terminal, shows_log=True)
            continue
        for name in ("stdout", "stderr"):
            for line in str(answer.body.get(name) or "").splitlines():
                terminal.line(line, DIM if name == "stdout" else "")
        if answer.status != HTTP_OK:
            raise ClientError(answer.detail)
    return UNCHANGED


def _diff(options: argparse.Namespace, terminal: Terminal) -> int:
    found = _server(options).expect(f"/api/v1/build/{options.old}/diff/{options.new}")
    if options.json:
        return _print_json(found)
    packages = found["packages"]
    for name, version in packages["added"].items():
        terminal.line(f"+ {name} {version}")
    for name, version in packages["removed"].items():
        terminal.line(f"- {name} {version}")
    for name, change in packages["changed"].items():
        terminal.line(f"~ {name} {change['old']} -> {change['new']}")
    for field, change in found["request"].items():
        terminal.line(f"{field}: {json.dumps(change['old'])} -> {json.dumps(change['new'])}")
    return UNCHANGED


def _request(options: argparse.Namespace) -> Mapping[str, Any]:
    return read_node(options.node).request(options.to, ignore=options.ignore)


def _finished(server: Server, key: str) -> Mapping[str, Any]:
    answer = server.build(key)
    if answer.status != HTTP_OK:
        raise ClientError(f"{key}: {answer.detail}")
    return answer.body


def _save(
    server: Server, answer: Mapping[str, Any], options: argparse.Namespace, terminal: Terminal
) -> int:
    for file in download(server, answer, options.output, terminal, everything=options.all):
        terminal.line(str(file))
    terminal.note(f"{server.url}/build/{answer['request_hash']}")
    return UNCHANGED


def _print_json(value: Any) -> int:
    sys.stdout.write(plain_json(value))
    return UNCHANGED


def plain_json(value: Any) -> str:
    """Return JSON that cannot steer a terminal: everything beyond ASCII is escaped."""
    return json.dumps(value, indent=2, ensure_ascii=True) + "\n"


COMMANDS: Mapping[str, Callable[[argparse.Namespace, Terminal], int]] = {
    "versions": _versions,
    "devices": _devices,
    "packages": _packages,
    "inspect": _inspect,
    "prepare": _prepare,
    "build": _build,
    "download": _download,
    "fleet": _fleet,
    "status": _status,
    "log": _log,
    "diff": _diff,
}
