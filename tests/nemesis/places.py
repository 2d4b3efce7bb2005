"""Places in line never get worse, whatever happens to workers, Redis or the API meanwhile.

A build that failed by no fault of its user's begins a new life with the next POST, at the end of
the line. So places are compared between two polls of one client between which nobody posted that
request; what lies between them is then one life. A build that comes back after an attempt stands
before all others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.nemesis.history import Exchange, History


def places_never_rise(history: History) -> Iterator[str]:
    """Yield each poll that was told a worse place than the one before it."""
    posts = [
        exchange for exchange in history.exchanges if exchange.purpose == "post" and exchange.key
    ]
    last: dict[tuple[int, str], Exchange] = {}
    for poll in sorted(
        (one for one in history.exchanges if one.purpose == "poll" and one.place is not None),
        key=lambda one: one.began,
    ):
        before = last.get((poll.session, poll.key))
        last[poll.session, poll.key] = poll
        if (
            before is not None
            and _is_worse(poll, before)
            and not _is_posted_between(posts, before, poll)
        ):
            yield (
                f"client {poll.session}, build {poll.key}: place {before.place} at"
                f" {before.ended:.1f} became {poll.place} at {poll.began:.1f}"
            )


def compared_places(history: History) -> int:
    """Return how many polls were told a place, so that a verdict can be weighed."""
    return sum(one.purpose == "poll" and one.place is not None for one in history.exchanges)


def _is_worse(poll: Exchange, before: Exchange) -> bool:
    return poll.place is not None and before.place is not None and poll.place > before.place


def _is_posted_between(posts: Sequence[Exchange], before: Exchange, poll: Exchange) -> bool:
    return any(
        post.key == poll.key and post.ended >= before.began and post.began <= poll.ended
        for post in posts
    )
