"""Two containers of one build are found, unless the older one's owner has gone and no sweep could
be yet.
"""

from tests.nemesis.containers import SWEPT_AFTER, longest_overlap, two_containers
from tests.nemesis.history import History, Sample, Window
from tests.unit.fixtures.small_history import KEY, sample, window


def beside_each_other(
    seconds: float, *, attempts: tuple[int, int] = (1, 2), state: str = "running"
) -> tuple[Sample, ...]:
    """Return samples, one a second, of two containers of one build."""
    return tuple(
        sample(10.0 + second, (KEY, attempts[0], state), (KEY, attempts[1], "running"))
        for second in range(int(seconds) + 1)
    )


def found(samples: tuple[Sample, ...], *windows: Window) -> list[str]:
    """Return what is found in a run of which only the containers are known."""
    return list(two_containers(History(samples=samples, windows=windows)))


def test_an_older_container_may_live_until_it_is_swept() -> None:
    """What a dead attempt leaves is excused for as long as the sweep needs, and not a second
    longer.
    """
    assert found(beside_each_other(SWEPT_AFTER)) == []
    [violation] = found(beside_each_other(SWEPT_AFTER + 2))
    assert "attempt 1 has lived beside that of 2" in violation


def test_two_containers_of_one_attempt_are_never_right() -> None:
    """One attempt has one container, from the first moment on."""
    assert len(found(beside_each_other(0, attempts=(1, 1)))) == 1


def test_containers_that_have_ended_do_not_count() -> None:
    """What does not run any more does no harm while it waits for its removal."""
    assert found(beside_each_other(100, state="exited")) == []


def test_without_podman_nobody_can_sweep() -> None:
    """The clock begins anew when podman is back."""
    samples = beside_each_other(SWEPT_AFTER + 12)

    assert found(samples, window("restart-podman", 15.0, 25.0)) == []
    assert len(found(samples, window("restart-podman", 10.0, 11.0))) == 1


def test_one_worker_is_enough_to_sweep() -> None:
    """Only while both workers are away nobody sweeps."""
    samples = beside_each_other(SWEPT_AFTER + 12)
    first, second = (
        window("kill-worker", 12.0, 25.0, "worker-1"),
        window("freeze-worker", 15.0, 35.0, "worker-2"),
    )

    assert len(found(samples, first)) == 1
    assert found(samples, first, second) == []


def test_an_overlap_that_ended_is_forgotten() -> None:
    """Two short overlaps are not one long one."""
    early, late = (
        beside_each_other(20),
        tuple(
            sample(one.at + 40, (KEY, 2, "running"), (KEY, 3, "running"))
            for one in beside_each_other(20)
        ),
    )

    assert found((*early, *late)) == []
    assert longest_overlap(History(samples=(*early, *late))) == 20.0
