"""Lines for programs: one JSON object each, with what they belong to, and nothing that a request
held.
"""

from __future__ import annotations

import json
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest

from asu.errors import QueueUnavailable
from asu.logs import JsonLines, Lines, log_fields, logged_with
from tests.unit.job_world import SCRIPT, new_world
from tests.unit.worlds import REQUEST, BrokenUpstream, opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Written(logging.Handler):
    """Keeps lines as they would be written, at the moment at which they would be."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        self.lines.append(json.loads(JsonLines().format(record)))

    def about(self, words: str) -> dict[str, Any]:
        """Return the only line with these words."""
        [line] = [line for line in self.lines if words in line["message"]]
        return line


@pytest.fixture
def written() -> Iterator[Written]:
    """Collect all lines."""
    handler, root = Written(), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    root.setLevel(before)


def test_a_line_says_when_how_bad_and_where(written: Written) -> None:
    """With the keys that asu-prepare's lines have."""
    logging.getLogger("asu.part").warning("something\x1b[31m\nnew %s", "here")

    line = written.about("something")
    assert (line["level"], line["logger"], line["message"]) == (
        "warning",
        "asu.part",
        "something\x1b[31m\nnew here",
    )
    assert line["time"].endswith("+00:00")


def test_no_line_for_people_can_be_forged_or_coloured() -> None:
    """Control characters are shown, and lines after the first are marked as the record's own."""
    text = "asked for \x1b[31m\x00\u202e\nERROR a line of its own"
    record = logging.LogRecord("asu.part", logging.INFO, "", 0, text, None, None)

    assert Lines("%(levelname)s %(message)s").format(record).splitlines() == [
        r"INFO asked for \x1b[31m\x00\u202e",
        "  | ERROR a line of its own",
    ]


def test_an_exception_is_told_without_its_message(written: Written) -> None:
    """It may quote a first-boot script."""
    try:
        raise RuntimeError(SCRIPT)  # noqa: TRY301  # Somebody must raise it.
    except RuntimeError:
        logging.getLogger("asu.part").exception("failed")

    assert written.about("failed")["traceback"].startswith("RuntimeError\n")
    assert SCRIPT not in json.dumps(written.lines)


def test_fields_end_with_their_block() -> None:
    """Inside, they add up; outside, and in other threads, there are none."""
    elsewhere: list[dict[str, object]] = []
    with logged_with(request_id="r"), logged_with(build="b"):
        assert log_fields() == {"request_id": "r", "build": "b"}
        thread = threading.Thread(target=lambda: elsewhere.append(dict(log_fields())))
        thread.start()
        thread.join()

    assert log_fields() == {}
    assert elsewhere == [{}]


def test_lines_of_a_request_carry_its_id(written: Written) -> None:
    """The gateway's id, so that a line is found by what the client was told."""
    with opened(upstream=BrokenUpstream()) as world:
        world.client.post(
            "/api/v1/build/prepare", json=REQUEST, headers={"X-Request-ID": "from-the-gateway"}
        )

    assert written.about("failed: RuntimeError")["request_id"] == "from-the-gateway"


def test_the_plan_carries_the_request_and_the_key_does_not(written: Written) -> None:
    """Two requests for the same are one build, under the id of the first."""
    with opened() as world:
        first = world.client.post(
            "/api/v1/build", json=REQUEST, headers={"X-Request-ID": "first"}
        ).json()["request_hash"]
        second = world.client.post(
            "/api/v1/build", json=REQUEST, headers={"X-Request-ID": "second"}
        ).json()["request_hash"]
        attempt, _ = world.start(first)

    assert first == second
    assert attempt.log_fields == {
        "build": first,
        "attempt": attempt.number,
        "request_id": "first",
    }
    assert written.about("is put in line")["request_id"] == "first"


def test_lines_of_a_build_carry_request_build_and_attempt(written: Written, tmp_path: Path) -> None:
    """From its beginning to its outcome, those of other modules included; and nothing of the
    first-boot script.
    """
    world = new_world(tmp_path, allow_defaults=True)
    world.script.failures["manifest"] = QueueUnavailable()
    world.ask(defaults=SCRIPT)
    world.run()
    about = [line for line in written.lines if line.get("build") == world.key]

    assert {"asu.worker.job", "asu.worker.progress"} <= {line["logger"] for line in about}
    assert {line["attempt"] for line in about} == {world.records.last_number(world.key)}
    assert SCRIPT not in json.dumps(written.lines)
