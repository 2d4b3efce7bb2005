"""The record of a failed build holds what was printed, and never more than it may take of Redis'
memory.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from asu.errors import BuildFailed
from asu.records.redis_memory import ENDED_BODY_BYTES
from asu.worker.container import LOG_HALF, BoundedLog
from asu.worker.progress import Progress

PLAN = {
    "key": "ab" * 32,
    "enqueued_at": "2026-03-01T12:00:00+00:00",
    "request": {
        "version": "24.10.4",
        "target": "x86/64",
        "profile": "generic",
        "packages": ["vim"],
    },
}
WHOLE = "a line of a whole x86 build\n" * 2_700  # 74 KiB, in more bytes of JSON.


def failed(stdout: str, stderr: str, **gathered: Any) -> tuple[int, dict[str, Any]]:
    """Return how many bytes the body of a failed build takes, and what stands in it."""
    body = (
        Progress(PLAN, dict(gathered), stdout, stderr)
        .failed(BuildFailed(reason="the images are too big"))
        .body
    )
    return len(body), json.loads(body)


@pytest.mark.parametrize(
    "piece",
    [b"\xff", b"\x00", b'"', b"\xe2\x82\xac", b"a"],
    ids=["no text", "zeros", "quotes", "euros", "letters"],
)
def test_whatever_a_build_prints_its_record_is_bounded(piece: bytes) -> None:
    """A byte may take six in JSON. Beginning and end are shown of both outputs."""
    log = BoundedLog()
    log.write(b"FIRST" + piece * LOG_HALF * 3 + b"LAST")

    size, body = failed(log.text(), log.text())

    assert ENDED_BODY_BYTES * 0.9 < size <= ENDED_BODY_BYTES
    for output in (body["stdout"], body["stderr"]):
        assert output.startswith("FIRST")
        assert output.endswith("LAST")
        assert "bytes left out" in output


def test_a_long_output_is_not_cut_for_a_short_one() -> None:
    """What one leaves is the other's: a whole x86 build is told whole."""
    _, body = failed(WHOLE, "a warning\n")

    assert (body["stdout"], body["stderr"]) == (WHOLE, "a warning\n")


def test_only_the_longer_output_is_cut() -> None:
    """And it has all the room that the other leaves."""
    size, body = failed(WHOLE[: len(WHOLE) // 2], "\0" * LOG_HALF)

    assert ENDED_BODY_BYTES * 0.9 < size <= ENDED_BODY_BYTES
    assert body["stdout"] == WHOLE[: len(WHOLE) // 2]


def test_a_made_up_manifest_is_not_repeated() -> None:
    """Its container says what it likes; a genuine one is told."""
    genuine, made_up = {"vim": "9.1"}, {f"package-{number}": "1" * 100 for number in range(2_000)}

    size, body = failed(WHOLE * 2, WHOLE * 2, manifest=made_up)

    assert size <= ENDED_BODY_BYTES
    assert "manifest" not in body
    assert failed("", "", manifest=genuine)[1]["manifest"] == genuine
