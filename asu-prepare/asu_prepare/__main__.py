"""`python -m asu_prepare`: runs the service, or prints its OpenAPI document."""

import argparse
import gc
import json
import sys
from collections.abc import Sequence

import uvicorn

from .config import Settings
from .logs import configure_logging
from .main import create_app
from .serving import server_options


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the service until SIGTERM or SIGINT; running requests are answered first."""
    given = {name: value for name, value in vars(_options(arguments)).items() if value is not None}
    wants_openapi = given.pop("openapi")
    settings = Settings(**given)
    app = create_app(settings)
    if wants_openapi:
        sys.stdout.write(json.dumps(app.openapi(), indent=2, sort_keys=True) + "\n")
        return
    configure_logging(level=settings.log_level, style=settings.log_format)
    # A full collection walks through all modules and all metadata. With Python's own thresholds, a
    # body of 110 000 lists causes one or more: 71 ms instead of 11.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    uvicorn.run(app, host=settings.host, port=settings.port, **server_options(settings))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="asu-prepare",
        description="Preview of firmware requests. Options win over the environment "
        "(PREPARE_HOST, …).",
    )
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", type=int, help="port to listen on")
    parser.add_argument(
        "--log-level",
        choices=["debug", "info", "warning", "error"],
        help="least severity that is logged",
    )
    parser.add_argument("--openapi", action="store_true", help="print the OpenAPI document and end")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
