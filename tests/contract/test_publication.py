"""Who may publish: one set of rules for the attempts of a build, held by the twin, the disk and, in
the integration ring, a bucket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asu.errors import QueueUnavailable
from asu.stores.local import LocalStore
from asu.stores.manifest import ACCOUNT
from asu.stores.store import Store, StoreUsage
from tests.contract.test_store import LIFETIMES, A, gather, publish, read
from tests.twins.memory_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def answers(*steps: tuple[Callable[[], None], bool]) -> Callable[[], bool]:
    """Return a question that does something, then answers, one step each time that it is asked."""
    left = iter(steps)

    def ask() -> bool:
        happens, answer = next(left)
        happens()
        return answer

    return ask


def nothing() -> None:
    """Let nothing happen."""


class PublicationContract:
    """What every implementation does when attempts of one build meet; a subclass brings `store`."""

    def try_to_publish(
        self, store: Store, is_current: Callable[[], bool], content: str = "mine"
    ) -> bool:
        """Publish as an attempt that asks whether it is still the current one."""
        place = gather(store, a_bin=content, mine_bin="x")
        (place / ACCOUNT).write_bytes(b"mine")
        try:
            return store.publish(A, place, 1000, is_current=is_current)
        finally:
            store.discard(place)

    def test_the_current_attempt_publishes(self, store: Store) -> None:
        """And is told so, whether the key is new or not."""
        assert self.try_to_publish(store, lambda: True)
        assert self.try_to_publish(store, lambda: True, "again")

        assert (store.has(A), read(store, "a.bin")) == (True, "again")

    def test_an_attempt_that_is_not_the_current_one_publishes_nothing(self, store: Store) -> None:
        """Nothing of it is left, and it is told so."""
        assert not self.try_to_publish(store, lambda: False)

        assert (store.has(A), store.usage()) == (False, StoreUsage(builds=0, bytes=0))

    def test_a_published_build_is_not_replaced_by_an_attempt_that_is_not_the_current_one(
        self, store: Store
    ) -> None:
        """Its record names the hashes of those files."""
        publish(store, a_bin="later", later_bin="x")
        manifest = store.manifest(A)

        assert not self.try_to_publish(store, lambda: False)

        assert (store.manifest(A), store.has(A), store.account(A)) == (manifest, True, None)
        assert (read(store, "a.bin"), read(store, "mine.bin")) == ("later", None)

    def test_the_question_is_asked_while_nothing_is_seen(self, store: Store) -> None:
        """The earlier build is whole until it is answered: what an attempt has to do before must
        not be what harms another.
        """
        publish(store, a_bin="earlier")
        seen: list[str | None] = []

        def look() -> None:
            seen.append(read(store, "a.bin") if store.has(A) else None)

        assert not self.try_to_publish(store, answers((look, False)))
        assert seen == ["earlier"]

    def test_an_attempt_that_freezes_before_it_asks_harms_nothing(self, store: Store) -> None:
        """Another has published when it thaws."""
        assert not self.try_to_publish(
            store, answers((lambda: publish(store, a_bin="later"), False))
        )

        assert (store.has(A), read(store, "a.bin"), read(store, "mine.bin")) == (
            True,
            "later",
            None,
        )

    @pytest.mark.parametrize("is_there", [False, True])
    def test_an_attempt_that_freezes_after_it_asked_leaves_nothing_of_its_own(
        self, store: Store, *, is_there: bool
    ) -> None:
        """What another published meanwhile stays, or is gone and is made again; never do the files
        of one lie under the record of the other.
        """
        if is_there:
            publish(store, a_bin="earlier")
        thaws = (lambda: publish(store, a_bin="later"), True)

        assert not self.try_to_publish(store, answers(thaws, (nothing, False), (nothing, False)))

        assert read(store, "a.bin") in {None, "later"}
        assert (read(store, "mine.bin"), store.has(A)) == (None, read(store, "a.bin") == "later")

    def test_an_attempt_that_was_replaced_takes_nothing_back(self, store: Store) -> None:
        """It froze when its files were seen; those that lie there now are the later attempt's."""
        assert not self.try_to_publish(
            store, answers((nothing, True), (lambda: publish(store, a_bin="later"), False))
        )

        assert (store.has(A), read(store, "a.bin"), read(store, "mine.bin")) == (
            True,
            "later",
            None,
        )

    def test_a_build_can_be_published_after_one_was_taken_back(self, store: Store) -> None:
        """Nothing of it is in the way, and nothing is left over."""
        assert not self.try_to_publish(store, answers((nothing, True), (nothing, False)))
        assert (store.has(A), read(store, "a.bin")) == (False, None)
        publish(store, a_bin="later")

        assert (read(store, "a.bin"), store.usage()) == ("later", StoreUsage(builds=1, bytes=5))

    def test_while_nobody_can_say_who_is_the_current_one_nothing_is_published(
        self, store: Store
    ) -> None:
        """What is published already stays."""
        publish(store, a_bin="earlier")

        def ask() -> bool:
            raise QueueUnavailable

        with pytest.raises(QueueUnavailable):
            self.try_to_publish(store, ask)
        assert (store.has(A), read(store, "a.bin")) == (True, "earlier")
        assert store.expire(LIFETIMES, lambda _: False) == []


class TestMemoryPublication(PublicationContract):
    """The in-memory twin."""

    @pytest.fixture
    def store(self) -> Store:
        """Return an empty store."""
        return MemoryStore()


class TestLocalPublication(PublicationContract):
    """The disk."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        """Return an empty store."""
        store = LocalStore(tmp_path)
        store.open()
        return store

    def test_a_build_that_came_since_the_question_stays(self, store: Store, tmp_path: Path) -> None:
        """A directory with files refuses the rename, and then there is another question."""
        thaws = (lambda: publish(store, a_bin="later"), True)

        assert not self.try_to_publish(store, answers(thaws, (nothing, False)))

        assert read(store, "a.bin") == "later"
        assert list((tmp_path / ".incoming").iterdir()) == []
