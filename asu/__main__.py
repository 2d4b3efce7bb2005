"""`asu api` and `asu worker`, the processes of the build service, and the commands of its operator.

`asu check` says what is wrong with a server and what to do, `asu alive` whether the worker of this
container lives, `asu sweep` tidies once, `asu recover` makes lost records from the store, `asu
key` makes the key that images are signed with, `asu verify` checks images against their provenance,
`asu rebuild` builds once more what is in the store and compares, `asu openapi` prints the API's
description. Each imports what it needs when it runs: no process loads the libraries of another.
"""

import argparse
import gc
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from .errors import AsuError
from .logs import configure_logging
from .settings import Settings, UnusableSettings, read_settings


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one of the processes until SIGTERM or SIGINT, or a command to its end."""
    options = _options(arguments)
    if options.process == "key":
        _make_key(options.path)
        return
    if options.process == "verify":
        from .provenance.verify_command import run_verify  # noqa: PLC0415

        run_verify(options.place, options.files, options.key)
        return
    try:
        settings = read_settings()
    except UnusableSettings as error:
        _refuse(error, is_check=options.process == "check", as_json=getattr(options, "json", False))
    configure_logging(settings.log_level, settings.log_format)
    _COMMANDS[options.process](settings, options)


def _run_api(settings: Settings, options: argparse.Namespace) -> None:
    import uvicorn  # noqa: PLC0415

    from .app import create_app  # noqa: PLC0415
    from .web.server import server_options  # noqa: PLC0415

    app = create_app(settings)
    # A full collection walks through every object of the modules, 75 000 of them, and holds all
    # polls up for 22 ms; what lives as long as the process need not be looked at again. `make
    # bench` shows it in the slowest polls.
    gc.collect()
    gc.freeze()
    uvicorn.run(app, host=options.host, port=options.port, **server_options(settings))


def _run_worker(settings: Settings, _: argparse.Namespace) -> None:
    from .worker.process import run_worker  # noqa: PLC0415

    run_worker(settings)


def _alive(settings: Settings, _: argparse.Namespace) -> None:
    from .worker.process import expect_live_worker  # noqa: PLC0415

    expect_live_worker(settings)


def _refuse(error: UnusableSettings, *, is_check: bool, as_json: bool) -> NoReturn:
    """End with a line for each mistake in the settings."""
    if is_check:
        from .checking.check_command import in_json, in_words  # noqa: PLC0415
        from .checking.findings import Finding, Level  # noqa: PLC0415

        advice = "Correct it in the environment or in ASU_CONFIG's file; nothing else was checked."
        findings = [
            Finding(name="settings", level=Level.PROBLEM, detail=mistake, advice=advice)
            for mistake in error.mistakes
        ]
        sys.stdout.write((in_json if as_json else in_words)(findings))
        raise SystemExit(1)
    raise SystemExit("\n".join(f"asu: {mistake}" for mistake in error.mistakes))


def _check(settings: Settings, options: argparse.Namespace) -> None:
    from .checking.check_command import checks_for, in_json, in_words  # noqa: PLC0415
    from .checking.findings import has_problems, run_checks  # noqa: PLC0415
    from .checking.isolation import PATIENCE  # noqa: PLC0415

    checks = checks_for(settings, part=options.part, host=options.host, port=options.port)
    findings = run_checks(checks, longer={"isolation": PATIENCE})
    sys.stdout.write((in_json if options.json else in_words)(findings))
    if has_problems(findings):
        raise SystemExit(1)


@contextmanager
def _told(command: str) -> Iterator[None]:
    """End with the words of an error of ours instead of a traceback."""
    try:
        yield
    except AsuError as error:
        raise SystemExit(f"asu {command}: {error.detail}") from error


def _sweep(settings: Settings, _: argparse.Namespace) -> None:
    from .worker.process import sweep_once  # noqa: PLC0415

    with _told("sweep"):
        swept = sweep_once(settings)
    sys.stdout.write(swept.in_words())
    if swept.troubles:
        raise SystemExit(1)


def _recover(settings: Settings, _: argparse.Namespace) -> None:
    from .worker.process import recover_once  # noqa: PLC0415

    with _told("recover"):
        sys.stdout.write(recover_once(settings).in_words())


def _rebuild(settings: Settings, options: argparse.Namespace) -> None:
    from .worker.process import rebuild_once  # noqa: PLC0415
    from .worker.rebuilding import CannotRebuild  # noqa: PLC0415

    try:
        with _told("rebuild"):
            comparison = rebuild_once(settings, options.build)
    except CannotRebuild as error:
        raise SystemExit(f"asu rebuild: {error}") from error
    sys.stdout.write(comparison.in_words())
    if comparison.differs:
        raise SystemExit(1)


def _print_openapi(settings: Settings, _: argparse.Namespace) -> None:
    from .app import create_app  # noqa: PLC0415

    sys.stdout.write(json.dumps(create_app(settings).openapi(), indent=2, sort_keys=True) + "\n")


def _make_key(path: Path) -> None:
    from .keys.usign import UnusableKey  # noqa: PLC0415
    from .worker.signing_key import make_signing_key  # noqa: PLC0415

    try:
        made = make_signing_key(path)
    except UnusableKey as error:
        raise SystemExit(f"asu key: {error}") from error
    sys.stdout.write("".join(f"{file}\n" for file in made))


_COMMANDS: Mapping[str, Callable[[Settings, argparse.Namespace], None]] = {
    "api": _run_api,
    "worker": _run_worker,
    "alive": _alive,
    "check": _check,
    "sweep": _sweep,
    "recover": _recover,
    "rebuild": _rebuild,
    "openapi": _print_openapi,
}


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="asu",
        description="OpenWrt firmware on demand; settings are in the environment and asu.toml.",
    )
    processes = parser.add_subparsers(dest="process", required=True)
    api = processes.add_parser("api", help="answer requests")
    api.add_argument("--host", default="127.0.0.1", help="address to listen on")
    api.add_argument("--port", type=int, default=8000, help="port to listen on")
    processes.add_parser("worker", help="build images, one at a time")
    processes.add_parser(
        "alive",
        help="for health checks: exit with 0 if a worker lives here, as far as Redis knows",
    )
    processes.add_parser("openapi", help="print the OpenAPI document and end")
    check = processes.add_parser(
        "check",
        help="say what is wrong with this server, and what to do; exit with 1 if anything is",
    )
    check.add_argument(
        "--part",
        choices=["all", "api", "worker"],
        default="all",
        help="what this machine has of a server (default: all)",
    )
    check.add_argument("--host", default="127.0.0.1", help="address that the API listens on")
    check.add_argument("--port", type=int, default=8000, help="port that the API listens on")
    check.add_argument("--json", action="store_true", help="answer in JSON")
    processes.add_parser(
        "sweep", help="tidy once, as workers do all the time, and say what was done"
    )
    processes.add_parser(
        "recover",
        help="after Redis lost its data: make the records of finished builds from the store",
    )
    key = processes.add_parser("key", help="make a key to sign images with, and its certificate")
    key.add_argument(
        "path",
        type=Path,
        help="file of the secret key, for BUILD_KEY; PATH.pub is for devices",
    )
    rebuild = processes.add_parser(
        "rebuild",
        help="build once more, publish nothing, and compare; exit with 1 if an image differs",
    )
    rebuild.add_argument(
        "build", metavar="KEY", help="key of the build: its directory in the store"
    )
    rebuild.add_argument(
        "--verify",
        action="store_true",
        required=True,
        help="compare with what is published; there is no other way to rebuild",
    )
    verify = processes.add_parser(
        "verify",
        help="check images against their provenance; exit with 1 if they differ",
    )
    verify.add_argument(
        "place",
        help="the build's directory or its provenance, as path or URL: https://HOST/store/KEY/",
    )
    verify.add_argument(
        "files",
        type=Path,
        nargs="*",
        help="files to check instead of all that lie beside the provenance",
    )
    verify.add_argument("--key", type=Path, help="public key (usign) that must have signed it")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
