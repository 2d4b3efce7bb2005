"""A worker compares what asu-prepare foretold with what the ImageBuilder made of it."""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from asu.worker.forecast_check import check_forecast
from tests.requirements import free_port
from tests.serving import served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

PLAN = {
    "key": "0" * 64,
    "request": {
        "version": "24.10.4",
        "target": "x86/64",
        "profile": "generic",
        "packages": ["vim"],
        "defaults": "echo secret",
    },
}
MANIFEST = {"libc": "1.2.5", "vim": "9.1"}
BUILT = {"status": 200, "manifest": MANIFEST}
IMPOSSIBLE = {"status": 500, "code": "impossible-selection", "detail": "Error: no vim"}
PROBLEM = {"package": "vim", "kind": "missing", "detail": "There is no vim."}


def foretold(**fields: Any) -> bytes:
    """Return a preview with a forecast."""
    return json.dumps({"solved": True, "problems": [], "manifest": MANIFEST, **fields}).encode()


@contextmanager
def preparing(answer: bytes, status: int = 200) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Serve one preview; yield the address, and the requests that came."""
    asked: list[dict[str, Any]] = []

    async def prepare(request: Request) -> Response:
        asked.append(await request.json())
        return Response(answer, status)

    routes = [Route("/api/v1/prepare", prepare, methods=["POST"])]
    with served(Starlette(routes=routes), log_level="error") as port:
        yield f"http://127.0.0.1:{port}", asked


@pytest.mark.parametrize(
    ("preview", "ended", "result"),
    [
        (foretold(), BUILT, "agrees"),
        (foretold(manifest={**MANIFEST, "vim": "9.0"}), BUILT, "differs"),
        (foretold(manifest={"libc": "1.2.5"}), BUILT, "differs"),
        (foretold(manifest={}, problems=[PROBLEM]), BUILT, "false_problem"),
        (foretold(manifest={}, problems=[PROBLEM]), IMPOSSIBLE, "agrees"),
        (foretold(), IMPOSSIBLE, "missed_problem"),
        (foretold(solved=False, manifest={}), BUILT, "unknown"),
        (b"{}", BUILT, "unknown"),
        (b"[1", BUILT, "unknown"),
        (b'{"solved": true}', BUILT, "unknown"),
        (b'{"solved": true, "problems": [], "manifest": 3}', BUILT, "unknown"),
    ],
)
def test_a_forecast_is_compared_with_the_outcome(
    preview: bytes, ended: dict[str, Any], result: str
) -> None:
    """Package for package and version for version; problems with whether the build failed."""
    with preparing(preview) as (url, _):
        assert check_forecast(url, PLAN, ended) == result


def test_a_difference_is_logged_with_both_lists(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever mends the solver needs both."""
    with preparing(foretold(manifest={"libc": "1.2.5", "vim-tiny": "9.1"})) as (url, _):
        check_forecast(url, PLAN, BUILT)

    assert "[('vim-tiny', '9.1')]" in caplog.text
    assert "[('vim', '9.1')]" in caplog.text


def test_the_first_boot_script_stays_here() -> None:
    """It changes nothing about packages."""
    with preparing(foretold()) as (url, asked):
        check_forecast(url, PLAN, BUILT)

    assert [request["packages"] for request in asked] == [["vim"]]
    assert "secret" not in json.dumps(asked)


@pytest.mark.parametrize("code", ["image-too-big", "download-failed"])
def test_nothing_is_asked_about_other_failures(code: str) -> None:
    """A forecast speaks about packages alone."""
    with preparing(foretold()) as (url, asked):
        assert check_forecast(url, PLAN, {"status": 500, "code": code}) is None

    assert asked == []


def test_a_service_that_is_away_or_fails_is_no_fault_of_the_build(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The comparison is unknown, and the log has one line about it."""
    caplog.set_level(logging.WARNING)
    assert check_forecast(f"http://127.0.0.1:{free_port()}", PLAN, BUILT) == "unknown"
    with preparing(b"", 503) as (url, _):
        assert check_forecast(url, PLAN, BUILT) == "unknown"

    assert len([one for one in caplog.records if one.name == "asu.worker.forecast_check"]) == 2
