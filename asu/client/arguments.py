"""The commands of the command line and their options."""

import argparse
from pathlib import Path
from typing import TypeVar

P = TypeVar("P", bound=argparse.ArgumentParser)


def add_client_commands(parsers: "argparse._SubParsersAction[P]") -> None:
    """Add each command of the client to a parser."""
    _command(parsers, "versions", "list the releases that can be built; bold ones are the newest")
    devices = _command(parsers, "devices", "search devices by vendor, model, board name or profile")
    devices.add_argument("words", nargs="+", metavar="WORD")
    devices.add_argument("--to", metavar="VERSION", help="only devices of this release")
    packages = _command(parsers, "packages", "search packages by name")
    packages.add_argument("words", nargs="+", metavar="WORD")
    packages.add_argument("--device", required=True, help="profile or board name of the device")
    packages.add_argument("--to", required=True, metavar="VERSION", help="the release")
    inspect = _command(parsers, "inspect", "read board and packages of a device over ssh")
    inspect.add_argument("host", metavar="HOST", help="as for ssh: root@192.168.1.1")
    prepare = _command(
        parsers,
        "prepare",
        "show what an upgrade would change; ends with 0 without changes, 2 with, 3 with problems",
    )
    _add_upgrade(prepare)
    build = _command(parsers, "build", "show what changes, ask, build, download and check")
    _add_upgrade(build)
    _add_output(build)
    _add_yes(build)
    fleet = _command(parsers, "fleet", "upgrade many devices: equal requests are built once")
    fleet.add_argument("inventory", type=Path, help="directory of what `asu inspect` wrote")
    _add_target(fleet)
    _add_output(fleet)
    _add_yes(fleet)
    download = _command(parsers, "download", "download and check the images of finished builds")
    _add_keys(download)
    _add_output(download)
    _add_keys(_command(parsers, "status", "show how far builds are"))
    _add_keys(_command(parsers, "log", "show what the ImageBuilder prints"))
    diff = _command(parsers, "diff", "compare packages and requests of two builds")
    diff.add_argument("old", metavar="KEY")
    diff.add_argument("new", metavar="KEY")
    for parser in (devices, packages, prepare, diff):
        parser.add_argument("--json", action="store_true", help="print JSON")


def _command(
    parsers: "argparse._SubParsersAction[P]", name: str, text: str
) -> argparse.ArgumentParser:
    parser = parsers.add_parser(name, help=text, description=text)
    if name != "inspect":
        parser.add_argument("--server", metavar="URL", help="the server (default: ASU_SERVER)")
    return parser


def _add_upgrade(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node", type=Path, help="what `asu inspect` wrote")
    _add_target(parser)


def _add_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--to", required=True, metavar="VERSION", help="the release to upgrade to")
    parser.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="RULE",
        help="leave out one change, by the rule that `asu prepare` names; may be repeated",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", type=Path, default=Path(), metavar="DIR", help="where files go"
    )
    parser.add_argument("--all", action="store_true", help="all images, not only sysupgrade")


def _add_yes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-y", "--yes", action="store_true", help="build without a question")


def _add_keys(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "keys", nargs="+", metavar="KEY", help="a build's key; its first twelve digits are enough"
    )
