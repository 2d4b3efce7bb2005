"""The commands of a server: its two processes, and what its operator runs by hand.

Each imports what it needs when it runs: the processes are smaller, and start faster.
"""

import argparse
import gc
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .errors import AsuError
from .logs import configure_logging
from .settings import Settings, UnusableSettings, read_settings
from .unread_settings import unread_settings

log = logging.getLogger(__name__)


def run(options: argparse.Namespace) -> None:
    """Run a process until SIGTERM or SIGINT, or a command to its end."""
    if options.command == "key":
        _make_key(options.path)
        return
    if options.command == "verify":
        # A person who verifies has no server to set up.
        from .provenance.verification import run_verify  # noqa: PLC0415

        run_verify(options.place, options.files, options.key)
        return
    try:
        settings = read_settings()
    except UnusableSettings as error:
        if options.command == "check":
            _show_mistakes(error.mistakes, options)
        raise SystemExit("\n".join(f"asu: {mistake}" for mistake in error.mistakes)) from None
    configure_logging(settings.log_level, settings.log_format)
    if options.command in {"api", "worker"}:
        for sentence in unread_settings():
            log.warning("%s", sentence)
    _COMMANDS[options.command](settings, options)


def _run_api(settings: Settings, options: argparse.Namespace) -> None:
    import uvicorn  # noqa: PLC0415  # The worker has no use for it.

    from .app import create_app  # noqa: PLC0415
    from .web.server import server_options  # noqa: PLC0415

    app = create_app(settings)
    # A full collection walks through the 75 000 objects of all modules, which never go, and holds
    # polls up for 22 ms; `make bench` shows it in the slowest ones. With Python's own thresholds, a
    # body of 110 000 lists causes one or more: 73 ms instead of 10.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    uvicorn.run(app, host=options.host, port=options.port, **server_options(settings))


def _run_worker(settings: Settings, _: argparse.Namespace) -> None:
    from .worker.process import run_worker  # noqa: PLC0415  # The API saves its memory.

    run_worker(settings)


def _alive(settings: Settings, _: argparse.Namespace) -> None:
    from .worker.process import expect_live_worker  # noqa: PLC0415

    expect_live_worker(settings)


def _show_mistakes(mistakes: Sequence[str], options: argparse.Namespace) -> None:
    from .checking import check_command  # noqa: PLC0415

    check_command.show(check_command.about_settings(mistakes), as_json=options.json)


def _check(settings: Settings, options: argparse.Namespace) -> None:
    from .checking import check_command, findings, isolation  # noqa: PLC0415

    checks = check_command.checks_for(
        settings, part=options.part, host=options.host, port=options.port
    )
    longer = {"isolation": max(isolation.PATIENCE, options.seconds)}
    found = findings.run_checks(checks, seconds=options.seconds, longer=longer)
    check_command.show(found, as_json=options.json)


@contextmanager
def _ending_with_our_words(command: str) -> Iterator[None]:
    """End with the words of an error of ours instead of a traceback."""
    try:
        yield
    except AsuError as error:
        raise SystemExit(f"asu {command}: {error.detail}") from error


def _sweep(settings: Settings, _: argparse.Namespace) -> None:
    from .worker.process import sweep_once  # noqa: PLC0415

    with _ending_with_our_words("sweep"):
        swept = sweep_once(settings)
    sys.stdout.write(swept.in_words())
    if swept.troubles:
        raise SystemExit(1)


def _recover(settings: Settings, _: argparse.Namespace) -> None:
    from .worker.process import recover_once  # noqa: PLC0415

    with _ending_with_our_words("recover"):
        sys.stdout.write(recover_once(settings).in_words())


def _rebuild(settings: Settings, options: argparse.Namespace) -> None:
    from .worker.process import rebuild_once  # noqa: PLC0415
    from .worker.rebuilding import CannotRebuild  # noqa: PLC0415

    try:
        with _ending_with_our_words("rebuild"):
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
