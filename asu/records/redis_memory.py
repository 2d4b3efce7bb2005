"""How much memory Redis uses of what it may use, and how much of it must stay free.

A full Redis that drops nothing refuses to write, and RQ's part of the queue cannot do without
writing. So new builds are refused before, while what is left suffices for the ends of all that were
accepted.
"""

from dataclasses import dataclass

# Of the limit: jobs, leases, statistics and notes of workers; measured with 200 builds in line they
# take a few MiB.
RESERVED_PART = 0.1
# What a build that is accepted may still add, which is mostly the body of its record if it fails. A
# whole x86 build prints 121 KiB of JSON, and whatever a build prints, it is cut to fit. The rest of
# a record is there before, and Redis rounds up: a body of 124 KiB to 128.
ENDED_BODY_BYTES = 124 * 1024
ENDING_BYTES = 128 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUse:
    """Bytes that Redis uses, as far as they count, and how many may be; a `limit` of 0 is none."""

    used: int
    limit: int

    def has_room(self, pending: int) -> bool:
        """Whether another build may be accepted while so many wait or run."""
        return not self.limit or self.used + reserve(self.limit, pending + 1) <= self.limit


def reserve(limit: int, pending: int) -> int:
    """Return how many bytes must be free below a limit for so many builds to end."""
    return int(limit * RESERVED_PART) + pending * ENDING_BYTES
