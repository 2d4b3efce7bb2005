"""`asu check` finds typical mistakes by name, and `asu sweep` tidies, on real servers."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis

from asu.records.build_record import LEASE
from asu.worker.podman_engine import PodmanEngine
from tests.integration.podman_world import BASE, ROOT, PodmanWorld, builder_image
from tests.integration.worker_world import WorkerWorld
from tests.redis_server import RedisServer
from tests.requirements import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

BUILDER = f"{BASE}:x86-64-v24.10.4"


class Upstream(BaseHTTPRequestHandler):
    """A downloads server that lists two versions."""

    def do_GET(self) -> None:
        """Answer whatever is asked for."""
        found = self.path == "/.versions.json"
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(
            json.dumps({"versions_list": ["24.10.3", "24.10.4"]}).encode() if found else b"nothing"
        )

    # The signature is the library's.
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Somebody with a server, and its settings by their variables."""

    world: WorkerWorld
    settings: dict[str, str]
    port: int

    def run(self, *command: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """Run a command of asu."""
        environment = {**os.environ, **self.settings, **changes}
        return subprocess.run(
            [sys.executable, "-m", "asu", *command],
            cwd=ROOT,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def check(self, **changes: str) -> dict[str, tuple[str, str]]:
        """Run `asu check` with changed settings; return level and words of what is not fine, by
        name.
        """
        done = self.run("check", "--json", "--seconds=45", "--port", str(self.port), **changes)
        assert done.stderr == ""
        found = {
            entry["name"]: (entry["level"], f"{entry['detail']} {entry['advice']}")
            for entry in json.loads(done.stdout)["findings"]
        }
        assert done.returncode == any(level == "problem" for level, _ in found.values())
        return {name: told for name, told in found.items() if told[0] != "ok"}


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    """Run a downloads server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def running(
    podman: PodmanWorld, tmp_path_factory: pytest.TempPathFactory, upstream: str
) -> Iterator[Operator]:
    """Run what a server needs, with a worker; no test changes it."""
    directory = tmp_path_factory.mktemp("server")
    (directory / "redis").mkdir()
    with RedisServer(directory / "redis") as redis, ExitStack() as stack:
        world = WorkerWorld(podman, redis, directory, stack)
        worker = world.start_worker()
        network = podman.podman.network
        if network != "none":
            # Other tests may have several containers in the network that all use.
            network = f"asu-check-{free_port()}"
            podman.run("network", "create", network)
            stack.callback(podman.run, "network", "rm", "--force", network)
        settings = {
            **podman.environment,
            "REDIS_URL": redis.url,
            "STORE_PATH": str(world.settings.store_path),
            "UPSTREAM_URL": upstream,
            "BASE_CONTAINER": BASE,
            "CONTAINER_SOCKET_PATH": str(podman.socket),
            "CONTAINER_NETWORK": network,
            "PULL_POLICY": "never",
            "DISK_RESERVE_MB": "1",
            "ASU_CONFIG": os.devnull,
        }
        operator = Operator(world, settings, free_port())
        while "workers" in operator.check():
            assert worker.poll() is None
        yield operator


def test_a_server_that_is_well_has_no_problem(running: Operator) -> None:
    """Nothing is found where nothing is wrong; a network is missing only where this machine gives
    containers none.
    """
    found = running.check()
    if running.settings["CONTAINER_NETWORK"] == "none":
        del found["network"]
    assert found == {}
    assert "PROBLEM" not in running.run("check", "--seconds=45", "--port", str(running.port)).stdout


def test_no_socket_is_found(running: Operator, tmp_path: Path) -> None:
    """Podman's service does not run, or its socket lies elsewhere."""
    found = running.check(CONTAINER_SOCKET_PATH=str(tmp_path / "podman.sock"))

    assert found["podman"] == ("problem", found["podman"][1])
    assert "there is no" in found["podman"][1]


def test_a_socket_without_a_service_is_found(running: Operator, tmp_path: Path) -> None:
    """A socket that was left behind answers nobody."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "podman.sock"))

    assert (
        "podman does not answer at"
        in running.check(CONTAINER_SOCKET_PATH=str(tmp_path / "podman.sock"))["podman"][1]
    )


def test_a_wrong_network_is_found(running: Operator) -> None:
    """With the command that makes it."""
    assert (
        "podman network create no-such-net"
        in running.check(CONTAINER_NETWORK="no-such-net")["network"][1]
    )


def test_builds_that_reach_this_machine_are_found(running: Operator) -> None:
    """Tried from inside a container: an API that listens on all addresses, without the fence and
    with it.
    """
    if running.world.podman.podman.host_address is None:
        pytest.skip("containers cannot reach this machine anyway")
    with socket.create_server(("", running.port)):
        unfenced, fenced = running.check(CONTAINER_FENCE="false"), running.check()

    assert unfenced["isolation"][0] == "problem"
    assert re.search(rf"builds can reach .*\bgateway:{running.port}\b", unfenced["isolation"][1])
    assert "isolation" not in fenced


def test_what_builds_can_reach_is_told(running: Operator) -> None:
    """In words, after it was tried: the servers of their feeds by name, or all of the internet."""
    if running.settings["CONTAINER_NETWORK"] == "none":
        pytest.skip("containers have no network here")
    told = {}
    for egress in ("feeds", "world"):
        findings = json.loads(
            running.run(
                "check", "--json", "--port", str(running.port), CONTAINER_EGRESS=egress
            ).stdout
        )["findings"]
        [told[egress]] = [
            (entry["level"], entry["detail"]) for entry in findings if entry["name"] == "isolation"
        ]

    assert told["feeds"] == ("ok", told["feeds"][1])
    assert (
        f"builds reach {running.settings['UPSTREAM_URL'].removeprefix('http://')}, their"
        " ImageBuilder's feeds" in told["feeds"][1]
    )
    assert told["world"] == ("ok", told["world"][1])
    assert "all of the internet" in told["world"][1]


def test_missing_builders_are_found(running: Operator) -> None:
    """Where none is at hand and none would be pulled."""
    assert (
        "none of localhost/none/imagebuilder is at hand"
        in running.check(BASE_CONTAINER="localhost/none/imagebuilder")["builders"][1]
    )


def test_a_redis_without_persistence_is_found(running: Operator) -> None:
    """By its name, as one that drops keys is."""
    with Redis.from_url(running.settings["REDIS_URL"]) as redis:
        redis.config_set("appendonly", "no")
        redis.config_set("maxmemory", "100mb")
        redis.config_set("maxmemory-policy", "allkeys-lru")
        try:
            found = running.check()
        finally:
            redis.config_set("appendonly", "yes")
            redis.config_set("maxmemory", "0")
            redis.config_set("maxmemory-policy", "noeviction")

    assert found["redis-persistence"][0] == found["redis-eviction"][0] == "problem"
    assert "appendonly yes" in found["redis-persistence"][1]
    assert "noeviction" in found["redis-eviction"][1]


def test_a_redis_that_is_full_is_found(running: Operator) -> None:
    """With how much it uses, of how much."""
    with Redis.from_url(running.settings["REDIS_URL"]) as redis:
        redis.config_set("maxmemory", "1mb")
        try:
            found = running.check()
        finally:
            redis.config_set("maxmemory", "0")

    assert found["redis-memory"][0] == "problem"
    assert re.match(
        r"\d+ MiB are used of 1 MiB, and new builds are refused", found["redis-memory"][1]
    )


def test_a_redis_that_is_away_is_found(running: Operator) -> None:
    """And all else is told nevertheless."""
    found = running.check(REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")

    assert found["redis"][0] == "problem"
    assert found.keys() - {"network"} == {
        "redis",
        "redis-persistence",
        "redis-eviction",
        "redis-memory",
        "workers",
    }


def test_a_store_that_cannot_be_written_is_found(running: Operator, tmp_path: Path) -> None:
    """A file is where its directory should be."""
    (tmp_path / "store").touch()

    assert running.check(STORE_PATH=str(tmp_path / "store"))["store"][0] == "problem"


@pytest.mark.skipif(
    shutil.which("setpriv") is None or os.geteuid() != 0,
    reason="to be another user takes root and setpriv",
)
def as_another_user(program: str, argument: Path) -> str:
    """Return what a Python program says on its standard error that a user without rights runs;
    skips where he cannot even begin.
    """
    command = [
        "setpriv",
        "--bounding-set",
        "-dac_override",
        "--inh-caps",
        "-all",
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--clear-groups",
    ]
    done = subprocess.run(
        [*command, sys.executable, "-c", program, str(argument)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if not any(word in done.stderr for word in ("StoreFailed", "Finding")):
        pytest.skip("that user cannot read this checkout or reach the directory")
    return done.stderr


def test_a_store_of_another_user_is_found(tmp_path: Path) -> None:
    """The commonest case: the directory was made by root, and the services are not root's."""
    (tmp_path / "store").mkdir(mode=0o755)
    tmp_path.chmod(0o755)
    probe = (
        "import sys; from pathlib import Path; from asu.stores.local import LocalStore;"
        " LocalStore(Path(sys.argv[1])).probe()"
    )

    assert "the store is not writable (Permission denied)" in as_another_user(
        probe, tmp_path / "store"
    )


def test_a_socket_that_is_closed_to_the_worker_is_found() -> None:
    """Podman is well and the worker's user lacks the socket's group: to start podman again would
    not help.
    """
    # pytest's own are closed to others as a whole.
    with socket.socket(socket.AF_UNIX) as podman, tempfile.TemporaryDirectory() as name:
        path = Path(name) / "podman.sock"
        podman.bind(str(path))
        path.chmod(0o660)
        path.parent.chmod(0o755)
        probe = (
            "import sys; from pathlib import Path; from asu.checking.machine import check_socket;"
            " sys.exit(repr(check_socket(Path(sys.argv[1]))))"
        )

        assert "podman.sock is closed to this user" in as_another_user(probe, path)


def test_a_bucket_is_asked_before_there_is_a_directory(running: Operator, tmp_path: Path) -> None:
    """Where the first build has not been made yet, a wrong address is found all the same."""
    settings = {
        "S3_BUCKET": "asu",
        "S3_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}",
        "S3_ACCESS_KEY_ID": "k",
        "S3_SECRET_ACCESS_KEY": "s",
    }

    assert running.check(STORE_PATH=str(tmp_path / "later"), **settings)["store"][0] == "problem"
    assert not (tmp_path / "later").exists()


def test_a_wrong_downloads_server_is_found(running: Operator, upstream: str) -> None:
    """One that is none, and one that is not there."""
    assert (
        "answers 404 for .versions.json"
        in running.check(UPSTREAM_URL=f"{upstream}/releases")["upstream"][1]
    )
    assert (
        "does not answer"
        in running.check(UPSTREAM_URL=f"http://127.0.0.1:{free_port()}")["upstream"][1]
    )


def test_a_full_disk_is_found(running: Operator) -> None:
    """Full is what is below the reserve."""
    assert "less than the reserve" in running.check(DISK_RESERVE_MB=str(2**40))["disk"][1]


def test_a_port_that_is_taken_is_found(running: Operator) -> None:
    """By another program; the API's own is fine, as another test shows with a running one."""
    with socket.create_server(("127.0.0.1", running.port)):
        assert "is taken by another program" in running.check()["port"][1]


def test_an_address_of_another_machine_is_found(running: Operator) -> None:
    """No program is in the way there."""
    found = json.loads(running.run("check", "--json", "--host", "192.0.2.1").stdout)["findings"]

    assert any(
        "cannot be listened on" in finding["detail"]
        for finding in found
        if finding["name"] == "port"
    )


def test_the_port_of_the_api_itself_is_fine(running: Operator) -> None:
    """An operator checks a server that runs."""
    api = subprocess.Popen(
        [sys.executable, "-m", "asu", "api", "--port", str(running.port)],
        cwd=ROOT,
        env={**os.environ, **running.settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while api.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", running.port)) == 0:
                    break
        found = json.loads(running.run("check", "--json", "--port", str(running.port)).stdout)[
            "findings"
        ]
    finally:
        api.terminate()
        api.wait()

    assert [finding["detail"] for finding in found if finding["name"] == "port"] == [
        f"port {running.port} is asu's own"
    ]


def test_a_prepare_service_that_is_away_is_found(running: Operator, upstream: str) -> None:
    """Or that is another service."""
    assert (
        "does not answer"
        in running.check(PREPARE_SERVICE_URL=f"http://127.0.0.1:{free_port()}")["prepare"][1]
    )
    assert "is not asu-prepare" in running.check(PREPARE_SERVICE_URL=upstream)["prepare"][1]


def test_a_missing_worker_is_found(running: Operator, tmp_path: Path) -> None:
    """Redis is well, and nobody takes builds out of it."""
    with RedisServer(tmp_path) as redis:
        assert "no worker is alive" in running.check(REDIS_URL=redis.url)["workers"][1]


def test_a_worker_that_says_so_is_alive(running: Operator) -> None:
    """The health check of a worker's container is content."""
    assert running.run("alive").returncode == 0


def test_a_worker_that_nobody_has_heard_of_is_not_alive(running: Operator, tmp_path: Path) -> None:
    """The health check fails where Redis answers and knows of no worker on this machine."""
    with RedisServer(tmp_path) as redis:
        done = running.run("alive", REDIS_URL=redis.url)

    assert (done.returncode, done.stdout) == (1, "")
    assert "no worker on" in done.stderr


def test_a_worker_is_not_to_blame_for_redis(running: Operator) -> None:
    """A health check that failed while Redis is away would have every worker started anew, and end
    builds that wait for Redis.
    """
    done = running.run("alive", REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")

    assert done.returncode == 0
    assert "nobody knows" in done.stdout


def test_a_sweep_by_hand_tidies_what_a_dead_worker_left(running: Operator, tmp_path: Path) -> None:
    """The build waits again, its container is gone, and both are told."""
    with RedisServer(tmp_path) as redis, ExitStack() as stack:
        world = WorkerWorld(running.world.podman, redis, tmp_path, stack)
        key = world.ask()
        attempt = world.records.start_next()
        assert attempt
        PodmanEngine(world.settings, system=world.system).start(
            builder_image(BUILDER), key=key, attempt=attempt.number
        )
        world.client.delete(LEASE + key)

        done = running.run("sweep", REDIS_URL=redis.url, STORE_PATH=str(world.settings.store_path))

        assert (done.returncode, world.podman.containers(world.system)) == (0, [])
        assert f"build {key}: put back in line" in done.stdout
        assert f"build {key}: its container is left over and removed" in done.stdout
        assert (
            running.run(
                "sweep", REDIS_URL=redis.url, STORE_PATH=str(world.settings.store_path)
            ).stdout
            == "nothing was to be done\n"
        )
