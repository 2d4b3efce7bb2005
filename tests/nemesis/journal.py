"""What Redis wrote down of the build records: its append-only file holds every change in its order,
those of the Lua scripts included.

It is the one witness that misses nothing: a sample of the records would not see a failure that a
new request replaced at once. The file ends where the process was killed, which may be in the middle
of a command; Redis itself cuts that off when it starts again.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from tests.nemesis.history import Transition

RECORD = b"asu:build:"
DIRECTORY = "appendonlydir"


def read_transitions(redis_directory: Path) -> list[Transition]:
    """Return every change of state of every build, in order; the base, a snapshot from before the
    run, is empty.
    """
    directory = redis_directory / DIRECTORY
    [manifest] = directory.glob("*.manifest")
    entries = [line.split() for line in manifest.read_text().splitlines()]
    # `file NAME seq NUMBER type i`: the increments, in the order of the manifest.
    names = [entry[1] for entry in entries if entry[5] == "i"]
    return [
        transition
        for name in names
        for transition in transitions_of((directory / name).read_bytes())
    ]


def transitions_of(content: bytes) -> Iterator[Transition]:
    """Yield the changes of state that commands make: hashes of builds that get a state, or are
    deleted.
    """
    known: set[str] = set()
    for command in commands_of(io.BytesIO(content)):
        name, *arguments = command
        keys = [
            argument[len(RECORD) :].decode()
            for argument in arguments
            if argument.startswith(RECORD)
        ]
        if name.upper() in {b"HSET", b"HMSET"} and keys and arguments[0].startswith(RECORD):
            fields = dict(zip(arguments[1::2], arguments[2::2], strict=False))
            if b"state" in fields:
                known.add(keys[0])
                yield Transition(
                    key=keys[0],
                    state=fields[b"state"].decode(),
                    fault=fields.get(b"fault", b"").decode(),
                )
        elif name.upper() in {b"DEL", b"UNLINK"}:
            yield from (Transition(key=key, state="gone") for key in keys if key in known)


def commands_of(stream: BinaryIO) -> Iterator[Sequence[bytes]]:
    """Yield the commands of an append-only file: `*COUNT`, then `$LENGTH` and the bytes of each
    word; lines with `#` are notes.
    """
    while (line := stream.readline()).endswith(b"\n"):
        if line.startswith(b"#"):
            continue
        words: list[bytes] = []
        for _ in range(int(line[1:])):
            head = stream.readline()
            if not head.endswith(b"\n"):
                return
            word = stream.read(int(head[1:]) + 2)
            if not word.endswith(b"\r\n"):
                return
            words.append(word[:-2])
        yield words
