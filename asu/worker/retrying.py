"""Which failed builds are begun again, and when."""

from collections.abc import Sequence

from asu.errors import AsuError


def delay_before_next(error: AsuError, tries: int, delays: Sequence[float]) -> float | None:
    """Return the seconds until a build is begun again that was begun `tries` times and has ended with an error; None for never.

    A user's error never passes, a builder that is published within hours not within seconds, and
    what is too large is so the next time (`is_passing` of each error). Of a disk that a build has
    filled nobody knows whether the next worker has the same, or whether it is tidied meanwhile
    (where it is not, none begins the build: `readiness`), so it is tried again like almost all that
    is ours. A lost worker's attempt counts, so no build is begun more often than the settings say.
    """
    return delays[tries - 1] if error.is_passing and tries <= len(delays) else None
