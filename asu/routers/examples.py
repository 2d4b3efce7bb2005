"""What the OpenAPI file says of each route, in the words of one device: an Archer C7 on its way to 24.10.4."""

from typing import Any

from asu.errors import (
    AmbiguousProfile,
    BodyTooLarge,
    BuilderNotRenewed,
    BuilderOutdated,
    BuildFailed,
    BuildTimeout,
    CertificateInvalid,
    ContainerFailed,
    ContainerTooLarge,
    DefaultsNotAllowed,
    DefaultsTooLong,
    DiskFull,
    DownloadFailed,
    FeedUntrusted,
    FeedUnusable,
    HalfPublished,
    ImageBuilderMissing,
    ImageTooBig,
    ImpossibleSelection,
    InternalError,
    InvalidRequest,
    MalformedRepository,
    MalformedRepositoryKey,
    MemoryFull,
    NotFound,
    OutputTooLarge,
    Overloaded,
    PlanUnusable,
    PrepareDisagrees,
    PrepareUnavailable,
    ProfileMissingInBuilder,
    QueueUnavailable,
    RepositoryNotAllowed,
    RootfsTooLarge,
    ShareExceeded,
    SigningFailed,
    StoreFailed,
    UnknownBuild,
    UnknownFilesystem,
    UnsuitableRepositoryKey,
    UnsupportedBranch,
    UnsupportedDistro,
    UnsupportedProfile,
    UnsupportedTarget,
    UnsupportedVersion,
    UpstreamUnreachable,
    WorkerLost,
    WrongPackageVersions,
    WrongRevision,
)

from .answers import (
    BranchAnswer,
    BuildAnswer,
    HealthAnswer,
    LatestAnswer,
    OverviewAnswer,
    PendingAnswer,
    PreviewAnswer,
    ProfileAnswer,
    RevisionAnswer,
    TargetPackagesAnswer,
    VersionAnswer,
)
from .documented import Responses, answers, failed_builds, failures, summary_of

KEY = "d28b4fed09577c84cb8ffb79ad7fee19c211c4ed9fd09186b08c1757a833bc4d"
ENQUEUED = "2026-03-01T12:00:00.000000+00:00"
DEVICE = {"version": "24.10.4", "target": "ath79/generic", "profile": "tplink_archer-c7-v5"}

# As device clients send them. None names versions or a revision: what is shown is also what a
# tester tries first, and those pass.
REQUESTS: dict[str, Any] = {
    "luci": {
        "summary": "LuCI: exactly these packages, on a device whose board name has a comma",
        "value": {
            **DEVICE,
            "profile": "tplink,archer-c7-v5",
            "packages": ["base-files", "dnsmasq", "dropbear", "firewall4", "luci", "auc"],
            "diff_packages": True,
            "filesystem": "squashfs",
            "client": "luci/25.168.50434~d6b13f6",
        },
    },
    "owut": {
        "summary": "owut: exactly these packages, with a size and a file system; where it knows versions, it sends `packages_versions` instead",
        "value": {
            **DEVICE,
            "packages": [
                "base-files",
                "busybox",
                "dnsmasq",
                "dropbear",
                "firewall4",
                "luci",
                "owut",
            ],
            "diff_packages": True,
            "filesystem": "squashfs",
            "rootfs_size_mb": 128,
            "client": "owut/2026.07.08-r1",
        },
    },
    "plain": {
        "summary": "Added to the defaults, and one taken away",
        "value": {**DEVICE, "packages": ["luci", "vim", "-ppp"]},
    },
}
REQUEST_BODY = {"requestBody": {"content": {"application/json": {"examples": REQUESTS}}}}

