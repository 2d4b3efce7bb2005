"""Small worlds: the metadata of a few releases, and the whole API over in-memory parts."""

import copy
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient

from asu.app import create_app
from asu.catalogue.prepare_client import PrepareService
from asu.errors import AsuError
from asu.operations.metrics import Counts
from asu.records.build_record import Attempt
from asu.resolution import RuleSource, load_rules
from asu.services import Services, assemble
from asu.settings import Settings
from asu.upstream.downloads_server import Upstream
from asu.worker.progress import Progress
from tests.twins.imitated_records import ImitatedRecords
from tests.twins.imitated_statistics import ImitatedStatistics
from tests.twins.memory_fleet import MemoryBuildQueue, MemoryFleet
from tests.twins.memory_store import MemoryStore
from tests.twins.memory_upstream import MemoryUpstream

REVISION = "r28959-29397011cc"

VERSIONS = {
    "upcoming_version": "25.12.0-rc1",
    "stable_version": "24.10.4",
    "oldstable_version": "23.05.10",
    "versions_list": [
        "8.09.2",
        "17.01.7",
        "19.07.10",
        "23.05.9",
        "23.05.10",
        "24.10.3",
        "24.10.4",
        "25.12.0-rc1",
    ],
}
ATH79 = {
    "arch_packages": "mips_24kc",
    "default_packages": ["base-files", "dnsmasq"],
    "metadata_version": 1,
    "target": "ath79/generic",
    "version_code": REVISION,
    "version_number": "24.10.4",
    "profiles": {
        "tplink_archer-c7-v5": {
            "device_packages": ["kmod-ath10k-ct"],
            "supported_devices": ["tplink,archer-c7-v5", "archer-c7-v5"],
        },
        "glinet_gl-ar300m-nand": {
            "device_packages": [],
            "supported_devices": ["glinet,gl-ar300m-nand", "gl-ar300m"],
        },
        "glinet_gl-ar300m-nor": {
            "device_packages": [],
            "supported_devices": ["glinet,gl-ar300m-nor", "gl-ar300m"],
        },
    },
}
X86 = {
    "arch_packages": "x86_64",
    "default_packages": ["base-files"],
    "metadata_version": 1,
    "target": "x86/64",
    "version_code": REVISION,
    "version_number": "24.10.4",
    "profiles": {"generic": {"device_packages": ["grub2"], "supported_devices": []}},
}
TARGETS = {"ath79/generic": "mips_24kc", "x86/64": "x86_64"}

# A request as LuCI sends it, in a release where `auc` has become `owut`.
REQUEST: dict[str, Any] = {
    "version": "24.10.4",
    "target": "ath79/generic",
    "profile": "tplink_archer-c7-v5",
    "packages": ["luci", "auc"],
}


def metadata() -> dict[str, Any]:
    """Return the documents of a downloads server, free to be changed.

    24.10.4 lists lantiq/xrx200 and has not published it; branch 25.12 has no snapshot; 23.05.9 has
    nothing any more.
    """
    documents: dict[str, Any] = {
        ".versions.json": VERSIONS,
        "releases/24.10.4/.targets.json": {**TARGETS, "lantiq/xrx200": "mips_24kc"},
    }
    for directory in (
        "snapshots",
        "releases/23.05.10",
        "releases/24.10.3",
        "releases/24.10-SNAPSHOT",
        "releases/25.12.0-rc1",
    ):
        documents[f"{directory}/.targets.json"] = TARGETS
    for directory in (
        "snapshots",
        "releases/23.05.10",
        "releases/24.10.3",
        "releases/24.10.4",
        "releases/24.10-SNAPSHOT",
        "releases/25.12.0-rc1",
    ):
        documents[f"{directory}/targets/ath79/generic/profiles.json"] = ATH79
        documents[f"{directory}/targets/x86/64/profiles.json"] = X86
    return copy.deepcopy(documents)


def indexed(*packages: str) -> dict[str, Any]:
    """Return `metadata` with an official index of the newest release that holds these packages."""
    index = {"version": 2, "packages": dict.fromkeys(packages, "1.0-r1")}
    return metadata() | {"releases/24.10.4/targets/x86/64/packages/index.json": index}


