"""How much memory Redis uses of what it may use, and how much of it must stay free."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Of the limit: with 200 builds in line, tickets, leases, statistics and notes take a few MiB.
RESERVED_PART = 0.1
# The longest body of a failed build, which is cut to it: a whole x86 build prints 121 KiB of JSON.
# Redis rounds a value of 124 KiB up to 128, and that is all that an accepted build may still add.
ENDED_BODY_BYTES = 124 * 1024
ENDING_BYTES = 128 * 1024
# What people can follow of a running build's output, and what Redis itself needs for a stream.
LOG_BYTES = 64 * 1024
PENDING_BYTES = ENDING_BYTES + LOG_BYTES + 16 * 1024


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
    return int(limit * RESERVED_PART) + pending * PENDING_BYTES


def memory_use(info: Mapping[str, Any]) -> MemoryUse | None:
    """Read Redis' answer to INFO; None if it does not say."""
    if "used_memory" not in info or "maxmemory" not in info:
        return None
    # Redis itself does not count buffers of its append-only file and of replicas either.
    used = int(info["used_memory"]) - int(info.get("mem_not_counted_for_evict", 0))
    return MemoryUse(used=used, limit=int(info["maxmemory"]))