_RESOLVED: dict[str, Any] = {
    **DEVICE,
    "version_code": "",
    "packages": ["luci", "owut"],
    "packages_versions": {},
    "diff_packages": False,
    "defaults": None,
}
_COMMON = {"status": 202, "enqueued_at": ENQUEUED, "request_hash": KEY, "workers_alive": 2}
_PENDING = {**_COMMON, "detail": "queued", "queue_position": 3, "eta_seconds": 90, "attempts": []}
_ATTEMPT = {
    "number": 1,
    "begun": "2026-03-01T12:00:02+00:00",
    "ended": "2026-03-01T12:00:09+00:00",
    "outcome": "failed",
    "code": "download-failed",
}
_STARTED = {
    **_COMMON,
    "detail": "started",
    "imagebuilder_status": "building_image",
    "eta_seconds": 12,
    "attempts": [_ATTEMPT],
}
_IMAGE = "openwrt-24.10.4-d28b4fed0957-ath79-generic-tplink_archer-c7-v5-squashfs-sysupgrade.bin"
_FINISHED = {
    "status": 200,
    "detail": "done",
    "imagebuilder_status": "done",
    "request_hash": KEY,
    "bin_dir": KEY,
    "request": {**_RESOLVED, "rootfs_size_mb": None},
    "images": [
        {
            "filesystem": "squashfs",
            "name": _IMAGE,
            "type": "sysupgrade",
            "sha256": "43d9" + 60 * "0",
            "sha256_unsigned": "e6f1" + 60 * "0",
        }
    ],
    "manifest": {"busybox": "1.36.1-r2", "luci": "25.292.66247~75e41cb", "owut": "2025.10.06-r1"},
    "titles": [{"vendor": "TP-Link", "model": "Archer C7", "variant": "v5"}],
    "build_cmd": [
        "make",
        "image",
        "PROFILE=tplink_archer-c7-v5",
        "PACKAGES=luci owut",
        "EXTRA_IMAGE_NAME=d28b4fed0957",
        f"BIN_DIR=/builder/{KEY}",
    ],
    "build_at": "2025-10-19T16:37:45Z",
    "enqueued_at": ENQUEUED,
    "id": "tplink_archer-c7-v5",
    "target": "ath79/generic",
    "version_number": "24.10.4",
    "version_code": "r28959-29397011cc",
    "stdout": "",
    "stderr": "",
}

_REFUSALS = (
    UnsupportedDistro,
    UnsupportedVersion,
    UnsupportedBranch,
    UnsupportedTarget,
    UnsupportedProfile,
    AmbiguousProfile,
    DefaultsNotAllowed,
    DefaultsTooLong,
    RootfsTooLarge,
    RepositoryNotAllowed,
    MalformedRepository,
    MalformedRepositoryKey,
    UnsuitableRepositoryKey,
    BodyTooLarge,
    InvalidRequest,
)
_ASKED_UPSTREAM = (UpstreamUnreachable, HalfPublished)
_FAILED_BUILDS = failed_builds(
    ImpossibleSelection,
    WrongPackageVersions,
    FeedUntrusted,
    UnknownFilesystem,
    ImageTooBig,
    BuildFailed,
    WrongRevision,
    DownloadFailed,
    FeedUnusable,
    ImageBuilderMissing,
    ProfileMissingInBuilder,
    BuilderOutdated,
    BuilderNotRenewed,
    BuildTimeout,
    ContainerFailed,
    ContainerTooLarge,
    OutputTooLarge,
    SigningFailed,
    CertificateInvalid,
    StoreFailed,
    WorkerLost,
    PlanUnusable,
    InternalError,
)
_POLL_HEADERS = {
    "X-Imagebuilder-Status": {
        "description": "The step, or `queued`.",
        "schema": {"type": "string"},
    },
    "X-Queue-Position": {
        "description": "How many wait before this one; 0 once it runs.",
        "schema": {"type": "integer"},
    },
}
_STATES: Responses = {
    200: {
        "model": BuildAnswer,
        "description": "The image is finished; `images` names its files below /store/{bin_dir}/.",
        "headers": _POLL_HEADERS,
        "content": {"application/json": {"example": _FINISHED}},
    },
    202: {
        "model": PendingAnswer,
        "description": "The build waits or runs; ask again at /api/v1/build/{request_hash}.",
        "headers": _POLL_HEADERS,
        "content": {
            "application/json": {
                "examples": {"queued": {"value": _PENDING}, "started": {"value": _STARTED}}
            }
        },
    },
    **_FAILED_BUILDS,
}

BUILD: Responses = {
    **_STATES,
    **failures(
        *_REFUSALS,
        *_ASKED_UPSTREAM,
        QueueUnavailable,
        Overloaded,
        ShareExceeded,
        DiskFull,
        MemoryFull,
    ),
}
POLL: Responses = {**_STATES, **failures(UnknownBuild, QueueUnavailable)}

_PREVIEW = {
    "status": "prepared",
    "original_packages": ["luci", "auc"],
    "original_diff_packages": False,
    "resolved_packages": ["luci", "owut"],
    "changes": [
        {
            "type": "migration",
            "action": "replace",
            "package": "auc",
            "from_package": "auc",
            "to_package": "owut",
            "reason": "auc was replaced by owut",
            "automatic": True,
            "rule": "auc-owut",
            "reference": "r26792",
        }
    ],
    "problems": [],
    "warnings": [],
    "checked": True,
    "from_version": {"version": "23.05.5", "inferred": False, "evidence": None},
    "resolved_profile": "tplink_archer-c7-v5",
    "prepared_request": _RESOLVED,
    "request_hash": KEY,
    "cache_available": False,
}
PREVIEW = answers(
    PreviewAnswer,
    _PREVIEW,
    *_REFUSALS,
    *_ASKED_UPSTREAM,
    PrepareUnavailable,
    PrepareDisagrees,
    InternalError,
)

