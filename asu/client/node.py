"""A device as its owner has it: board, release and packages, read over ssh or from a file."""

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .connection import ClientError

# One shell command for opkg and apk. `packagelist` leaves out what other packages brought along;
# where it is missing, everything that is installed is taken.
MARK = "--asu--"
REMOTE = (
    f"ubus call system board; echo {MARK};"
    " ubus call rpc-sys packagelist '{\"all\": false}' 2>/dev/null;"
    f" echo {MARK}; opkg list-installed 2>/dev/null || apk list -I 2>/dev/null"
)
SSH_SECONDS = 60
_APK = re.compile(r"(?P<name>[\w.+-]+?)-(?P<version>[0-9][\w.+~]*(?:-r[0-9]+)?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A device: `packages` maps each installed package to its version."""

    name: str
    model: str
    profile: str
    target: str
    version: str
    filesystem: str | None
    packages: Mapping[str, str]

    def request(self, version: str, *, ignore: list[str]) -> dict[str, Any]:
        """Return the build request that upgrades this device to a version."""
        return {
            "version": version,
            "from_version": self.version,
            "target": self.target,
            "profile": self.profile,
            "packages": list(self.packages),
            "diff_packages": True,
            "client": "asu",
            "ignored_changes": ignore,
            **({"filesystem": self.filesystem} if self.filesystem else {}),
        }

    def as_json(self) -> str:
        """Return what `read_node` reads."""
        return json.dumps(asdict(self), indent=2) + "\n"


def inspect(host: str) -> Node:
    """Ask a device over the system's own ssh; raise ClientError where that fails."""
    if host.startswith("-"):
        raise ClientError(f'"{host}" is not a host; write root@192.168.1.1')
    try:
        ended = subprocess.run(  # noqa: S603
            ["ssh", "-o", "ConnectTimeout=10", host, REMOTE],  # noqa: S607
            stdout=subprocess.PIPE,
            timeout=SSH_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise ClientError("ssh is not installed here") from None
    except subprocess.TimeoutExpired:
        raise ClientError(f"{host} did not answer within {SSH_SECONDS} s") from None
    if not ended.stdout:
        raise ClientError(f"{host} could not be asked; ssh says why above")
    return node_of(ended.stdout.decode("utf-8", "replace"))


def node_of(output: str) -> Node:
    """Read what the remote command printed; raise ClientError where it is no OpenWrt device."""
    board, listed, installed = (part.strip() for part in (output + MARK * 2).split(MARK)[:3])
    try:
        facts = json.loads(board)
        packages = json.loads(listed)["packages"] if listed else installed_packages(installed)
        if not packages:
            raise ClientError("the device did not list its packages")
        return Node(
            name=facts.get("hostname", "device"),
            model=facts.get("model", ""),
            profile=facts["board_name"],
            target=facts["release"]["target"],
            version=facts["release"]["version"],
            filesystem=facts.get("rootfs_type"),
            packages=packages,
        )
    except (ValueError, KeyError, TypeError):
        raise ClientError("the device does not answer as one that runs OpenWrt") from None


def installed_packages(text: str) -> dict[str, str]:
    """Read `opkg list-installed` (`vim - 9.1-1`) or `apk list -I` (`vim-9.1-r1 mips {…} …`)."""
    packages = {}
    for line in text.splitlines():
        name, dash, version = line.partition(" - ")
        found = None if dash else _APK.fullmatch(line.split(" ", 1)[0])
        if dash:
            packages[name.strip()] = version.split(" - ")[0].strip()
        elif found:
            packages[found["name"]] = found["version"]
    return packages


def read_node(file: Path) -> Node:
    """Read what `asu inspect` wrote; raise ClientError where the file is something else."""
    try:
        return Node(**json.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise ClientError(f"{file}: {error.strerror}") from None
    except (ValueError, TypeError):
        raise ClientError(f"{file} is not what `asu inspect` writes") from None