class UntouchableUpstream:
    """An upstream server that nobody may ask."""

    async def read(self, path: str, reader: Callable[[Any], Any]) -> Any:
        """Fail: whoever asks must not."""
        raise AssertionError(f"{reader.__name__} was asked to read {path}")

    def oldest(self) -> float:
        """See Upstream."""
        return 0.0

    def is_unconfirmed(self, path: str) -> bool:  # noqa: ARG002  # The signature is the protocol's.
        """See Upstream."""
        return False


class BrokenUpstream(UntouchableUpstream):
    """An upstream adapter with a mistake in it, whose message holds what nobody may learn."""

    async def read(self, path: str, reader: Callable[[Any], Any]) -> Any:
        """Fail as a programming mistake would."""
        raise RuntimeError(f"the secret of {path} and {reader.__name__}")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """An API over in-memory parts, which the test may use from behind."""

    app: FastAPI
    client: TestClient
    records: ImitatedRecords
    queue: MemoryBuildQueue
    store: MemoryStore
    statistics: ImitatedStatistics
    fleet: MemoryFleet

    def post(self, request: Mapping[str, Any], query: str = "") -> Any:
        """Ask for a build."""
        return self.client.post(f"/api/v1/build{query}", json=request)

    def key(self, request: Mapping[str, Any], query: str = "") -> str:
        """Ask for a build that is expected to be taken; return its key."""
        answer = self.post(request, query)
        assert answer.status_code in (200, 202), answer.text
        key: str = answer.json()["request_hash"]
        return key

    def start(self, key: str, step: str | None = None) -> tuple[Attempt, Progress]:
        """Begin a build as a worker does, and show a step."""
        attempt = self.records.start_next()
        assert attempt is not None
        assert attempt.key == key
        progress = Progress(attempt.plan)
        if step is not None:
            assert self.records.progress(attempt, step, progress.begun(step))
        return attempt, progress

    def finish(self, key: str, files: Mapping[str, bytes] | None = None, ttl: int = 1000) -> None:
        """Build as a worker does, with these files."""
        attempt, progress = self.start(key)
        place = self.store.workplace(key)
        for name, content in (files or {"firmware.bin": b"image"}).items():
            (place / name).write_bytes(content)
        self.store.publish(key, place, ttl)
        progress.gathered |= {"bin_dir": key, "images": [], "manifest": {}, "titles": []}
        assert self.records.finish(attempt, progress.done(), ttl)

    def fail(self, key: str, error: AsuError, ttl: int = 1000) -> None:
        """Fail a build as a worker does."""
        attempt, progress = self.start(key)
        assert self.records.finish(attempt, progress.failed(error), ttl)


def settings(**changes: Any) -> Settings:
    """Return settings for a test."""
    return Settings(**{"upstream_url": "https://downloads.example.org", **changes})


@contextmanager
def opened(
    *,
    upstream: Upstream | None = None,
    prepare_service: PrepareService | None = None,
    records: ImitatedRecords | None = None,
    queue: MemoryBuildQueue | None = None,
    statistics: ImitatedStatistics | None = None,
    store: MemoryStore | None = None,
    fleet: MemoryFleet | None = None,
    rules: RuleSource | None = None,
    **changes: Any,
) -> Iterator[World]:
    """Run the API over in-memory parts, or over those that are given."""
    records, queue, store = (
        records or ImitatedRecords(),
        queue or MemoryBuildQueue(),
        store or MemoryStore(),
    )
    counted, noted = statistics or ImitatedStatistics(), fleet or MemoryFleet(workers=1)
    wanted = settings(**changes)

    @asynccontextmanager
    async def open_services(_: Settings) -> AsyncIterator[Services]:
        yield assemble(
            wanted,
            upstream=upstream or MemoryUpstream(metadata()),
            prepare_service=prepare_service,
            records=records,
            queue=queue,
            store=store,
            statistics=counted,
            fleet=noted,
            counts=Counts(),
            rules=rules or load_rules(),
        )

    app = create_app(wanted, open_services)
    with TestClient(app, raise_server_exceptions=False, follow_redirects=False) as client:
        yield World(
            app=app,
            client=client,
            records=records,
            queue=queue,
            store=store,
            statistics=counted,
            fleet=noted,
        )
