"""The worker process: RQ's loop around our builder."""

import logging

from redis import Redis

from asu.build_queue import BuildWorker, RqBuildQueue
from asu.redis_records import RedisWorkerRecords, sync_redis
from asu.settings import Settings
from asu.stores import open_store

from .container import ContainerEngine, PodmanEngine
from .job import Builder
from .sweeping import Sweep

log = logging.getLogger(__name__)


def run_worker(settings: Settings) -> None:
    """Work until SIGTERM; the current build is finished first."""
    redis = Redis.from_url(settings.redis_url)
    # RQ waits long for its next job; the records must not, so they have connections of their own that give up soon.
    records = RedisWorkerRecords(sync_redis(settings.redis_url))
    store = open_store(settings)

    def engine() -> ContainerEngine:
        return PodmanEngine(settings, system=records.system())

    builder = Builder(settings, records=records, store=store, engine=engine)
    queue = RqBuildQueue(redis, deadline=settings.build_deadline)
    sweep = Sweep(settings, records=records, queue=queue, store=store, engine=engine)
    BuildWorker(redis, build=builder.run, sweep=sweep).work(logging_level=None)