_BRANCH = {
    "name": "24.10",
    "path": "releases/{version}",
    "enabled": True,
    "snapshot": False,
    "path_packages": "DEPRECATED",
    "package_changes": [{"source": "auc", "target": "owut", "revision": 26792}],
    "versions": ["24.10.4", "24.10.3", "24.10-SNAPSHOT"],
    "targets": {"ath79/generic": "mips_24kc", "x86/64": "x86_64"},
    "branch_off_rev": 27990,
}
_LATEST = ["25.12.0-rc1", "24.10.4", "23.05.6"]
_SERVER = {
    "version": "1.0.0",
    "contact": "",
    "allow_defaults": False,
    "repository_allow_list": [],
    "max_custom_rootfs_size_mb": 1024,
}
_OVERVIEW = {
    "latest": _LATEST,
    "branches": {"24.10": _BRANCH},
    "upstream_url": "https://downloads.openwrt.org",
    "server": _SERVER,
}
_PROFILE = {
    "id": "tplink_archer-c7-v5",
    "target": "ath79/generic",
    "arch_packages": "mips_24kc",
    "version_number": "24.10.4",
    "version_code": "r28959-29397011cc",
    "metadata_version": 1,
    "build_at": "2025-10-19T16:37:45Z",
    "device_packages": ["kmod-usb2", "kmod-ath10k-ct"],
    "supported_devices": ["tplink,archer-c7-v5", "archer-c7-v5"],
    "images": [],
}
_NOT_MODIFIED: Responses = {
    304: {"description": "What the caller has, by `If-None-Match`, is still current."}
}

LATEST = {**answers(LatestAnswer, {"latest": _LATEST}, UpstreamUnreachable), **_NOT_MODIFIED}
BRANCHES: Responses = {
    200: {
        "model": list[BranchAnswer],
        "description": summary_of(BranchAnswer),
        "content": {"application/json": {"example": [_BRANCH]}},
    },
    **_NOT_MODIFIED,
    **failures(UpstreamUnreachable),
}
OVERVIEW = {**answers(OverviewAnswer, _OVERVIEW, UpstreamUnreachable), **_NOT_MODIFIED}
_LISTED = (NotFound, UnsupportedVersion, UnsupportedBranch, *_ASKED_UPSTREAM)
TARGET_PACKAGES = {
    **answers(
        TargetPackagesAnswer,
        {
            "architecture": "mips_24kc",
            "packages": {"base-files": "1637~29397011cc", "kmod-usb2": "6.6.110-r1"},
        },
        *_LISTED,
    ),
    **_NOT_MODIFIED,
}
ARCHITECTURE_PACKAGES: Responses = {
    200: {
        "model": dict[str, str],
        "description": "Name → version over all feeds.",
        "content": {
            "application/json": {
                "example": {"busybox": "1.36.1-r2", "luci": "25.292.66247~75e41cb"}
            }
        },
    },
    **_NOT_MODIFIED,
    **failures(*_LISTED),
}
PROFILE = {**answers(ProfileAnswer, _PROFILE, *_LISTED), **_NOT_MODIFIED}
_UNSUPPORTED = (UnsupportedVersion, UnsupportedBranch, UnsupportedTarget)
REVISION = answers(
    RevisionAnswer, {"revision": "r28959-29397011cc"}, NotFound, *_UNSUPPORTED, *_ASKED_UPSTREAM
)
MOVED: Responses = {301: {"description": "It is at `Location`."}}

LIVE = answers(HealthAnswer, {"status": "ok"})
_CHECKS = {
    "redis": "ok",
    "workers": "2 alive",
    "memory": "61 MiB are used of 256 MiB",
    "metadata": "oldest copy validated 12 s ago",
    "store": "ok",
    "disk": "48211 MiB free",
    "podman": "ok on 2 of 2 workers",
}
READY = {
    **answers(HealthAnswer, {"status": "ok", "checks": _CHECKS}),
    503: {
        "model": HealthAnswer,
        "description": "Redis does not answer; requests cannot be taken.",
        "content": {"application/json": {"example": {"status": "unavailable"}}},
    },
}
VERSION = answers(VersionAnswer, {"service": "asu", "version": "1.0.0"})
