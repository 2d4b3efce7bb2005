"""The services' memory while they are fuzzed: caches may fill, and then nothing may grow."""

import sys
import time
from pathlib import Path

import pytest

from misc.fuzz.memory import EVERY, MemoryWatch, judge
from misc.native.processes import Processes, Program

FILLING = [80.0, 90, 100, 110, 112, 112, 113, 112, 114]
LEAKING = [80.0, 90, 100, 110, 120, 130, 140, 150, 160]


@pytest.mark.parametrize(
    ("samples", "seconds", "is_flat"),
    [(FILLING, 600, True), (LEAKING, 600, False), (LEAKING, 60, True), ([80.0], 600, True)],
    ids=str,
)
def test_what_grows_after_a_third_of_the_time_is_a_leak(
    samples: list[float],
    seconds: int,
    is_flat: bool,  # noqa: FBT001
) -> None:
    """In a short run caches still fill, so that only tells."""
    lines, was_flat = judge({"asu": samples}, seconds)

    assert was_flat is is_flat
    assert lines[0].startswith("memory of asu: 80 MiB at first")


@pytest.mark.filterwarnings(
    "ignore:.*is still running:ResourceWarning",
    "ignore:.*Popen:pytest.PytestUnraisableExceptionWarning",
)
def test_a_service_is_weighed_while_it_runs(tmp_path: Path) -> None:
    """Found again by its record, as everything that was started."""
    processes = Processes(tmp_path)
    processes.start(
        Program(name="asu", command=(sys.executable, "-c", "import time; time.sleep(60)")),
        directory=tmp_path,
    )
    try:
        with MemoryWatch(processes) as watch:
            give_up = time.monotonic() + 10 * EVERY
            while not watch.samples["asu"]:
                assert time.monotonic() < give_up
                time.sleep(0.1)
    finally:
        processes.ask_to_stop("asu")

    assert watch.samples["asu"][0] > 1
    assert not watch.samples["prepare"]
