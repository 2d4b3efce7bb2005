"""The worker process: RQ's loop around our builder."""

import logging
import secrets
import socket
import sys
from functools import partial
from typing import TYPE_CHECKING

from redis import Redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from asu.builds.build_queue import BuildQueue
from asu.builds.fleet import FleetNotes, has_live_worker
from asu.errors import QueueUnavailable
from asu.records.redis_connections import has_memory, sync_redis
from asu.records.worker_records import WorkerRecords
from asu.settings import Settings
from asu.statistics.redis_statistics import RedisBuildStatistics
from asu.stores import open_store

from .container import ContainerEngine
from .job import Builder
from .lease import PUBLISH_PATIENCE
from .outcome_statistics import OutcomeStatistics
from .podman_engine import PodmanEngine
from .queue_worker import BuildWorker
from .readiness import ReadyToBegin
from .rebuilding import Comparison, rebuild
from .recovery import Recovered, recover
from .sweeping import Sweep, Swept

if TYPE_CHECKING:
    from .signing import Signer

log = logging.getLogger(__name__)

# RQ gives its worker up at the first command that Redis does not take, and a build dies with its
# worker. So each command is tried again twice a second, for as long as a finished build waits for
# Redis; a worker that then ends is started again by whoever watches it.
RQ_PAUSE = 0.5
RQ_TRIES = int(PUBLISH_PATIENCE / RQ_PAUSE)


def run_worker(settings: Settings) -> None:
    """Work until SIGTERM; the current build is finished first. Ends at once, with words, where images are to be signed and cannot be."""
    signer = chosen_signer(settings)
    redis = Redis.from_url(settings.redis_url, retry=Retry(ConstantBackoff(RQ_PAUSE), RQ_TRIES))
    # RQ waits long for its next job; the records must not, so they have connections of their own
    # that give up soon.
    hasty = sync_redis(settings.redis_url)
    records = WorkerRecords(hasty)
    statistics = OutcomeStatistics(RedisBuildStatistics(hasty))
    store = open_store(settings)

    def engine() -> ContainerEngine:
        return PodmanEngine(settings, system=records.system())

    builder = Builder(
        settings, records=records, store=store, engine=engine, statistics=statistics, signer=signer
    )
    queue = BuildQueue(redis, deadline=settings.build_deadline)
    notes = FleetNotes(hasty, socket.gethostname())
    sweep = Sweep(
        settings,
        records=records,
        queue=queue,
        store=store,
        engine=engine,
        statistics=statistics,
        notes=notes,
    )
    BuildWorker(
        redis,
        build=builder.run,
        sweep=sweep,
        may_begin=ReadyToBegin(settings, partial(has_memory, hasty)),
        leave=notes.withdraw,
    ).work(logging_level=None)


def sweep_once(settings: Settings) -> Swept:
    """Tidy once, as a worker does; raises StoreFailed where the store cannot be opened. All else that fails stands in the troubles."""
    with sync_redis(settings.redis_url) as redis:
        records, queue = (
            WorkerRecords(redis),
            BuildQueue(redis, deadline=settings.build_deadline),
        )

        def engine() -> ContainerEngine:
            return PodmanEngine(settings, system=records.system())

        statistics = OutcomeStatistics(RedisBuildStatistics(redis))
        return Sweep(
            settings,
            records=records,
            queue=queue,
            store=open_store(settings),
            engine=engine,
            statistics=statistics,
        )()


def recover_once(settings: Settings) -> Recovered:
    """Make lost records anew from the store; raises StoreFailed and QueueUnavailable."""
    with sync_redis(settings.redis_url) as redis:
        return recover(open_store(settings), WorkerRecords(redis))


def rebuild_once(settings: Settings, key: str) -> Comparison:
    """Build what is published under a key once more and compare; raises CannotRebuild and StoreFailed."""

    def engine() -> ContainerEngine:
        return PodmanEngine(settings, system=f"rebuild-{secrets.token_hex(8)}")

    with sync_redis(settings.redis_url) as redis:
        return rebuild(
            settings,
            key,
            records=WorkerRecords(redis),
            store=open_store(settings),
            engine=engine,
        )


def expect_live_worker(settings: Settings) -> None:
    """Return if a worker of this container or machine lives, as Redis knows it; else end the process with words and exit code 1.

    Where Redis cannot be asked, or is full and may not have taken in what a worker said, it
    returns, too, and says so: that is not the worker's fault, and who starts workers anew ends
    their builds.
    """
    host = socket.gethostname()
    try:
        is_alive = has_live_worker(sync_redis(settings.redis_url), host)
    except QueueUnavailable as error:
        sys.stdout.write(
            f"asu alive: nobody knows, so the worker is taken to live: {error.detail}\n"
        )
        return
    if not is_alive:
        raise SystemExit(f"asu alive: no worker on {host} has been heard of within the last minute")


def chosen_signer(settings: Settings) -> "Signer | None":
    """Return what signs with the key in `BUILD_KEY`; ends the process if the key is unusable."""
    if settings.build_key is None:
        return None
    # Without a key the process does not load the library.
    from asu.keys.usign import UnusableKey  # noqa: PLC0415

    from .signing import read_signer  # noqa: PLC0415

    try:
        return read_signer(settings.build_key)
    except UnusableKey as error:
        raise SystemExit(f"asu worker: BUILD_KEY: {error}") from error
