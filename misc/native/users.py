"""The users of the processes that need no privileges, when root starts the system."""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from misc.native.settings import ROOT
from misc.native.sources import settings_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from misc.native.settings import Settings

NOBODY = "nobody"  # Every distribution has this user.
CHECK_SECONDS = 20.0  # It takes a fraction of a second.
CHECK = 'for path; do test -r "$path" || exit 1; done'


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user without privileges."""

    name: str
    group: str
    uid: int
    gid: int

    def own(self, directory: Path) -> None:
        """Give a directory, with all that lies in it, to this user."""
        for path in (directory, *directory.rglob("*")):
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def may_run(self, command: Sequence[str]) -> bool:
        """Run a command as this user, and say whether it succeeded: the whole path must be open."""
        try:
            done = subprocess.run(
                command,
                check=False,
                cwd="/",
                capture_output=True,
                timeout=CHECK_SECONDS,
                user=self.uid,
                group=self.gid,
                extra_groups=[],
            )
        except (OSError, subprocess.SubprocessError):
            return False
        return done.returncode == 0

    def may_read(self, *paths: Path) -> bool:
        """Say whether this user may read all of these, those that exist."""
        return self.may_run(
            ["/bin/sh", "-c", CHECK, "sh", *(str(path) for path in paths if path.exists())]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Users:
    """The users to run as; None is the user of this process."""

    programs: User | None  # Redis and nginx's workers.
    # What runs in the virtual environment, from this checkout; but for workers, who need podman and
    # its root.
    services: User | None


def choose_users(settings: Settings, environment: Mapping[str, str]) -> Users:
    """Choose the user who called sudo, or nobody, if this is root and that user may read the files.

    A checkout or a Python below /root is closed to everybody else, for example. Opening directories
    is not for this program to do.
    """
    user = _unprivileged_user(environment) if os.geteuid() == 0 else None
    if user is None or not user.may_read(settings.run_dir):
        return Users(programs=None, services=None)
    sources = (
        ROOT / "asu" / "__main__.py",
        ROOT / "asu-prepare" / "asu_prepare" / "__main__.py",
        settings_file(environment),
    )
    has_services = user.may_read(*sources) and user.may_run(
        [str(settings.python), "-c", "import pydantic"]
    )
    return Users(programs=user, services=user if has_services else None)


def _unprivileged_user(environment: Mapping[str, str]) -> User | None:
    caller = environment.get("SUDO_UID", "0")
    try:
        entry = pwd.getpwnam(NOBODY) if caller == "0" else pwd.getpwuid(int(caller))
        return User(
            name=entry.pw_name,
            group=grp.getgrgid(entry.pw_gid).gr_name,
            uid=entry.pw_uid,
            gid=entry.pw_gid,
        )
    except (KeyError, ValueError):
        return None
