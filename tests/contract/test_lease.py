"""A worker that has lost its build learns it while it builds."""

import threading

import pytest

from asu.worker.lease import RENEWAL, Lease
from tests.contract.sides import BODIES, A
from tests.twins.imitated_records import ImitatedRecords

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("is_taken", [True, False], ids=["another worker has it", "it waits"])
async def test_a_lost_build_is_given_up(*, is_taken: bool) -> None:
    """The next renewal finds that the attempt is not the current one."""
    records, lost = ImitatedRecords(), threading.Event()
    await records.claim(A, plan="{}", bodies=BODIES, limit=1, renew=False)
    attempt = records.start_next()
    assert attempt is not None
    records.lose(A)
    if is_taken:
        assert records.start_next() is not None

    lease = Lease(records, attempt)
    lease.on_loss = lost.set
    with lease:
        assert lost.wait(20 * RENEWAL)


async def test_a_process_that_does_not_end_without_its_lease_is_ended() -> None:
    """What holds it up would keep its worker from all other builds."""
    records, killed, ended = ImitatedRecords(), threading.Event(), threading.Event()
    await records.claim(A, plan="{}", bodies=BODIES, limit=1, renew=False)
    attempt = records.start_next()
    assert attempt is not None
    records.lose(A)

    lease = Lease(records, attempt, patience=0.1)
    lease.on_loss, lease.end_process = killed.set, ended.set
    with lease:
        assert ended.wait(20 * RENEWAL)
    assert killed.is_set()


async def test_a_process_that_ends_without_its_lease_is_left_alone() -> None:
    """Its next build has another lease."""
    records, killed, ended = ImitatedRecords(), threading.Event(), threading.Event()
    await records.claim(A, plan="{}", bodies=BODIES, limit=1, renew=False)
    attempt = records.start_next()
    assert attempt is not None
    records.lose(A)

    lease = Lease(records, attempt, patience=20 * RENEWAL)
    lease.on_loss, lease.end_process = killed.set, ended.set
    with lease:
        assert killed.wait(20 * RENEWAL)
    lease.join(20 * RENEWAL)

    assert not lease.is_alive()
    assert not ended.is_set()
