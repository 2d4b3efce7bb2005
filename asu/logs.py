"""Logging: readable lines on standard error; set up by `__main__` alone."""

import logging


def configure_logging(level: str) -> None:
    """Log from `level` on; control characters in messages are shown, never sent to a terminal."""
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in ("httpx2", "rq.worker"):  # They report every request and every five-second round at info.
        logging.getLogger(chatty).setLevel(logging.WARNING)


class _OneLine(logging.Formatter):
    """Keeps what an attacker may have shaped from forging lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # The name is the library's.
        """Format a record on one line."""
        return "".join(character if character.isprintable() else repr(character)[1:-1] for character in super().formatMessage(record))
