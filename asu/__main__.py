"""`asu`: a client on a laptop, the two processes of a server, and the commands of its operator.

The client needs the standard library only; the commands of a server are imported when they run.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from . import __version__
from .client import commands as client
from .client.arguments import add_client_commands

USAGE_ERROR = 64  # As sysexits.h; 1 to 3 are answers of commands.


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes do not end like `asu prepare`, for which 2 means changes."""

    def error(self, message: str) -> NoReturn:
        """End with the usage and what is wrong with it."""
        self.print_usage(sys.stderr)
        self.exit(USAGE_ERROR, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command."""
    options = command_parser().parse_args(arguments)
    if options.command in client.COMMANDS:
        raise SystemExit(client.run(options))
    try:
        from . import server_commands  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise SystemExit(
            f"asu {options.command} needs the server, of which {error.name} is missing:"
            " install asu[server]"
        ) from None
    server_commands.run(options)


def command_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; `command` in its result names the one to run."""
    parser = Parser(
        prog="asu",
        description="OpenWrt firmware images on demand: preview, build and download, or serve.",
        epilog="Commands of a server read their settings from the environment and asu.toml.",
    )
    parser.add_argument("--version", action="version", version=f"asu {__version__}")
    parsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_client_commands(parsers)
    _add_server_commands(parsers)
    return parser


def _add_server_commands(parsers: "argparse._SubParsersAction[Parser]") -> None:
    api = parsers.add_parser("api", help="server: answer requests")
    parsers.add_parser("worker", help="server: build images, one at a time")
    check = parsers.add_parser(
        "check", help="server: say what is wrong and what to do; ends with 1 if there is a problem"
    )
    for process in (api, check):
        process.add_argument("--host", default="127.0.0.1", help="address of the API")
        process.add_argument("--port", type=int, default=8000, help="port of the API")
    check.add_argument(
        "--part",
        choices=["all", "api", "worker"],
        default="all",
        help="what this machine has of a server (default: all)",
    )
    check.add_argument("--json", action="store_true", help="answer in JSON")
    check.add_argument(
        "--seconds", type=float, default=5.0, help="longest time of each check (default: 5)"
    )
    parsers.add_parser("alive", help="server: end with 0 if a worker lives here (health check)")
    parsers.add_parser("openapi", help="server: print the OpenAPI document")
    parsers.add_parser("sweep", help="server: tidy once, as workers do all the time")
    parsers.add_parser(
        "recover", help="server: make lost records of finished builds again from the store"
    )
    key = parsers.add_parser("key", help="server: make a key to sign images with")
    key.add_argument(
        "path",
        type=Path,
        help=(
            "file of the secret key, for BUILD_KEY; PATH.pub is for devices, PATH.ucert for images"
        ),
    )
    rebuild = parsers.add_parser(
        "rebuild", help="server: build a published image once more; ends with 1 if it differs"
    )
    rebuild.add_argument(
        "build", metavar="KEY", help="key of the build, its directory in the store"
    )
    rebuild.add_argument(
        "--verify",
        action="store_true",
        required=True,
        help="compare with what is published; there is no other way to rebuild",
    )
    verify = parsers.add_parser(
        "verify", help="check images against their provenance; ends with 1 if they differ"
    )
    verify.add_argument("place", help="directory, provenance file or https://HOST/store/KEY/")
    verify.add_argument(
        "files", type=Path, nargs="*", help="files to check instead of all beside the provenance"
    )
    verify.add_argument("--key", type=Path, help="public key (usign) that must have signed it")


if __name__ == "__main__":
    main()
