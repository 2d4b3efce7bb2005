"""Write REFERENCE.md from the code: settings, routes, metrics, errors; a test compares the file.

python -m misc.reference > REFERENCE.md
"""

from collections.abc import Iterator

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic_core import PydanticUndefined

from asu.app import create_app
from asu.errors import error_classes
from asu.operations.metrics import METRICS, ROUTES, error_codes
from asu.settings import Settings

INTRODUCTION = """# Reference

Settings, routes, metrics and errors of asu. This file is written by `python -m misc.reference` and
checked by a test; those of the preview service are in
[asu-prepare/README.md](asu-prepare/README.md).
"""


def reference() -> str:
    """Return the whole file."""
    parts = [
        INTRODUCTION,
        *_settings(),
        "",
        *_routes(create_app(Settings())),
        "",
        *_metrics(),
        "",
        *_errors(),
    ]
    return "\n".join(parts) + "\n"


def _settings() -> Iterator[str]:
    yield "## Settings\n"
    yield "From the environment (upper case) or from the TOML file that `ASU_CONFIG` names (default"
    yield "`asu.toml`, lower case); the environment wins.\n"
    yield "| setting | default | meaning |"
    yield "|---|---|---|"
    for name, field in Settings.model_fields.items():
        default = (
            "required"
            if field.default is PydanticUndefined
            else ""
            if field.default in (None, "", ())
            else f"`{field.default}`"
        )
        yield f"| `{name.upper()}` | {default} | {' '.join((field.description or '').split())} |"


def _routes(app: FastAPI) -> Iterator[str]:
    yield "## Routes\n"
    yield "| route | methods | purpose |"
    yield "|---|---|---|"
    methods: dict[str, set[str]] = {}
    purposes: dict[str, str] = {}
    # GET and HEAD of a path are two routes, of which the first has the summary.
    for route in app_routes(app):
        methods.setdefault(route.path, set()).update(route.methods or ())
        purposes.setdefault(route.path, route.summary or (route.description or "").split("\n")[0])
    for path, purpose in purposes.items():
        yield f"| `{path}` | {', '.join(sorted(methods[path]))} | {purpose} |"
    yield "| `/openapi.json` | GET | The API, described |"
    yield "| `/static/*` | GET, HEAD | What the pages are made of: style sheets, scripts, icon |"
    yield "| `/api/v1/prepare` | POST | Through the gateway: asu-prepare's preview |"


def app_routes(app: FastAPI) -> list[APIRoute]:
    """Return the application's routes, those of its routers included, sorted by path."""
    routes: list[APIRoute] = []
    waiting = list(app.routes)
    while waiting:
        route = waiting.pop()
        if isinstance(route, APIRoute):
            routes.append(route)
        else:
            waiting.extend(getattr(getattr(route, "original_router", None), "routes", ()))
    return sorted(routes, key=lambda route: (route.path, sorted(route.methods or ())))


def _metrics() -> Iterator[str]:
    yield "## Metrics\n"
    yield "At `/metrics` of each API process, in Prometheus' text format; the gateway refuses it."
    yield "Counters of the API are of its process, those of builds of all workers together, since"
    yield "counting began. Without Redis, what only Redis knows is absent and `asu_redis_up` is 0."
    yield "The process itself has `process_…`. `misc/prometheus` has alert rules, `misc/grafana`"
    yield "a dashboard.\n"
    yield "| metric | type | labels | meaning |"
    yield "|---|---|---|---|"
    for metric in METRICS:
        labels = "; ".join(f"`{name}`: {_values(values)}" for name, values in metric.labels.items())
        yield f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |"


def _values(values: tuple[str, ...]) -> str:
    if values is ROUTES:
        return "a route of the table above, or `other`"
    return "a code of the table below" if values == error_codes() else ", ".join(values)


def _errors() -> Iterator[str]:
    yield "## Errors\n"
    yield "Every error is JSON with `status`, `title`, `detail` (a sentence), `code` (stable, for"
    yield "programs) and, where trying again helps, `retry_after` in seconds; invalid requests list"
    yield "all mistakes under `errors`. A failed build answers 500 with the builder's `stdout` and"
    yield "`stderr` and the `fault`: only a user's fault is remembered, others are tried again by"
    yield "the next request.\n"
    yield "| code | status | fault | message |"
    yield "|---|---|---|---|"
    for kind in sorted(error_classes(), key=lambda kind: (kind.fault, kind.status, kind.code)):
        message = kind.message().replace("|", "\\|")
        yield f"| `{kind.code}` | {kind.status} | {kind.fault} | {message} |"


if __name__ == "__main__":
    print(reference(), end="")
