"""How often a store far away is asked whether files are there."""

import asyncio
import threading
from dataclasses import dataclass, field

import pytest

from asu.errors import StoreFailed
from asu.stores.presence import PATIENCE, REMEMBERED, Presence
from tests.twins.memory_store import MemoryStore

pytestmark = pytest.mark.anyio

A, B = "a" * 64, "b" * 64


class FarStore(MemoryStore):
    """A store far away: it counts the questions, and can be away, or so slow that it does not
    answer until it is let go on.
    """

    answers_last = 60.0

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.away = False
        self.was_asked, self.answers = threading.Event(), threading.Event()
        self.answers.set()

    def has(self, key: str) -> bool:
        """See Store."""
        self.asked.append(key)
        self.was_asked.set()
        self.answers.wait()
        if self.away:
            raise StoreFailed(reason="away")
        return super().has(key)


@dataclass
class World:
    """A store far away, whether files are there, and a clock."""

    store: FarStore = field(default_factory=FarStore)
    now: float = 0.0

    def __post_init__(self) -> None:
        self.presence = Presence(self.store, lambda: self.now)
        self.store.publish(A, self.store.workplace(A), 100)


async def test_one_question_a_minute_answers_all_who_poll() -> None:
    """However many they are, at once or one after the other."""
    world = World()
    assert all(await asyncio.gather(*(world.presence.has(A) for _ in range(50))))
    world.now += 59
    assert await world.presence.has(A)
    assert world.store.asked == [A]

    world.now += 2
    assert await world.presence.has(A)
    assert world.store.asked == [A, A]


async def test_files_that_vanish_are_missed_within_a_minute() -> None:
    """And that they are gone is not remembered: they may be built again at any time."""
    world = World()
    assert await world.presence.has(A)
    del world.store.published[A]
    world.now += 61
    assert not await world.presence.has(A)
    world.store.publish(A, world.store.workplace(A), 100)

    assert await world.presence.has(A)


async def test_who_asks_for_a_build_gets_a_fresh_answer() -> None:
    """A request is worth a question of its own."""
    world = World()
    assert await world.presence.has(A)
    del world.store.published[A]

    assert not await world.presence.has(A, is_fresh=True)
    assert not await world.presence.has(A), "and what was remembered before is forgotten"


async def test_a_store_that_is_away_counts_as_full_and_is_left_in_peace() -> None:
    """Those who poll are not told of it, and it is not asked by each of them."""
    world = World()
    world.store.away = True

    assert [await world.presence.has(B) for _ in range(5)] == [True] * 5
    assert world.store.asked == [B]


async def test_a_store_that_hangs_holds_nobody_up_for_long() -> None:
    """After a little patience the files count as present; its answer is taken when it comes."""
    world = World()
    world.store.answers.clear()
    # The question is put, and the patience is over by the time that those come who poll.
    world.now = -PATIENCE
    first = asyncio.create_task(world.presence.has(B))
    await asyncio.to_thread(world.store.was_asked.wait)
    world.now = 0.0

    assert [await world.presence.has(B) for _ in range(5)] == [True] * 5
    world.store.answers.set()
    assert not await first
    assert not await world.presence.has(B)
    assert world.store.asked == [B, B]


async def test_who_hangs_up_does_not_end_the_question_for_others() -> None:
    """It was put for all."""
    world = World()
    world.store.answers.clear()
    first, second = (asyncio.create_task(world.presence.has(A)) for _ in range(2))
    await asyncio.to_thread(world.store.was_asked.wait)
    first.cancel()
    world.store.answers.set()

    assert await second
    assert world.store.asked == [A]


def test_a_store_that_hangs_does_not_hold_up_the_end_of_the_server() -> None:
    """A question that is still open is given up."""
    store = FarStore()
    store.answers.clear()

    async def serve() -> None:
        asking = asyncio.create_task(Presence(store).has(A))
        await asyncio.to_thread(store.was_asked.wait)
        asking.cancel()

    server = threading.Thread(target=asyncio.run, args=(serve(),))
    server.start()
    server.join(10)
    has_ended = not server.is_alive()
    store.answers.set()
    server.join()

    assert has_ended


async def test_what_is_remembered_is_bounded() -> None:
    """Whatever keys are asked for, the memory of a server is not filled; the oldest are
    forgotten.
    """
    world = World()
    world.store.away = True
    for number in range(REMEMBERED + 1):
        await world.presence.has(f"{number:064x}")
    world.store.asked.clear()

    await world.presence.has(f"{REMEMBERED:064x}")
    await world.presence.has(f"{0:064x}")
    assert world.store.asked == [f"{0:064x}"]


async def test_a_store_nearby_is_asked_each_time() -> None:
    """It costs next to nothing, and nobody is told of files that have just gone."""
    store = MemoryStore()
    presence = Presence(store)
    store.publish(A, store.workplace(A), 100)
    assert await presence.has(A)
    del store.published[A]

    assert not await presence.has(A)
