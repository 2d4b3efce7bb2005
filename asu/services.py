"""What the routers work with, opened and closed with the application."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from fastapi import Request

from . import __version__
from .builds.build_events import BuildEvents
from .builds.build_queue import BuildQueue
from .builds.build_requests import Builds
from .builds.capacity import Capacity
from .builds.fleet import Fleet
from .catalogue.devices import Devices
from .catalogue.listings import Listings
from .catalogue.package_search import PackageSearch
from .catalogue.prepare_client import Preparer, PrepareService
from .catalogue.public_names import PublicNames
from .catalogue.renderings import Renderings
from .catalogue.resolver import Resolver
from .catalogue.validation import Catalogue
from .operations.health import Health
from .operations.metrics import PREVIEW_FALLBACKS, UPSTREAM_FETCHES, Counts
from .operations.request_tally import RequestTally
from .operations.scrape import Scrape
from .operations.status import Status
from .pages.stats_page import StatsPages
from .records.api_records import Records
from .records.redis_connections import async_redis, sync_redis
from .resolution import LOOK_SECONDS, Gatherer, LiveRules, RuleSource
from .settings import Settings
from .statistics.figures import Figures
from .statistics.redis_statistics import RedisStatistics
from .stores import open_store
from .stores.downloads import Downloads
from .stores.store import Store
from .upstream.downloads_server import CONNECT_SECONDS, DownloadsServer, Upstream
from .upstream.http_client import WebClient
from .upstream.last_good import DIRECTORY, LastGood


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a router may use."""

    settings: Settings
    upstream: Upstream
    catalogue: Catalogue
    devices: Devices
    packages: PackageSearch
    listings: Listings
    renderings: Renderings
    resolver: Resolver
    preparer: Preparer
    downloads: Downloads
    builds: Builds
    events: BuildEvents
    tally: RequestTally
    counts: Counts
    scrape: Scrape
    health: Health
    figures: Figures
    stats_pages: StatsPages
    status: Status


# asyncio looks up names in shared threads, one for each new connection, and they hang with the name
# server. Both web clients have 64 connections; the rest is for work, and for the name of Redis.
SHARED_THREADS = 80

OpenServices = Callable[[Settings], AbstractAsyncContextManager[Services]]


def assemble(
    settings: Settings,
    *,
    upstream: Upstream,
    prepare_service: PrepareService | None,
    records: Records,
    queue: BuildQueue,
    store: Store,
    statistics: RedisStatistics,
    fleet: Fleet,
    counts: Counts,
    rules: RuleSource,
) -> Services:
    """Put the parts together; without a prepare service, all previews are made in this process."""
    gatherer = Gatherer(upstream)
    resolver = Resolver(gatherer, rules, upstream.is_unconfirmed)
    catalogue = Catalogue(upstream, gatherer, settings, rules)
    preparer = Preparer(resolver, prepare_service, partial(counts.add, PREVIEW_FALLBACKS))
    figures = Figures(
        statistics=statistics, records=records, fleet=fleet, public_names=PublicNames(gatherer)
    )
    builds = Builds(
        records=records,
        queue=queue,
        store=store,
        capacity=Capacity(settings, fleet, records),
        limit=settings.max_pending_jobs,
        share=settings.client_share,
        patience=settings.poll_patience,
    )
    return Services(
        settings=settings,
        upstream=upstream,
        catalogue=catalogue,
        devices=Devices(upstream, catalogue),
        packages=PackageSearch(upstream, gatherer, catalogue),
        listings=Listings(upstream, gatherer, catalogue, rules, settings.oldest_branch),
        renderings=Renderings(ttl=settings.metadata_ttl),
        resolver=resolver,
        preparer=preparer,
        downloads=Downloads(store),
        builds=builds,
        events=BuildEvents(builds, records),
        tally=RequestTally(counts, statistics),
        counts=counts,
        scrape=Scrape(
            settings,
            counts=counts,
            records=records,
            statistics=statistics,
            fleet=fleet,
            upstream=upstream,
        ),
        health=Health(
            settings,
            records=records,
            store=store,
            fleet=fleet,
            upstream=upstream,
            preparer=preparer,
            rules=rules,
        ),
        figures=figures,
        stats_pages=StatsPages(figures),
        status=Status(figures, records=records, upstream=upstream),
    )


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Open the real parts. None connects before it is used, so the API starts without Redis."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(SHARED_THREADS))
    redis, blocking = async_redis(settings.redis_url), sync_redis(settings.redis_url)
    store, counts = open_store(settings), Counts()
    rules = LiveRules(settings.package_changes_dir)
    looking = asyncio.create_task(_look_again(rules))
    private = settings.upstream_url if settings.upstream_is_private else None
    try:
        async with (
            _web_client(private, CONNECT_SECONDS) as web,
            # Its own connections: an asu-prepare that hangs must not take those to upstream.
            _web_client(settings.prepare_service_url) as prepare_web,
            DownloadsServer(
                web,
                url=settings.upstream_url,
                ttl=settings.metadata_ttl,
                answered=partial(counts.add, UPSTREAM_FETCHES),
                last_good=LastGood(settings.store_path / DIRECTORY, settings.upstream_url),
            ) as upstream,
        ):
            service = settings.prepare_service_url
            yield assemble(
                settings,
                upstream=upstream,
                prepare_service=PrepareService(
                    prepare_web, url=service, deadline=settings.prepare_deadline
                )
                if service
                else None,
                records=Records(redis),
                queue=BuildQueue(blocking, deadline=settings.build_deadline),
                store=store,
                statistics=RedisStatistics(redis),
                fleet=Fleet(redis),
                counts=counts,
                rules=rules,
            )
    finally:
        looking.cancel()
        await redis.aclose()
        blocking.close()


async def _look_again(rules: LiveRules) -> None:
    """Read an operator's rules again when they change."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        await asyncio.to_thread(rules.look)


def _web_client(private_url: str | None, connect_seconds: float = 1.0) -> WebClient:
    """Return an HTTP client; a public name in `private_url` may have a private address."""
    return WebClient(
        user_agent=f"asu/{__version__}",
        private_urls=[private_url] if private_url else [],
        connect_seconds=connect_seconds,
    )


def services_of(request: Request) -> Services:
    """Return the services of the application that a request came to."""
    services: Services = request.state.services
    return services
