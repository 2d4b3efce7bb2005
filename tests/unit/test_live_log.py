"""What the worker hands on of a build's output while it runs, and what stays of a failed one."""

import gzip
import json
from pathlib import Path

from asu.errors import QueueUnavailable
from asu.records.redis_memory import LOG_BYTES
from asu.stores.store import FAILURE_SECONDS, FAILURES_MOST, outdated
from asu.worker.container import CommandResult
from asu.worker.live_log import BATCH_BYTES, WITHHELD, LiveLog, withheld
from tests.unit.job_world import CONFLICT, SCRIPT, new_world


def written(*pieces: bytes, script: str | None = None) -> list[tuple[str, int]]:
    """Return the batches of an output, each with how many of the newest may be kept."""
    batches: list[tuple[str, int]] = []
    with LiveLog(lambda text, kept: batches.append((text, kept)), script) as log:
        for piece in pieces:
            log.write(piece)
    return batches


def test_lines_are_whole_and_come_once() -> None:
    """However the pieces are cut, in the middle of a letter too; the last line needs no end."""
    text = "".join(f"line {number} ü\n" for number in range(200)) + "last"
    pieces = [text.encode()[at : at + 7] for at in range(0, len(text.encode()), 7)]

    batches = written(*pieces)

    assert "\n".join(text for text, _ in batches) == text
    assert all(len(text.encode()) <= BATCH_BYTES for text, _ in batches)


def test_a_log_is_bounded_in_all() -> None:
    """The newest batches that together fit are kept; a line without an end is cut."""
    batches = written(*[b"x" * 999 + b"\n"] * 60, b"y" * 5000)

    assert all(kept * 128 <= LOG_BYTES for _, kept in batches)
    newest = batches[-batches[-1][1] :]
    assert sum(len(text.encode()) for text, _ in newest) <= LOG_BYTES
    assert max(len(text) for text, _ in batches) == BATCH_BYTES


def test_a_terminal_obeys_no_line() -> None:
    """Colours and other controls are left out; tabs stay."""
    assert written(b"\x1b[31mred\x1b[0m\tand \x07bell\r\n") == [("red\tand bell", 1)]


def test_no_line_shows_the_first_boot_script() -> None:
    """Whatever stands around it; lines that any output may have are no secret."""
    script = "uci set x.key='secret'\nfi\n"

    assert withheld("a\n+ uci set x.key='secret' # b\nfi", script) == f"a\n{WITHHELD}\nfi"
    assert written(b"+ uci set x.key='secret'\nfine\n", script=script)[0][0] == f"{WITHHELD}\nfine"


def test_a_queue_that_is_away_ends_no_build() -> None:
    """What it does not take is lost."""

    def away(_: str, __: int) -> None:
        raise QueueUnavailable

    with LiveLog(away) as log:
        log.write(b"a line\n")


def test_a_failed_build_keeps_its_output(tmp_path: Path) -> None:
    """Its answer, its attempts and what it printed, but no line of the first-boot script."""
    world = new_world(tmp_path, allow_defaults=True)
    printed = f"{CONFLICT}+ {SCRIPT}\n"
    world.script.failures["manifest"] = CommandResult(2, "", printed)

    world.build(defaults=SCRIPT)

    kept = world.store.failure(world.key)
    assert kept is not None
    body = json.loads(gzip.decompress(kept))
    assert (body["code"], body["request_hash"]) == ("impossible-selection", world.key)
    assert [attempt["outcome"] for attempt in body["attempts"]] == ["failed"]
    assert "conflict with wpad-openssl" in body["stderr"]
    assert WITHHELD in body["stderr"]
    assert "do not tell" not in gzip.decompress(kept).decode()


def test_old_failures_go() -> None:
    """Those of more than two weeks ago, and the oldest beyond the bound."""
    ages = {str(age): float(age) for age in range(FAILURES_MOST + 2)}

    assert outdated(ages) == [str(FAILURES_MOST), str(FAILURES_MOST + 1)]
    assert outdated({"a": FAILURE_SECONDS + 1, "b": FAILURE_SECONDS - 1}) == ["a"]
