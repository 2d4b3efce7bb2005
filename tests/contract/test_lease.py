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
