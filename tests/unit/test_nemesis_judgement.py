"""The judge of fault runs finds each kind of violation, and nothing in a run in which all is
well.
"""

from dataclasses import replace

import pytest

from tests.nemesis.history import Container, History, SessionEnd
from tests.nemesis.judgement import judge
from tests.nemesis.wishes import WISHES
from tests.unit.fixtures.small_history import (
    BAD_KEY,
    BAD_WISH,
    CODE,
    FILES,
    FINE,
    KEY,
    OTHER_KEY,
    SOUND,
    changes,
    sample,
    surveyed,
    told,
    window,
    with_more,
)

ANOTHER = WISHES[1].name
OTHER_FILES = {"image.bin": "e" * 64}
API_AWAY = (window("kill-api", 6.5, 8.0, "asu"),)
BAD = {"session": 2, "wish": BAD_WISH, "key": BAD_KEY}
WAITING = SessionEnd(session=1, wish=FINE, at=60.0, outcome="unfinished", key=KEY)
LEFT_OVER = (Container(key=KEY, attempt=1, state="exited"),)
BAD_ENDS = ((BAD_KEY, "queued"), (BAD_KEY, "running"), (BAD_KEY, "failed", "user"))
FAILED_ONCE = ((KEY, "queued"), (KEY, "running"), (KEY, "failed", "infra"))

# What is wrong, a run in which only that is wrong, and words of each sentence that the judge has
# for it.
SPOILT: list[tuple[str, History, str]] = [
    (
        "a part ends by itself",
        replace(SOUND, windows=(window("died", 3, 4, "worker-1"),)),
        "worker-1 ended by itself at 3.0",
    ),
    (
        "a client waits for ever",
        replace(SOUND, ends=(SOUND.ends[0], WAITING)),
        "ended as unfinished",
    ),
    ("a client vanishes", replace(SOUND, ends=SOUND.ends[:1]), "client 1 never came to an end"),
    (
        "a bad request is never told so",
        replace(SOUND, ends=(replace(SOUND.ends[0], outcome="done"), SOUND.ends[1])),
        "not as user",
    ),
    (
        "a build runs at the end",
        surveyed(records={KEY: "done", BAD_KEY: "running"}),
        "is still running",
    ),
    (
        "an accepted build is lost",
        with_more(told(7, "post", 202, key=OTHER_KEY, wish=ANOTHER)),
        "has no record at the end",
    ),
    ("the run is broken off", replace(SOUND, survey=None), "broken off"),
    (
        "a fine build fails by its user's fault",
        with_more(told(7, "poll", 500, fault="user", code="build-failed")),
        "the request is fine",
    ),
    (
        "a fine request is refused",
        with_more(told(7, "post", 400, code="unsupported-version")),
        "the request is fine",
    ),
    (
        "a bad request is called something else",
        with_more(told(7, "poll", 500, **BAD, fault="user", code="build-failed")),
        f"not {CODE}",
    ),
    (
        "a bad request is built",
        with_more(told(7, "poll", 200, **BAD, promised=FILES)),
        "it can never be built",
    ),
    ("a poll is limited", with_more(told(7, "poll", 429, code="rate-limited")), "429 rate-limited"),
    (
        "a known build is unknown",
        with_more(told(7, "poll", 404, code="unknown-build")),
        "404 unknown-build",
    ),
    ("a poll fails while nothing is away", with_more(told(7, "poll", 502)), "poll of"),
    (
        "a poll fails when the API is back",
        with_more(told(9, "poll", 502), windows=API_AWAY),
        "poll of",
    ),
    (
        "a poll is unknown while the API is away",
        with_more(told(7, "poll", 404), windows=API_AWAY),
        "poll of",
    ),
    (
        "a poll fails while Redis is away",
        with_more(told(7, "poll", 503), windows=(window("kill-redis", 6, 9),)),
        "poll of",
    ),
    ("a request is not answered", with_more(told(7, "post", None)), "no answer"),
    (
        "a mistake of the server's own",
        with_more(told(7, "preview", 500, code="internal-error", retry_after=30)),
        "internal-error",
    ),
    (
        "a request fails without a reason",
        with_more(told(7, "post", 500, code="store-failed")),
        "store-failed",
    ),
    (
        "other bytes than promised",
        with_more(told(7, "file", 200, file="image.bin", sha256="e" * 64)),
        "promised was",
    ),
    ("a file is not there", with_more(told(7, "file", 404, file="image.bin")), "does not come"),
    (
        "a finished build changes",
        replace(SOUND, exchanges=(told(0.5, "poll", 200, promised=OTHER_FILES), *SOUND.exchanges)),
        "it was",
    ),
    (
        "two unlike requests share a build",
        with_more(told(7, "post", 200, wish=ANOTHER, promised=FILES)),
        "stands for",
    ),
    (
        "one request makes two builds",
        with_more(told(7, "post", 500, key=OTHER_KEY, fault="infra")),
        "2 builds were made",
    ),
    (
        "a place gets worse",
        with_more(told(7, "poll", 202, place=1), told(8, "poll", 202, place=2)),
        "place 1 at 7.1 became 2 at 8.0",
    ),
    (
        "a record that nobody asked for",
        surveyed(records={KEY: "done", BAD_KEY: "failed", OTHER_KEY: "failed"}),
        "nobody has asked",
    ),
    (
        "a container that nobody asked for",
        replace(SOUND, samples=(sample(3, (OTHER_KEY, 1, "running")),)),
        "nobody has asked",
    ),
    (
        "a finished build starts over",
        replace(SOUND, transitions=(*SOUND.transitions, *changes((KEY, "queued")))),
        "was done and became",
    ),
    (
        "a user's failure is tried again",
        replace(SOUND, transitions=(*SOUND.transitions, *changes((BAD_KEY, "gone")))),
        "failed by the user's fault and became gone",
    ),
    (
        "two ends of one attempt",
        replace(
            surveyed(counted={"done": 1, "user": 1, "infra": 1}, failures=2),
            transitions=changes(*FAILED_ONCE, (KEY, "done"), *BAD_ENDS),
        ),
        "had not begun",
    ),
    ("files without a record", surveyed(records={BAD_KEY: "failed"}, store={KEY: FILES}), KEY),
    ("a finished record without files", surveyed(store={}), "has no files"),
    ("other files in the store", surveyed(store={KEY: OTHER_FILES}), "in the store has sha256"),
    ("a container is left over", surveyed(containers=LEFT_OVER), "is left over"),
    ("an end is not counted", surveyed(counted={"done": 0, "user": 1}), "not counted"),
    ("an end is counted twice", surveyed(counted={"done": 2, "user": 1}), "too often"),
    ("faults and codes differ", surveyed(failures=2), "by fault and 2 by code"),
    ("the queue is not empty", surveyed(waiting=1), "1 builds wait"),
]


