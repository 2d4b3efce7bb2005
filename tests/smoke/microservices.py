"""The microservices deployment: used, scaled, and its parts stopped and replaced while clients go
on.
"""

from __future__ import annotations

import re
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.smoke import images
from tests.smoke.containers import (
    check_containers,
    check_ports,
    check_settings,
    check_walls,
    idle_footprint,
)
from tests.smoke.engine import SmokeError
from tests.smoke.monitoring import try_monitoring
from tests.smoke.traffic import (
    ACCEPTED,
    OK,
    REQUEST,
    Client,
    ask_preview,
    await_build,
    download,
    request_build,
    under_load,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.smoke.deployment import Deployment

LOOKUP_SECONDS = 6.0  # The gateway keeps addresses for five.
FULL_SECONDS = 4.0  # Long enough that single slow answers do not count.
RATE = 50.0  # Requests a second during a restart; the bar of the issue.
CLIENTS = 8
# So many that the rate holds while some wait the gateway's two seconds for a replica that is gone.
MANY_CLIENTS = 40
ANSWERED = re.compile(r'"path": "/api/v1/prepare".* "upstream": "(?:[\d.:]+, )*([\d.]+):8001"')


def try_microservices(
    deployment: Deployment, port: int, network: str, say: Callable[[str], None]
) -> None:
    """Start it and see what it is for; raises SmokeError at the first thing that does not hold."""
    began = time.monotonic()
    deployment.up()
    say(f"up and healthy in {time.monotonic() - began:.0f} s")
    say(check_containers(deployment))
    say(check_settings(deployment))
    say(check_ports(deployment, "gateway"))
    services = [("redis", 6379), ("api", 8000), ("prepare", 8001), ("gateway", 8080)]
    say(check_walls(deployment, network, images.PYTHON, services))
    for line in idle_footprint(deployment):
        say(line)
    client = Client(port)
    key = request_build(client)
    build = await_build(client, key)
    say(
        f"preview, build and download through the gateway: {len(build['images'])} images,"
        f" {download(client, build)} bytes"
    )
    _scale(deployment, port, say)
    _stop_one(deployment, port, say)
    _replace(deployment, port, key, network, say)
    _replace_worker(deployment, key, say)
    # A new connection; the gateway has closed the old one, which had nothing to say.
    _drain(deployment, Client(port), say)
    _scale_for_good(deployment, say)
    try_monitoring(deployment, say)


def _scale(deployment: Deployment, port: int, say: Callable[[str], None]) -> None:
    """Start more replicas: they are found without a restart, take their part, and bring more
    throughput.
    """
    one = _throughput(port)
    deployment.scale("prepare", 2)
    time.sleep(LOOKUP_SECONDS)
    two = _throughput(port)
    say(f"previews a second: {one:.0f} by one replica, {two:.0f} by two (ratio {two / one:.2f})")
    replicas = deployment.scale("prepare", 3)
    time.sleep(LOOKUP_SECONDS)
    gateway = deployment.containers("gateway")[0]
    seen = len(deployment.log(gateway))
    with under_load(port, ask_preview, accepted=(OK,), clients=CLIENTS, rate=RATE) as load:
        time.sleep(2)
    load.must_be_flawless("three replicas")
    answered = set(ANSWERED.findall(deployment.log(gateway)[seen:]))
    expected = {
        address for name in replicas for address in deployment.addresses(name, seen_by=gateway)
    }
    if answered != expected:
        raise SmokeError(
            f"of the replicas at {sorted(expected)} only those at {sorted(answered)} answered"
        )
    say(
        f"scaled to {len(replicas)} replicas of prepare, and each has answered:"
        f" {', '.join(sorted(answered))}"
    )


def _scale_for_good(deployment: Deployment, say: Callable[[str], None]) -> None:
    """Have more of two services with one call; what ran already goes on."""
    before = {deployment.inspect(name)["Id"] for name in deployment.containers()}
    grown = deployment.with_replicas(prepare=4, worker=2)
    counts = {service: len(grown.containers(service)) for service in ("prepare", "worker")}
    untouched = before <= {grown.inspect(name)["Id"] for name in grown.containers()}
    if counts != {"prepare": 4, "worker": 2} or not untouched:
        raise SmokeError(
            f"PREPARE_REPLICAS=4 WORKER_REPLICAS=2 led to {counts}, and what ran before is"
            f" {'' if untouched else 'not '}there"
        )
    say("scaled to 4 replicas of prepare and 2 workers in one call, and nothing was restarted")


def _throughput(port: int) -> float:
    began = time.monotonic()
    with under_load(port, ask_preview, accepted=(OK,), clients=CLIENTS) as load:
        time.sleep(FULL_SECONDS)
    load.must_be_flawless("previews at full speed")
    return load.sent / (time.monotonic() - began)


def _stop_one(deployment: Deployment, port: int, say: Callable[[str], None]) -> None:
    """Stop a replica under load: it takes nobody's answer with it."""
    with under_load(port, ask_preview, accepted=(OK,), clients=MANY_CLIENTS, rate=RATE) as load:
        time.sleep(1)
        deployment.engine.podman("stop", "--time", "10", deployment.containers("prepare")[0])
        time.sleep(LOOKUP_SECONDS)
    say(load.must_be_flawless("previews while one of three replicas stopped"))


def _replace(
    deployment: Deployment, port: int, key: str, network: str, say: Callable[[str], None]
) -> None:
    """Replace both services by new containers while clients poll, ask for previews and for builds,
    and builds come and go.
    """

    def ask(client: Client, number: int) -> tuple[int, bytes]:
        if number % 10 == 0:
            return ask_preview(client, number)
        if number % 10 == 5:  # Half of the previews; the API asks asu-prepare itself.
            return client.ask("POST", "/api/v1/build/prepare", REQUEST)
        if number % 5 == 1:
            return client.ask("POST", "/api/v1/build", REQUEST)
        return client.ask("GET", f"/api/v1/build/{key}")

    for service in ("api", "prepare"):
        with (
            under_load(port, ask, accepted=(OK, ACCEPTED), clients=MANY_CLIENTS, rate=RATE) as load,
            _coming_and_going(deployment, network),
        ):
            deployment.replace(service)
        say(
            load.must_be_flawless(
                f"polls, previews and requests for a build while every replica of {service} was"
                " replaced"
            )
        )


def _replace_worker(deployment: Deployment, key: str, say: Callable[[str], None]) -> None:
    """Replace the worker by a new container, which knows from the audit log of a build that the old
    one made.
    """
    before = _audited(deployment, key)
    deployment.replace("worker")
    after = _audited(deployment, key)
    if not before or before != after:
        raise SmokeError(
            f"the audit log tells of the build {before!r}, and after the worker was replaced"
            f" {after!r}"
        )
    say("the audit log tells of the build, and goes on doing so after the worker was replaced")


def _audited(deployment: Deployment, key: str) -> list[str]:
    """Return the lines about a build, as a worker's container has them."""
    [worker] = deployment.containers("worker")
    place = deployment.engine.podman("exec", worker, "printenv", "AUDIT_LOG").strip()
    return [
        line
        for line in deployment.engine.podman("exec", worker, "cat", place).splitlines()
        if key in line
    ]


@contextmanager
def _coming_and_going(deployment: Deployment, network: str) -> Iterator[None]:
    """Have one container after another in the builds' network, as builds are: podman's name server
    loses questions meanwhile.
    """
    over = threading.Event()

    def start_one_after_another() -> None:
        while not over.is_set():
            deployment.engine.succeeds("run", "--rm", f"--network={network}", images.PYTHON, "true")

    thread = threading.Thread(target=start_one_after_another)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _drain(deployment: Deployment, client: Client, say: Callable[[str], None]) -> None:
    """Tell a worker to stop: it finishes its build first."""
    worker = deployment.containers("worker")[0]
    key = request_build(client, packages=["luci", "tmux"])
    deadline = time.monotonic() + 30
    while (
        client.ask_for("GET", f"/api/v1/build/{key}", expected=(ACCEPTED,))["detail"] != "started"
    ):
        if time.monotonic() > deadline:
            raise SmokeError("the worker does not begin")
        time.sleep(0.05)
    deployment.engine.podman("stop", "--time", "120", worker)
    state = deployment.inspect(worker)["State"]
    status, _ = client.ask("GET", f"/api/v1/build/{key}")
    if status != OK or state["ExitCode"]:
        raise SmokeError(
            f"the worker ended with {state['ExitCode']}, and its build is answered with {status}"
        )
    say("a worker that was stopped finished its build first")
