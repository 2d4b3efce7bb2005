"""HTTP for the command line: patient, and never through a proxy, as all is on this machine."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HEALTH_SECONDS = 2.0  # A service that needs longer for its own health is not healthy.
ANSWER_SECONDS = 60.0  # The gateway gives up on either service before that.


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One HTTP answer, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """Read the body as a JSON object; anything else reads as an empty one."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


def ask(url: str, *, body: object = None, seconds: float = ANSWER_SECONDS) -> Answer:
    """GET `url`, or POST `body` to it as JSON; raises OSError when nothing answers."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data=data, headers=headers)  # noqa: S310 - Our addresses.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=seconds) as answer:
            return Answer(status=answer.status, headers=dict(answer.headers), body=answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(status=error.code, headers=dict(error.headers), body=error.read())


def answers_well(url: str) -> bool:
    """Say whether `url` answers 200."""
    try:
        return ask(url, seconds=HEALTH_SECONDS).status == 200  # noqa: PLR2004 - HTTP's own number.
    except OSError:
        return False


def is_free(host: str, port: int) -> bool:
    """Say whether a server could listen on this port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def takes_connections(address: tuple[str, int] | Path) -> bool:
    """Say whether something listens at a TCP address or a unix socket."""
    family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
    with socket.socket(family) as probe:
        probe.settimeout(HEALTH_SECONDS)
        try:
            probe.connect(address if isinstance(address, tuple) else str(address))
        except OSError:
            return False
    return True
