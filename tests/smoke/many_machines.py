"""Workers on another machine: two deployments that have in common a bucket, and a network with
nothing in it but Redis.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.s3_server import ask, make_bucket, running_s3
from tests.smoke import images
from tests.smoke.containers import check_containers, check_walls
from tests.smoke.engine import SmokeError
from tests.smoke.traffic import Client, await_build, download, request_build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.smoke.deployment import Deployment
    from tests.smoke.engine import Engine

BETWEEN = "asu-smoke-between"
BUCKET = "images"
PASSWORD = "of-this-test-alone"  # noqa: S105  # Guards a Redis that lives for half a minute.
HERE = ("redis", "prepare", "api", "gateway", "upstream")  # All but a worker.
SITE = {
    "SMOKE_BETWEEN": BETWEEN,
    "SMOKE_PASSWORD": PASSWORD,
    "REDIS_URL": f"redis://:{PASSWORD}@redis:6379/0",
}


@contextmanager
def bucket(engine: Engine) -> Iterator[dict[str, str]]:
    """Make the network between the machines, and a bucket on this one; yield the settings that name
    both.
    """
    if not engine.succeeds("network", "exists", BETWEEN):
        engine.podman("network", "create", "--opt", "isolate=true", BETWEEN)
    gateway = json.loads(engine.podman("network", "inspect", BETWEEN))[0]["subnets"][0]["gateway"]
    try:
        # It listens everywhere, since the address at which containers find this machine exists only
        # while one runs. It holds nothing of value.
        with running_s3("0.0.0.0") as url:  # noqa: S104  # See above.
            make_bucket(url, BUCKET)
            port = url.rpartition(":")[2]
            address = {"S3_BUCKET": BUCKET, "S3_ENDPOINT_URL": f"http://{gateway}:{port}"}
            yield {
                **SITE,
                **address,
                "S3_ACCESS_KEY_ID": "smoke",
                "S3_SECRET_ACCESS_KEY": PASSWORD,
                "SMOKE_BUCKET": f"{url}/{BUCKET}",
            }
    finally:
        engine.podman("network", "rm", "--force", BETWEEN)


def try_many_machines(
    here: Deployment, there: Deployment, port: int, say: Callable[[str], None]
) -> None:
    """Build on one machine what was asked for on the other; raises SmokeError at the first thing
    that does not hold.
    """
    here.up(*HERE)
    there.up()
    if here.containers("worker"):
        raise SmokeError("a worker runs where none should")
    say(check_containers(there))
    network = there.settings["BUILD_NETWORK"]
    say(
        check_walls(
            here,
            network,
            images.PYTHON,
            [("redis", 6379), ("api", 8000), ("prepare", 8001), ("gateway", 8080)],
        )
    )
    client = Client(port)
    key = request_build(client)
    build = await_build(client, key)
    say(
        f"asked for here, built there, fetched from the bucket: {len(build['images'])} images,"
        f" {download(client, build)} bytes"
    )
    _, listing = ask(f"{here.settings['SMOKE_BUCKET']}?list-type=2")
    # Each publication has a place of its own.
    if not re.search(f"{key}/[^/<]+/{re.escape(build['images'][0]['name'])}".encode(), listing):
        raise SmokeError("the image does not lie in the bucket")
