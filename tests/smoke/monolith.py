"""The deployment of one machine: three containers, previews by the API itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.smoke import images
from tests.smoke.containers import check_containers, check_ports, check_settings, check_walls
from tests.smoke.traffic import Client, await_build, download, request_build

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.smoke.deployment import Deployment


def try_monolith(
    deployment: Deployment, port: int, network: str, say: Callable[[str], None]
) -> None:
    """Start it and upgrade one device; raises SmokeError at the first thing that does not hold."""
    deployment.up()
    say(check_containers(deployment))
    say(check_settings(deployment))
    say(check_ports(deployment, "api"))
    say(check_walls(deployment, network, images.PYTHON, [("redis", 6379), ("api", 8000)]))
    client = Client(port)
    build = await_build(client, request_build(client))
    say(
        f"preview, build and download: {len(build['images'])} images, {download(client, build)}"
        " bytes"
    )
