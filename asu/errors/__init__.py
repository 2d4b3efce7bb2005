"""Everything that can go wrong, in one place.

AsuError
├── InfraError                  our own machinery is the cause; retried, never cached
│   ├── Overloaded
│   │   └── ShareExceeded
│   ├── TooManyListeners
│   ├── NoWorker
│   ├── QueueUnavailable
│   │   └── MemoryFull
│   ├── ContainerFailed
│   │   └── BuildDisrupted
│   ├── ContainerTooLarge
│   ├── OutputTooLarge
│   ├── BuilderNotRenewed
│   ├── BuildTimeout
│   ├── WorkerLost
│   ├── PlanUnusable
│   ├── StoreFailed
│   │   └── DiskFull
│   ├── SigningFailed
│   │   └── CertificateInvalid
│   └── InternalError
├── UpstreamError               OpenWrt's servers are the cause; try again later
│   ├── UpstreamUnreachable
│   ├── HalfPublished
│   ├── ImageBuilderMissing
│   ├── BuilderIncomplete       found by the worker, as all below
│   ├── ProfileMissingInBuilder
│   ├── BuilderOutdated
│   ├── FeedUnusable
│   ├── BrokenDependency
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
    ├── DeviceMoved
    ├── DefaultsNotAllowed
    ├── DefaultsTooLong
    ├── RootfsTooLarge
    ├── RepositoryNotAllowed
    │   └── MalformedRepository
    ├── MalformedRepositoryKey
    ├── UnsuitableRepositoryKey
    ├── WrongRevision           found by the worker, as all below
    ├── ImpossibleSelection
    ├── OutputUnreadable
    ├── BuildStopsWorkers
    ├── WrongPackageVersions
    ├── FeedUntrusted
    ├── UnknownFilesystem
    ├── ImageTooBig
    └── BuildFailed

The docstring of a class is its message, and its name is its code. The edge and the application
turn errors into HTTP.
"""

from .asu_error import AsuError as AsuError
from .asu_error import error_classes as error_classes
from .infra_errors import *
from .upstream_errors import *
from .user_errors import *
