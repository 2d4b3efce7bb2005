"""`asu api` and `asu worker`, the processes of the build service.

`asu alive` says whether the worker of this container lives, `asu key` makes the key that images are signed with, `asu openapi` prints what the
API says of itself.
"""

import argparse
import gc
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from .logs import configure_logging
from .settings import Settings


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one of the processes until SIGTERM or SIGINT, or make a key."""
    options = _options(arguments)
    if options.process == "key":
        _make_key(options.path)
        return
    settings = Settings()
    configure_logging(settings.log_level)
    if options.process == "api":
        _run_api(settings, options.host, options.port)
    elif options.process == "openapi":
        _print_openapi(settings)
    elif options.process == "alive":
        from .worker.process import expect_live_worker  # noqa: PLC0415  # As below.

        expect_live_worker(settings)
    else:
        from .worker.process import run_worker  # noqa: PLC0415  # The API has no use for podman's and RQ's worker modules and saves their memory.

        run_worker(settings)


def _run_api(settings: Settings, host: str, port: int) -> None:
    import uvicorn  # noqa: PLC0415  # The worker has no use for it.

    from .app import create_app  # noqa: PLC0415

    app = create_app(settings)
    # A full collection walks through every object of the modules, 75 000 of them, and holds all polls up for 22 ms; what lives as
    # long as the process need not be looked at again. `make bench` shows it in the slowest polls.
    gc.collect()
    gc.freeze()
    uvicorn.run(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips="127.0.0.1",
        timeout_graceful_shutdown=30,  # Seconds for downloads under way; polls take milliseconds.
    )


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
    key = processes.add_parser("key", help="make a key to sign images with, and its certificate")
    key.add_argument("path", type=Path, help="file of the secret key, for BUILD_KEY; PATH.pub is for the devices, PATH.ucert goes into the images")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
