"""Random lives of many builds in one line, and what everybody who waits sees of it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asu.records.build_record import LEASE_SECONDS, Attempt, Claimed, State
from tests.contract.sides import DONE

if TYPE_CHECKING:
    from tests.contract.sides import Sides

STEPS = 80


@dataclass
class Crowd:
    """Builds that are claimed, begun, finished, lost and tried again; `seen` is the last place told
    of each that waits.
    """

    sides: Sides
    chance: random.Random
    keys: list[str] = field(default_factory=list)
    running: list[Attempt] = field(default_factory=list)
    seen: dict[str, int] = field(default_factory=dict)
    worst: int = 0  # The highest place that anybody has seen.

    async def live(self) -> int:
        """Let something happen many times; after each, everybody who waits looks.

        Return the highest place that anybody has seen. Fail when a place gets worse.
        """
        for _ in range(STEPS):
            await self.chance.choice(
                [self.claim, self.claim, self.begin, self.begin, self.finish, self.retry, self.lose]
            )()
            await self.look()
        return self.worst

    async def claim(self) -> None:
        """Ask for a build that nobody has asked for."""
        self.keys.append(f"{len(self.keys):064x}")
        assert await self.sides.claim(self.keys[-1]) is Claimed.NEW

    async def begin(self) -> None:
        """Begin the first that is due."""
        due = self.sides.worker.due_keys()
        if due:
            self.running.append(self.sides.start(due[0]))
            self.seen.pop(due[0], None)

    async def finish(self) -> None:
        """End one that runs."""
        if self.running:
            self.sides.worker.finish(self._one(), DONE, 10_000_000)

    async def retry(self) -> None:
        """Let one fail that is tried again, at once or some time later."""
        if self.running:
            assert self.sides.worker.retry(
                self._one(), "download-failed", self.chance.choice([0, 1_000_000])
            )

    async def lose(self) -> None:
        """Let the worker of one die; the others renew their leases."""
        if self.running:
            lost = self._one()
            self.sides.let_pass(LEASE_SECONDS)
            assert self.sides.worker.requeue(lost.key, lost.number)

    async def look(self) -> None:
        """See that nobody's place is worse than it was, and that the places of those who were never
        begun are 0, 1, 2 and so on.
        """
        fresh: list[int] = []
        for key in self.keys:
            record = await self.sides.api.look(key)
            assert record is not None
            if record.state is not State.QUEUED:
                continue
            position = record.live.position
            assert position <= self.seen.get(key, position), (
                f"{key[-3:]} stood at {self.seen[key]} and stands at {position}"
            )
            self.seen[key], self.worst = position, max(position, self.worst)
            if record.live.tried == b"[]":
                fresh.append(position)
        assert sorted(fresh) == list(range(len(fresh)))

    def _one(self) -> Attempt:
        return self.running.pop(self.chance.randrange(len(self.running)))
