"""The one error that a person at the terminal is meant to read."""


class Trouble(Exception):
    """What failed, and what can be done about it."""
