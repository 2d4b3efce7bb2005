"""The changes of records are read from what Redis appends to its file, and histories from what a
run wrote down.
"""

from pathlib import Path

from tests.nemesis.history import Event, History, Recorder, Survey, read_events
from tests.nemesis.journal import read_transitions, transitions_of
from tests.unit.fixtures.small_history import KEY, SOUND, changes, sample, told

NAME = f"asu:build:{KEY}"


def commands(*lines: str) -> bytes:
    """Return commands as Redis writes them down."""
    words = [line.split() for line in lines]
    return "".join(
        f"*{len(line)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in line)
        for line in words
    ).encode()


def test_changes_of_state_are_read_in_order() -> None:
    """Hashes of builds that get a state, and those that are deleted, are told; all else is passed
    over.
    """
    written = commands(
        "SELECT 0",
        f"DEL {NAME}",
        f"HSET {NAME} state queued step init fault_ x",
        "HSET rq:worker:1 state busy",
        f"HSET {NAME} step building_image",
        f"HSET {NAME} state failed step failed body x fault infra",
        f"DEL {NAME}",
    )

    assert tuple(transitions_of(written)) == changes(
        (KEY, "queued"), (KEY, "failed", "infra"), (KEY, "gone")
    )


def test_a_file_that_breaks_off_is_read_to_its_last_whole_command() -> None:
    """A killed Redis may leave half a command."""
    whole = commands(f"HSET {NAME} state queued")
    half = commands(f"HSET {NAME} state done")

    for length in range(len(half)):
        assert tuple(transitions_of(whole + half[:length])) == changes((KEY, "queued"))


def test_increments_are_read_in_the_order_of_the_manifest(tmp_path: Path) -> None:
    """A Redis that begins a new file is read across both."""
    directory = tmp_path / "appendonlydir"
    directory.mkdir()
    (directory / "a.aof.manifest").write_text(
        "file base.rdb seq 1 type b\nfile z seq 1 type i\nfile y seq 2 type i\n"
    )
    (directory / "z").write_bytes(commands(f"HSET {NAME} state queued"))
    (directory / "y").write_bytes(commands(f"HSET {NAME} state running"))

    assert tuple(read_transitions(tmp_path)) == changes((KEY, "queued"), (KEY, "running"))


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Every kind of event comes back whole, so that a run can be judged again."""
    recorder = Recorder(tmp_path / "history.jsonl")
    survey = SOUND.survey
    assert isinstance(survey, Survey)
    events: tuple[Event, ...] = (
        *SOUND.exchanges,
        *SOUND.ends,
        *SOUND.samples,
        *SOUND.transitions,
        survey,
    )
    for event in events:
        recorder.write(event)
    recorder.close()
    recorder.write(told(9, "poll", 200))

    assert History.of(read_events(tmp_path / "history.jsonl")) == SOUND
    assert sample(1.0) not in SOUND.samples
