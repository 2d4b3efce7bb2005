"""What `make up` and `make down` promise: start once, say what is in the way, end exactly what was
started.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.native import CAN_RUN, ROOT, NativeSystem, is_alive, new_system, running_system

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    not CAN_RUN, reason="needs root, podman, redis-server and debootstrap (make install)"
)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NativeSystem]:
    """Run one system for the tests that leave it up."""
    with running_system(tmp_path_factory.mktemp("native")) as system:
        yield system


@pytest.fixture
def short_lived(tmp_path: Path) -> Iterator[NativeSystem]:
    """Run a system for one test."""
    with running_system(tmp_path) as system:
        yield system


def test_second_up_changes_nothing(system: NativeSystem) -> None:
    """What runs is left alone."""
    before = system.processes()
    done = system.make("up")

    assert done.returncode == 0, done.stderr
    assert "started" not in done.stdout
    assert system.processes() == before


def test_up_brings_back_what_died(system: NativeSystem) -> None:
    """After a crash of one process, `make up` starts that one, and requests are answered again."""
    before = system.processes()
    os.kill(before["prepare"], signal.SIGKILL)
    done = system.make("up")

    assert done.returncode == 0, done.stderr
    after = system.processes()
    assert after["prepare"] != before["prepare"]
    assert {**after, "prepare": 0} == {**before, "prepare": 0}
    assert system.ask("/livez", port="PREPARE_PORT").status == 200


@pytest.mark.parametrize(
    ("name", "value"),
    [("ALLOW_DEFAULTS", "true"), ("LOG_LEVEL", "debug"), ("PREPARE_METADATA_TTL", "60")],
)
def test_up_refuses_other_settings_while_it_runs(
    system: NativeSystem, name: str, value: str
) -> None:
    """Other settings of either service are not silently ignored; what has changed is named."""
    done = system.make("up", **{name: value})

    assert done.returncode != 0
    assert name in done.stderr
    assert "make down" in done.stderr


def test_fewer_workers_are_fewer(short_lived: NativeSystem) -> None:
    """Workers beyond the wanted number end, and the others go on."""
    more = short_lived.make("up", WORKERS="2")
    pids = short_lived.processes()
    fewer = short_lived.make("up", WORKERS="1")

    assert (more.returncode, fewer.returncode) == (0, 0), more.stderr + fewer.stderr
    assert is_alive(pids["worker-1"])
    assert not is_alive(pids["worker-2"])
    assert "stopped worker-2" in fewer.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give privileges up")
def test_redis_needs_no_root() -> None:
    """Where others may enter the run directory, Redis and nginx's workers run as an unprivileged
    user; the run directory stays root's.
    """
    with tempfile.TemporaryDirectory(prefix="asu-native-") as directory:
        Path(directory).chmod(0o755)
        with running_system(Path(directory) / "run") as system:
            owners = {
                name: Path(f"/proc/{pid}").stat().st_uid for name, pid in system.processes().items()
            }
            ready = system.ask("/readyz")

    assert ready.status == 200
    assert owners["redis"] != 0
    assert owners["worker-1"] == 0


def test_down_ends_exactly_what_was_started(short_lived: NativeSystem) -> None:
    """Every process of the system ends; a stranger whose pid stands in an old record does not."""
    pids = short_lived.processes()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as stranger:
        record = short_lived.run_dir / "pid" / "prepare.json"
        record.with_name("stranger.json").write_text(
            record.read_text().replace(f'"pid": {pids["prepare"]}', f'"pid": {stranger.pid}')
        )
        done = short_lived.make("down")
        stranger_lives = stranger.poll() is None
        stranger.kill()

    assert done.returncode == 0, done.stderr
    assert not [name for name, pid in pids.items() if is_alive(pid)]
    assert stranger_lives


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("UPSTREAM_URL", "downloads.openwrt.org", "UPSTREAM_URL"),
        ("UPSTREAM_URL", "http://127.0.0.1:9", "Set UPSTREAM_URL"),
        ("UPSTREAM_URL", "http://[::1]:9", "Set UPSTREAM_URL"),
        ("ASU_PORT", "99999", "ASU_PORT must be a port"),
        ("GATEWAY_PORT", "0", "GATEWAY_PORT must be a port"),
        ("GATEWAY_HOST", "192.0.2.250", "192.0.2.250 is no address of this machine"),
        ("BUILD_KEY", "/nowhere/key", "key: "),
        ("MAX_PENDING_JOBS", "many", "MAX_PENDING_JOBS"),
    ],
)
def test_what_cannot_work_is_named_before_anything_starts(
    tmp_path: Path, name: str, value: str, said: str
) -> None:
    """With its variable and without a traceback, and no process is left."""
    with new_system(tmp_path) as system:
        done = system.make("up", **{name: value})

        assert done.returncode != 0
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        assert system.processes() == {}
        assert "started" not in done.stdout


def test_a_bucket_that_does_not_answer_is_found_first(tmp_path: Path) -> None:
    """Nothing could be published."""
    bucket = {"S3_BUCKET": "images", "S3_ENDPOINT_URL": "http://127.0.0.1:9"}
    keys = dict.fromkeys(("S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY"), "none")
    with new_system(tmp_path, **bucket, **keys) as system:
        done = system.make("up")

        assert done.returncode != 0
        assert "S3_ENDPOINT_URL" in done.stderr
        assert system.processes() == {}


def test_what_is_found_last_leaves_nothing_running(tmp_path: Path) -> None:
    """Here a disk below its reserve: no build would be accepted."""
    with new_system(tmp_path) as system:
        done = system.make("up", DISK_RESERVE_MB="100000000")

        assert done.returncode != 0
        assert "DISK_RESERVE_MB" in done.stderr
        assert system.processes() == {}


@pytest.mark.parametrize("name", ["ASU_PORT", "UPSTREAM_PORT", "GATEWAY_PORT"])
def test_taken_port_is_named(tmp_path: Path, name: str) -> None:
    """When a port is taken, `make up` says which before it starts anything, and by what variable to
    choose another.
    """
    with (
        new_system(tmp_path) as system,
        socket.create_server(("127.0.0.1", int(system.environment[name]))),
    ):
        done = system.make("up")

    assert done.returncode != 0
    assert f"port {system.environment[name]} (" in done.stderr
    assert f"{name}=" in done.stderr
    assert "Traceback" not in done.stderr
    assert system.processes() == {}


def test_a_system_listens_on_ipv6(tmp_path: Path) -> None:
    """Its addresses are printed as a browser takes them."""
    if not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    with new_system(tmp_path, GATEWAY_HOST="::1") as system:
        done = system.make("up")
        try:
            url = f"http://[::1]:{system.environment['GATEWAY_PORT']}"
            assert done.returncode == 0, done.stdout + done.stderr
            assert url in done.stdout
            with closing(HTTPConnection("::1", int(system.environment["GATEWAY_PORT"]))) as gateway:
                gateway.request("GET", "/readyz")
                assert gateway.getresponse().status == 200
        finally:
            system.make("down")


def test_redis_is_reached_by_its_own_system_alone(system: NativeSystem) -> None:
    """It listens at no port; its directory is closed to other users, and its password stands in no
    command line. The settings are in a file with which `asu check` runs again.
    """
    [pid] = [pid for name, pid in system.processes().items() if name == "redis"]
    directory, env = system.run_dir / "redis", system.run_dir / "env"
    password = (system.run_dir / "redis.password").read_text()
    said = Path(f"/proc/{pid}/cmdline").read_text()
    sockets = [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]
    listening = {
        line.split()[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    }

    assert not {name[8:-1] for name in sockets if name.startswith("socket:[")} & listening
    assert directory.stat().st_mode & 0o777 == 0o700
    assert env.stat().st_mode & 0o777 == 0o600
    assert password not in said
    check = subprocess.run(
        ["sh", "-c", f"set -a; . {env}; exec .venv/bin/python -m asu check --json"],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    problems = [
        found["name"]
        for found in json.loads(check.stdout)["findings"]
        # Another port than the default is this system's.
        if found["level"] == "problem" and found["name"] != "port"
    ]
    assert problems == []


def test_down_without_a_system_says_so(tmp_path: Path) -> None:
    """`make down` may be run at any time."""
    with new_system(tmp_path / "never") as system:
        done = system.make("down")

    assert (done.returncode, done.stdout.strip()) == (0, "nothing runs")
