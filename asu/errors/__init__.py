"""Everything that can go wrong, in one place.

AsuError
├── InfraError                  our own machinery is the cause; retried, never cached
│   ├── Overloaded
│   │   └── ShareExceeded
│   ├── DiskFull
│   ├── QueueUnavailable
│   │   └── MemoryFull
│   ├── PrepareUnavailable
│   ├── PrepareDisagrees
│   ├── ContainerFailed
│   ├── ContainerTooLarge
│   ├── OutputTooLarge
│   ├── BuilderNotRenewed
│   ├── BuildTimeout
│   ├── WorkerLost
│   ├── PlanUnusable
│   ├── StoreFailed
│   ├── SigningFailed
│   │   └── CertificateInvalid
│   └── InternalError
├── UpstreamError               OpenWrt's servers are the cause; try again later
│   ├── UpstreamUnreachable
│   ├── HalfPublished
│   ├── ImageBuilderMissing
│   ├── ProfileMissingInBuilder found by the worker, as all below
│   ├── BuilderOutdated
│   ├── FeedUnusable
│   └── DownloadFailed
└── UserError                   the request can never work as it stands
    ├── InvalidRequest          a field is missing or malformed
    ├── BodyTooLarge
    ├── NotFound
    │   └── UnknownBuild
    ├── RangeNotSatisfiable
    ├── MethodNotAllowed
    ├── UnsupportedDistro
    ├── UnsupportedVersion
    ├── UnsupportedBranch
    ├── UnsupportedTarget
    ├── UnsupportedProfile
    │   └── AmbiguousProfile
    ├── DefaultsNotAllowed
    ├── DefaultsTooLong
    ├── RootfsTooLarge
    ├── RepositoryNotAllowed
    │   └── MalformedRepository
    ├── MalformedRepositoryKey
    ├── UnsuitableRepositoryKey
    ├── WrongRevision           found by the worker, as all below
    ├── ImpossibleSelection
    ├── WrongPackageVersions
    ├── FeedUntrusted
    ├── UnknownFilesystem
    ├── ImageTooBig
    └── BuildFailed

The docstring of a class is its message; the table of errors in the documentation is made from the
classes. The edge and the application's handlers turn them into HTTP. `code` is stable and meant for
programs, `detail` for people.
"""

from .asu_error import LISTS, AsuError
from .infra_errors import (
    BuilderNotRenewed,
    BuildTimeout,
    CertificateInvalid,
    ContainerFailed,
    ContainerTooLarge,
    DiskFull,
    InfraError,
    InternalError,
    MemoryFull,
    OutputTooLarge,
    Overloaded,
    PlanUnusable,
    PrepareDisagrees,
    PrepareUnavailable,
    QueueUnavailable,
    ShareExceeded,
    SigningFailed,
    StoreFailed,
    WorkerLost,
)
from .upstream_errors import (
    BuilderOutdated,
    DownloadFailed,
    FeedUnusable,
    HalfPublished,
    ImageBuilderMissing,
    ProfileMissingInBuilder,
    UpstreamError,
    UpstreamUnreachable,
)
from .user_errors import (
    AmbiguousProfile,
    BodyTooLarge,
    BuildFailed,
    DefaultsNotAllowed,
    DefaultsTooLong,
    FeedUntrusted,
    ImageTooBig,
    ImpossibleSelection,
    InvalidRequest,
    MalformedRepository,
    MalformedRepositoryKey,
    MethodNotAllowed,
    NotFound,
    RangeNotSatisfiable,
    RepositoryNotAllowed,
    RootfsTooLarge,
    UnknownBuild,
    UnknownFilesystem,
    UnsuitableRepositoryKey,
    UnsupportedBranch,
    UnsupportedDistro,
    UnsupportedProfile,
    UnsupportedTarget,
    UnsupportedVersion,
    UserError,
    WrongPackageVersions,
    WrongRevision,
)

__all__ = [
    "LISTS",
    "AmbiguousProfile",
    "AsuError",
    "BodyTooLarge",
    "BuildFailed",
    "BuildTimeout",
    "BuilderNotRenewed",
    "BuilderOutdated",
    "CertificateInvalid",
    "ContainerFailed",
    "ContainerTooLarge",
    "DefaultsNotAllowed",
    "DefaultsTooLong",
    "DiskFull",
    "DownloadFailed",
    "FeedUntrusted",
    "FeedUnusable",
    "HalfPublished",
    "ImageBuilderMissing",
    "ImageTooBig",
    "ImpossibleSelection",
    "InfraError",
    "InternalError",
    "InvalidRequest",
    "MalformedRepository",
    "MalformedRepositoryKey",
    "MemoryFull",
    "MethodNotAllowed",
    "NotFound",
    "OutputTooLarge",
    "Overloaded",
    "PlanUnusable",
    "PrepareDisagrees",
    "PrepareUnavailable",
    "ProfileMissingInBuilder",
    "QueueUnavailable",
    "RangeNotSatisfiable",
    "RepositoryNotAllowed",
    "RootfsTooLarge",
    "ShareExceeded",
    "SigningFailed",
    "StoreFailed",
    "UnknownBuild",
    "UnknownFilesystem",
    "UnsuitableRepositoryKey",
    "UnsupportedBranch",
    "UnsupportedDistro",
    "UnsupportedProfile",
    "UnsupportedTarget",
    "UnsupportedVersion",
    "UpstreamError",
    "UpstreamUnreachable",
    "UserError",
    "WorkerLost",
    "WrongPackageVersions",
    "WrongRevision",
]
