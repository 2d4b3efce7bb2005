"""The worker process: RQ's loop around our builder."""

import secrets
import socket
import sys
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from redis import Redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from asu.builds.build_queue import BuildQueue
from asu.builds.fleet import STEADY_SECONDS, FleetNotes, has_live_worker, live_words
from asu.errors import QueueUnavailable
from asu.records.redis_connections import has_memory, sync_redis
from asu.records.worker_records import WorkerRecords
from asu.settings import Settings
from asu.statistics.redis_statistics import RedisBuildStatistics
from asu.stores import open_store
from asu.stores.store import Store

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

# RQ ends its worker, and its build, at the first command that Redis does not take. So each command
# is tried again twice a second, for as long as a finished build waits for Redis.
RQ_PAUSE = 0.5
RQ_TRIES = int(PUBLISH_PATIENCE / RQ_PAUSE)


def run_worker(settings: Settings) -> None:
    """Work until SIGTERM; finish the current build first. Raise SystemExit for an unusable key."""
    signer = chosen_signer(settings)
    redis = Redis.from_url(settings.redis_url, retry=Retry(ConstantBackoff(RQ_PAUSE), RQ_TRIES))
    # RQ waits long for its next job; the records must not, so they have connections of their own.
    hasty = sync_redis(settings.redis_url)
    records, store = WorkerRecords(hasty), open_store(settings)
    notes = FleetNotes(hasty, socket.gethostname())

    def engine() -> PodmanEngine:
        return PodmanEngine(settings, system=records.system(), worker=notes.word)

    def leave() -> None:
        notes.withdraw()
        with closing(engine()) as podman:
            podman.remove_network()

    builder = Builder(
        settings,
        records=records,
        store=store,
        engine=engine,
        statistics=OutcomeStatistics(RedisBuildStatistics(hasty)),
        signer=signer,
        worker=notes.word,
    )
    BuildWorker(
        redis,
        build=builder.run,
        sweep=_sweep(settings, hasty, store, queue_redis=redis, notes=notes),
        may_begin=ReadyToBegin(settings, partial(has_memory, hasty)),
        leave=leave,
    ).work(logging_level=None)


def _sweep(
    settings: Settings,
    redis: Redis,
    store: Store,
    *,
    queue_redis: Redis,
    notes: FleetNotes | None = None,
) -> Sweep:
    records = WorkerRecords(redis)
    return Sweep(
        settings,
        records=records,
        queue=BuildQueue(queue_redis, deadline=settings.build_deadline),
        store=store,
        engine=lambda: PodmanEngine(settings, system=records.system()),
        statistics=OutcomeStatistics(RedisBuildStatistics(redis)),
        notes=notes,
        live_workers=partial(live_words, redis),
        steady_workers=partial(live_words, redis, within=STEADY_SECONDS),
    )


def sweep_once(settings: Settings) -> Swept:
    """Tidy once, as a worker does; raise StoreFailed where the store cannot be opened."""
    with sync_redis(settings.redis_url) as redis:
        return _sweep(settings, redis, open_store(settings), queue_redis=redis)()


def recover_once(settings: Settings) -> Recovered:
    """Restore lost records from the store; raise StoreFailed and QueueUnavailable."""
    with sync_redis(settings.redis_url) as redis:
        return recover(open_store(settings), WorkerRecords(redis))


def rebuild_once(settings: Settings, key: str) -> Comparison:
    """Build what is published under a key again and compare; raise CannotRebuild, StoreFailed."""
    with sync_redis(settings.redis_url) as redis:
        records = WorkerRecords(redis)
        # Below the system's own name, so its sweeps remove container and network once it has ended.
        try:
            own = records.system()
        except QueueUnavailable:  # The provenance may hold all that a rebuild needs.
            own = "unknown"
        name = f"rebuild-{secrets.token_hex(8)}"
        engine = partial(PodmanEngine, settings, system=f"{own}/{name}", worker=name)
        try:
            return rebuild(
                settings, key, records=records, store=open_store(settings), engine=engine
            )
        finally:
            with closing(engine()) as podman:
                podman.remove_network()


def expect_live_worker(settings: Settings) -> None:
    """End the process with words and exit code 1 unless a worker of this machine is alive.

    Where Redis cannot say, return and print that: restarting the worker would only end its build.
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
    """Return what signs with the key in `BUILD_KEY`; raise SystemExit for an unusable key."""
    if settings.build_key is None:
        return None
    # Without a key the process does not load the library.
    from asu.keys.usign import UnusableKey  # noqa: PLC0415

    from .signing import read_signer  # noqa: PLC0415

    try:
        return read_signer(settings.build_key)
    except UnusableKey as error:
        raise SystemExit(f"asu worker: BUILD_KEY: {error}") from error
