"""Which failed builds are begun again, and when."""

from collections.abc import Sequence

from asu.errors import AsuError

# Seconds. An error that says to come again only later, such as a builder that is published within hours, is still there after the last delay.
PASSING = 60


def delay_before_next(error: AsuError, tries: int, delays: Sequence[float]) -> float | None:
    """Return the seconds until a build is begun again that was begun `tries` times and has ended with an error; None for never.

    A user's error never passes. Of a full disk nobody knows whether the next worker has the same, or whether it is tidied meanwhile, so it
    is tried again like all that is ours. A lost worker's attempt counts, so no build is begun more often than the settings say.
    """
    if error.fault == "user" or error.retry_after is None or error.retry_after > PASSING:
        return None
    return delays[tries - 1] if tries <= len(delays) else None
