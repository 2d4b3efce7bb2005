"""`asu api` and `asu worker`, the processes of the build service, and the commands of its operator.

`asu check` says what is wrong with a server and what to do, `asu alive` whether the worker of this container lives, `asu sweep` tidies
once, `asu key` makes the key that images are signed with, `asu openapi` prints what the API says of itself.
"""

import argparse
import gc
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from .errors import AsuError
from .logs import configure_logging
from .settings import Settings, UnusableSettings, read_settings


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one of the processes until SIGTERM or SIGINT, or make a key."""
    options = _options(arguments)
    if options.process == "key":
        _make_key(options.path)
        return
    try:
        settings = read_settings()
    except UnusableSettings as error:
        _refuse(error, is_check=options.process == "check", as_json=getattr(options, "json", False))
    configure_logging(settings.log_level, settings.log_format)
    if options.process == "api":
        _run_api(settings, options.host, options.port)
    elif options.process == "openapi":
        _print_openapi(settings)
    elif options.process == "check":
        _check(settings, options)
    elif options.process == "sweep":
        _sweep(settings)
    elif options.process == "alive":
        from .worker.process import expect_live_worker  # noqa: PLC0415  # As below.

        expect_live_worker(settings)
    else:
        from .worker.process import run_worker  # noqa: PLC0415  # The API has no use for podman's and RQ's worker modules and saves their memory.

        run_worker(settings)


def _run_api(settings: Settings, host: str, port: int) -> None:
    import uvicorn  # noqa: PLC0415  # The worker has no use for it.

    from .app import create_app  # noqa: PLC0415
    from .serving import server_options  # noqa: PLC0415

    app = create_app(settings)
    # A full collection walks through every object of the modules, 75 000 of them, and holds all polls up for 22 ms; what lives as
    # long as the process need not be looked at again. `make bench` shows it in the slowest polls.
    gc.collect()
    gc.freeze()
    uvicorn.run(app, host=host, port=port, **server_options(settings))


def _refuse(error: UnusableSettings, *, is_check: bool, as_json: bool) -> NoReturn:
    """End with a line for each mistake in the settings."""
    if is_check:
        from .checking.command import in_json, in_words  # noqa: PLC0415
        from .checking.findings import Finding, Level  # noqa: PLC0415

        advice = "Correct it in the environment or in the file that ASU_CONFIG names; nothing else was checked."
        findings = [Finding(name="settings", level=Level.PROBLEM, detail=mistake, advice=advice) for mistake in error.mistakes]
        sys.stdout.write((in_json if as_json else in_words)(findings))
        raise SystemExit(1)
    raise SystemExit("\n".join(f"asu: {mistake}" for mistake in error.mistakes))


def _check(settings: Settings, options: argparse.Namespace) -> None:
    from .checking.command import checks_for, in_json, in_words  # noqa: PLC0415  # Only this command has a use for them.
    from .checking.findings import has_problems, run_checks  # noqa: PLC0415

    findings = run_checks(checks_for(settings, part=options.part, host=options.host, port=options.port))
    sys.stdout.write((in_json if options.json else in_words)(findings))
    if has_problems(findings):
        raise SystemExit(1)


def _sweep(settings: Settings) -> None:
    from .worker.process import sweep_once  # noqa: PLC0415

    try:
        swept = sweep_once(settings)
    except AsuError as error:
        raise SystemExit(f"asu sweep: {error.detail}") from error
    sys.stdout.write(swept.in_words())
    if swept.troubles:
        raise SystemExit(1)


def _print_openapi(settings: Settings) -> None:
    from .app import create_app  # noqa: PLC0415

    sys.stdout.write(json.dumps(create_app(settings).openapi(), indent=2, sort_keys=True) + "\n")


def _make_key(path: Path) -> None:
    from .worker.signing_key import make_signing_key  # noqa: PLC0415  # The processes load the library only where a key is configured.
    from .worker.usign import UnusableKey  # noqa: PLC0415

    try:
        made = make_signing_key(path)
    except UnusableKey as error:
        raise SystemExit(f"asu key: {error}") from error
    sys.stdout.write("".join(f"{file}\n" for file in made))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="asu", description="OpenWrt firmware images on demand; settings come from the environment and asu.toml.")
    processes = parser.add_subparsers(dest="process", required=True)
    api = processes.add_parser("api", help="answer requests")
    api.add_argument("--host", default="127.0.0.1", help="address to listen on")
    api.add_argument("--port", type=int, default=8000, help="port to listen on")
    processes.add_parser("worker", help="build images, one at a time")
    processes.add_parser("alive", help="say by the exit code whether a worker lives on this machine or in this container; for health checks")
    processes.add_parser("openapi", help="print the OpenAPI document and end")
    check = processes.add_parser("check", help="say what is wrong with this server, and what to do; ends with 1 if there is a problem")
    check.add_argument("--part", choices=["all", "api", "worker"], default="all", help="what this machine has of a server (default: all)")
    check.add_argument("--host", default="127.0.0.1", help="address that the API listens on")
    check.add_argument("--port", type=int, default=8000, help="port that the API listens on")
    check.add_argument("--json", action="store_true", help="answer in JSON")
    processes.add_parser("sweep", help="tidy once, as workers do all the time, and say what was done")
    key = processes.add_parser("key", help="make a key to sign images with, and its certificate")
    key.add_argument("path", type=Path, help="file of the secret key, for BUILD_KEY; PATH.pub is for the devices, PATH.ucert goes into the images")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
