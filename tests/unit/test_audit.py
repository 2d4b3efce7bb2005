"""The audit log: what it keeps of each build that ended, what it never tells, and that it harms
none.
"""

from __future__ import annotations

import asyncio
import json
import logging
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from asu.records.build_record import Attempt, BuildRecord, State
from asu.statistics.build_statistics import days_up_to, today
from asu.stores.manifest import MANIFEST, read_manifest
from asu.worker.audit import AuditLog
from asu.worker.outcome_statistics import OutcomeStatistics
from asu.worker.sweeping import Sweep
from tests.twins.memory_fleet import MemoryBuildQueue
from tests.unit.job_world import KEY, SCRIPT, World, new_world

if TYPE_CHECKING:
    from pathlib import Path

REQUEST = {"version": "24.10.4", "target": "x86/64", "profile": "generic"}
DONE = BuildRecord(state=State.DONE, step="done", body=b"{}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the log is."""
    return tmp_path / "audit.jsonl"


@pytest.fixture
def world(tmp_path: Path, path: Path) -> World:
    """Return a worker that keeps a log."""
    return new_world(tmp_path / "store", audit_log=path, max_attempts=1)


def lines(path: Path) -> list[dict[str, Any]]:
    """Return what stands in the log."""
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines() if line]


def attempt(number: int = 1) -> Attempt:
    """Return an attempt."""
    return Attempt(key=KEY, number=number, plan={"request": REQUEST, "request_id": "r-1"})


def test_a_finished_build_leaves_a_line(world: World, path: Path, tmp_path: Path) -> None:
    """What it was, by which builder, and the hash of each published file."""
    world.build(defaults=SCRIPT)

    [line] = lines(path)
    assert (line["build"], line["tries"], line["outcome"], line["fault"]) == (
        world.key,
        1,
        "done",
        "",
    )
    assert line["attempt"] == world.records.last_number(world.key)
    assert (line["version"], line["target"], line["profile"]) == (
        "24.10.4",
        "ath79/generic",
        "tplink_archer-c7-v5",
    )
    assert line["builder_digest"] == world.engine.started[0].digest
    assert line["seconds"] >= 0
    manifest = read_manifest((tmp_path / "store" / world.key / MANIFEST).read_bytes(), world.key)
    assert manifest is not None
    assert line["files"].items() <= {(file.name, file.sha256) for file in manifest.files}
    assert len(line["files"]) == len(manifest.files) - 1


@pytest.mark.parametrize("call", ["start", "finish"])
def test_a_build_whose_outcome_was_not_confirmed_leaves_one_line(
    world: World, path: Path, call: str
) -> None:
    """Redis did what it was asked, and the worker did not hear of it: the build ends well, at its
    first try, and is written down and counted once.
    """
    world.records.deaf[call] = 2
    record = world.build()

    [line] = lines(path)
    assert (record.state, line["outcome"], line["tries"], world.records.deaf[call]) == (
        State.DONE,
        "done",
        1,
        0,
    )
    assert [one["outcome"] for one in world.tried()] == ["done"]
    counts = asyncio.run(world.statistics.days(days_up_to(today(), 2)))
    assert sum(day.builds for day in counts) == 1


def test_a_failed_build_leaves_its_code(world: World, path: Path) -> None:
    """Without files, since none were published."""
    world.script.wrong_hash = True
    world.build()

    [line] = lines(path)
    assert (line["outcome"], line["fault"], line["files"]) == ("build-disrupted", "infra", {})


def test_a_build_that_was_given_up_leaves_a_line_too(world: World, path: Path) -> None:
    """Whoever finds that its workers died writes down its end."""
    world.ask()
    assert world.records.start_next()
    world.records.let_pass(1000)
    statistics = OutcomeStatistics(world.statistics)
    sweep = Sweep(
        world.settings,
        live_workers=frozenset,
        records=world.records,
        queue=MemoryBuildQueue(),
        store=world.store,
        engine=lambda: world.engine,
        statistics=statistics,
    )
    sweep()

    assert [line["outcome"] for line in lines(path)] == ["worker-lost"]


def test_nothing_personal_and_nothing_secret_is_in_it(world: World, path: Path) -> None:
    """No script, no packages, nobody's name."""
    world.build(defaults=SCRIPT, packages=["vim"], client="somebody/1")

    text = path.read_text()
    assert "do not tell" not in text
    assert "somebody" not in text
    assert "vim" not in text


def test_lines_are_added_and_the_file_is_the_operators(path: Path) -> None:
    """An earlier line stays, and others of the machine cannot read what devices there are."""
    for number in (1, 2):
        AuditLog(path).note(attempt(number), DONE, seconds=1, files={})

    assert [line["attempt"] for line in lines(path)] == [1, 2]
    assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0


def test_a_rotated_log_begins_anew(path: Path) -> None:
    """Renaming the file is all that a rotation needs."""
    audit = AuditLog(path)
    audit.note(attempt(1), DONE, seconds=1, files={})
    path.rename(path.with_suffix(".1"))
    audit.note(attempt(2), DONE, seconds=1, files={})

    assert [line["attempt"] for line in lines(path)] == [2]


def test_lines_of_many_workers_do_not_mix(path: Path) -> None:
    """Each line is one write."""
    files = {f"image-{number}.bin": "0" * 64 for number in range(100)}
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda number: AuditLog(path).note(attempt(number), DONE, seconds=1, files=files),
                range(80),
            )
        )

    assert sorted(line["attempt"] for line in lines(path)) == list(range(80))


def test_a_line_that_was_cut_short_takes_no_other_along(path: Path) -> None:
    """After a full disk the next line stands for itself."""
    path.write_bytes(b'{"time": "2026-')
    AuditLog(path).note(attempt(), DONE, seconds=1, files={})

    assert json.loads(path.read_text().splitlines()[1])["build"] == KEY


def test_a_log_that_cannot_be_written_costs_no_build(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The build is done, the statistics know it, and the operator is told."""
    caplog.set_level(logging.ERROR)
    world = new_world(tmp_path / "store", audit_log=tmp_path / "absent" / "audit.jsonl")

    assert world.build().state is State.DONE
    assert (
        f"build {world.key} is missing in the audit log: No such file or directory" in caplog.text
    )


def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    """Workers may be root; nobody leads them to another file."""
    path.symlink_to(tmp_path / "other")
    AuditLog(path).note(attempt(), DONE, seconds=1, files={})

    assert not (tmp_path / "other").exists()
