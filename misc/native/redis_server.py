"""Redis of a native system: on a unix socket in a directory of its user alone, with a password.

Other users of the machine cannot reach it: what stands in its queue is an order to root's workers.
"""

from __future__ import annotations

import os
import secrets
import shutil
from typing import TYPE_CHECKING
from urllib.parse import quote

from misc.native.processes import Program
from misc.native.trouble import Trouble

if TYPE_CHECKING:
    from misc.native.settings import Settings
    from misc.native.users import User

# A build is accepted when it is on the disk.
CONFIGURATION = """\
port 0
unixsocket "{socket}"
unixsocketperm 700
requirepass {password}
dir "{directory}"
appendonly yes
appendfsync always
save ""
"""


def redis_url(settings: Settings) -> str:
    """Return the address of this system's Redis, with its password."""
    return f"unix://:{_password(settings)}@{quote(str(settings.redis_socket))}"


def redis_program(settings: Settings, user: User | None, *, runs: bool) -> Program:
    """Return how Redis is started; its files are made for `user` first unless it runs."""
    server = next(
        (path for path in map(shutil.which, ("redis-server", "valkey-server")) if path), None
    )
    if server is None:
        raise Trouble("redis-server is missing; install it: make install")
    directory = settings.run_dir / "redis"
    configuration = directory / "redis.conf"
    if not runs:
        for each in (directory, settings.redis_socket.parent):
            each.mkdir(exist_ok=True)
            each.chmod(0o700)
        configuration.touch(mode=0o600)
        configuration.write_text(
            CONFIGURATION.format(
                socket=settings.redis_socket, password=_password(settings), directory=directory
            )
        )
        if user:
            user.own(directory)
            os.chown(settings.redis_socket.parent, user.uid, user.gid)
    return Program(name="redis", command=(server, str(configuration)), user=user)


def _password(settings: Settings) -> str:
    """Return the password, which is made at the first call."""
    path = settings.run_dir / "redis.password"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32))
    return path.read_text()