def test_a_run_in_which_all_is_well_has_no_violation() -> None:
    """The judge does not cry wolf."""
    assert judge(SOUND) == []


@pytest.mark.parametrize(
    ("spoilt", "words"), [entry[1:] for entry in SPOILT], ids=[entry[0] for entry in SPOILT]
)
def test_each_violation_is_found(spoilt: History, words: str) -> None:
    """Whatever is wrong is told, and nothing else is."""
    violations = judge(spoilt)

    assert violations
    assert all(words in violation for violation in violations), violations


@pytest.mark.parametrize(
    "excused",
    [
        with_more(
            told(7, "poll", 502), told(7, "post", None), told(7, "poll", 503), windows=API_AWAY
        ),
        with_more(
            told(7, "post", 529, code="overloaded"),
            told(8, "post", 503, code="queue-unavailable"),
            told(9, "post", 429),
        ),
        with_more(told(7, "post", 500, code="store-failed", retry_after=30)),
        with_more(told(7, "poll", 500, fault="infra", code="container-failed")),
        with_more(told(7, "file", 502, file="image.bin"), windows=API_AWAY),
        with_more(
            told(7, "poll", 202, place=1),
            told(8, "post", 202, place=5),
            told(9, "poll", 202, place=4),
        ),
    ],
    ids=[
        "the API is away",
        "a request is put off",
        "a disk is short",
        "a build failed by the server's fault",
        "a file while the API is away",
        "a failed build was asked for anew",
    ],
)
def test_what_a_fault_excuses_is_no_violation(excused: History) -> None:
    """Clients may be put off while something is broken, and builds may fail by it."""
    assert judge(excused) == []


def test_a_kill_of_a_worker_may_lose_one_count() -> None:
    """A build that ended in the moment of a kill may be missing in the metrics; a second one may
    not.
    """
    killed = (window("kill-worker", 4.0, 9.0, "worker-1"),)

    assert judge(replace(surveyed(counted={"done": 0, "user": 1}), windows=killed)) == []
    assert (
        judge(replace(surveyed(counted={"done": 0, "user": 0}, failures=0), windows=killed)) != []
    )


def test_a_failure_that_was_forgotten_is_not_lost() -> None:
    """A failure that may be tried again ends by itself after a minute."""
    told_so = with_more(
        told(7, "post", 202, key=OTHER_KEY, wish=ANOTHER),
        told(8, "poll", 500, key=OTHER_KEY, wish=ANOTHER, fault="infra"),
    )

    assert judge(told_so) == []
