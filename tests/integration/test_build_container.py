"""Build containers in a real podman: what they may do, and what ends them."""

from __future__ import annotations

import io
import json
import secrets
import socket
import tarfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from asu.errors import BuildTimeout, ContainerFailed
from asu.worker.container import GIVEN_UP
from tests.integration.podman_world import BASE, OPKG, PodmanWorld, builder_image, output, started

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asu.worker.container import BuildContainer

# podman-py forgets to close a socket that it could not connect.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*UDSSocket:pytest.PytestUnraisableExceptionWarning",
    "ignore:.*UDSSocket:ResourceWarning",
)

IMAGE = builder_image(f"{BASE}:x86-64-v{OPKG}")
AF_NETLINK = 16
EAT = (
    "piece = bytearray(1024 * 1024)\nkept = [bytes(piece) + b'x' for _ in range(400)]\nprint('ate',"
    " len(kept))"
)
FORK = """
import os, time
children = []
try:
    while len(children) < 200:
        child = os.fork()
        if child == 0:
            time.sleep(30)
            os._exit(0)
        children.append(child)
except OSError:
    pass
for child in children:
    os.kill(child, 9)
    os.waitpid(child, 0)
print(len(children))
"""
CONNECT = (
    "import socket, sys\nfor host in sys.argv[2:]:\n    s = socket.socket(); s.settimeout(3)\n   "
    " print(s.connect_ex((host, int(sys.argv[1]))))"
)

# Tries each kind of namespace in each way; prints those that were made.
NAMESPACES = """
import ctypes, os, platform, struct
libc = ctypes.CDLL(None, use_errno=True)
clone = {"x86_64": 56, "aarch64": 220}[platform.machine()]
kinds = (0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)
def in_child(attempt):
    pid = os.fork()
    if pid == 0: os._exit(0 if attempt() == 0 else 1)
    return os.waitpid(pid, 0)[1] == 0
def cloned(number, *arguments):
    pid = libc.syscall(number, *arguments)
    if pid == 0: os._exit(0)
    return min(pid, 0)
for kind in kinds:
    flags = kind | 0x10000000  # Together with a user namespace all would be allowed.
    order = ctypes.create_string_buffer(struct.pack("=11Q", flags, 0, 0, 0, 17, *[0] * 6))
    ways = {
        "unshare": lambda: libc.unshare(flags),
        "clone": lambda: cloned(clone, flags & ~0x80 | 17, 0, 0, 0, 0),
        "clone3": lambda: cloned(435, order, 88),
    }
    for name, way in ways.items():
        if in_child(way): print(name, hex(kind))
"""
SOCKETS = """
import socket
for family in range(64):
    for kind in (1, 2, 3, 4, 5, 6, 10):
        for protocol in (0, 1, 16, 17, 255):
            try:
                socket.socket(family, kind, protocol).close()
            except OSError:
                continue
            print(family)
"""


@pytest.fixture(scope="module")
def container(podman: PodmanWorld) -> Iterator[BuildContainer]:
    """Start one container for the tests that only look around in it."""
    with started(
        podman.engine(container_pids=64, container_memory_mb=256, container_cpus=1.5), IMAGE
    ) as container:
        yield container


def test_outputs_and_exit_code_come_back_apart(container: BuildContainer) -> None:
    """Standard output, standard error and exit code arrive as the command made them."""
    result = container.run(["bash", "-c", "echo out; echo err >&2; exit 3"], deadline=60)

    assert (result.exit_code, result.stdout, result.stderr) == (3, "out\n", "err\n")


def test_a_silent_command_has_empty_outputs(container: BuildContainer) -> None:
    """A command that prints nothing is not mistaken for one that broke."""
    result = container.run(["true"], deadline=60)

    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_a_flood_of_output_is_bounded(container: BuildContainer) -> None:
    """A builder cannot fill our memory by printing; head and tail of what it said stay."""
    result = container.run(
        ["bash", "-c", "echo first; head -c 30000000 /dev/zero | tr '\\0' x; echo; echo last"],
        deadline=60,
    )

    assert result.stdout.startswith("first\n")
    assert result.stdout.endswith("\nlast\n")
    assert len(result.stdout) < 200_000


def test_an_argument_is_no_shell_text(container: BuildContainer) -> None:
    """What is handed over as one argument arrives as one argument."""
    assert (
        output(container, "printf", "[%s]", "a b;$(id)`id`'\"", "x\ny")
        == "[a b;$(id)`id`'\"][x\ny]"
    )


def test_no_capability_is_left(container: BuildContainer) -> None:
    """No set of the process holds any capability, and none can be gained."""
    status = dict(
        line.split(":\t", 1)
        for line in output(container, "cat", "/proc/self/status").splitlines()
        if ":\t" in line
    )

    assert {
        name: int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    } == dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), 0)
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2", "system calls are filtered"


def test_no_namespace_can_be_made(container: BuildContainer, podman: PodmanWorld) -> None:
    """A program that is root in a user namespace of its own could use what is wrong in the kernel
    for root alone. Podman's own profile allows it.
    """
    assert output(container, "python3", "-c", NAMESPACES) == ""
    command = ("run", "--rm", "--network=none", "--cap-drop=all", "--image-volume=ignore")
    plain = podman.run(*command, IMAGE.name, "python3", "-c", NAMESPACES)
    if not Path("/proc/sys/user/max_user_namespaces").read_text().startswith("0"):
        assert "unshare" in plain, "the attempt is a real one"


def test_only_common_families_of_sockets_can_be_made(container: BuildContainer) -> None:
    """Of programs on one machine, IPv4, IPv6, and the kernel's messages about interfaces; others
    reach the hypervisor, or have the kernel load what nobody maintains.
    """
    made = {int(word) for word in output(container, "python3", "-c", SOCKETS).split()}

    assert made == {socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, AF_NETLINK}


def test_no_device_of_the_host_is_there(container: BuildContainer) -> None:
    """What stands in /dev holds nothing: no disk, no memory, no terminal of somebody else's."""
    devices = set(output(container, "find", "/dev", "-type", "b", "-o", "-type", "c").split())

    assert (
        devices
        - {
            f"/dev/{name}"
            for name in (
                "null",
                "zero",
                "full",
                "random",
                "urandom",
                "tty",
                "ptmx",
                "pts/ptmx",
                "console",
            )
        }
        == set()
    )


def test_the_kernels_settings_are_read_only(container: BuildContainer) -> None:
    """What would reach the host through /proc and /sys cannot be written, nor can anything be
    mounted.
    """
    script = (
        "for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /sys/kernel/uevent_helper; do"
        " echo x > $f && echo $f; done; true"
    )

    assert output(container, "bash", "-c", script) == ""
    assert container.run(["mount", "-t", "tmpfs", "none", "/mnt"], deadline=60).exit_code != 0


def test_the_builder_is_no_root(container: BuildContainer) -> None:
    """Builds run as the image's own user."""
    assert output(container, "id", "-u") == "1000\n"


def test_the_environment_is_the_images_own(podman: PodmanWorld) -> None:
    """Nothing of what the worker or podman's service have in theirs reaches the build: no address
    of Redis, no key, no proxy with a password.
    """
    secret = f"http://user:{secrets.token_hex(8)}@127.0.0.1:1"
    names = {
        "REDIS_URL": secret,
        "S3_SECRET_ACCESS_KEY": secret,
        "HTTPS_PROXY": secret,
        "http_proxy": secret,
    }
    with podman.away(), pytest.MonkeyPatch.context() as surroundings:
        for name, value in names.items():
            surroundings.setenv(name, value)
        podman.start_service()
        with started(podman.engine(), IMAGE) as container:
            environment = dict(line.split("=", 1) for line in output(container, "env").splitlines())
        podman.stop_service()
    described = json.loads(podman.run("image", "inspect", IMAGE.name))[0]["Config"]["Env"]

    assert environment.keys() - {line.partition("=")[0] for line in described} <= {
        "container",
        "HOME",
        "HOSTNAME",
        "TERM",
        "PWD",
        "SHLVL",
        "_",
        "PATH",
    }
    assert secret not in environment.values()


def test_nothing_of_the_host_is_mounted(podman: PodmanWorld) -> None:
    """Neither a directory of the host nor a volume is inside."""
    engine = podman.engine()
    with started(engine, IMAGE):
        described = podman.inspect(podman.systems[-1])

    assert described["Mounts"] == []


def test_limits_are_set(podman: PodmanWorld) -> None:
    """Processes, memory (with swap) and processors are bounded as the settings say."""
    with started(
        podman.engine(container_pids=64, container_memory_mb=256, container_cpus=1.5), IMAGE
    ):
        limits: dict[str, Any] = podman.inspect(podman.systems[-1])["HostConfig"]

    assert limits["PidsLimit"] == 64
    assert limits["Memory"] == limits["MemorySwap"] == 256 * 1024 * 1024
    assert limits["CpuQuota"] / limits["CpuPeriod"] == 1.5
    assert limits["Privileged"] is False


def test_processes_run_out(container: BuildContainer) -> None:
    """A fork bomb ends at the limit."""
    made = int(output(container, "python3", "-c", FORK))

    assert 10 < made < 64


def test_memory_runs_out(container: BuildContainer) -> None:
    """A program that takes too much is killed, and the container lives on."""
    result = container.run(["python3", "-c", EAT], deadline=60)

    assert result.exit_code == 137
    assert result.stdout == ""
    assert output(container, "echo", "alive") == "alive\n"


def test_services_of_the_host_are_out_of_reach(
    container: BuildContainer, podman: PodmanWorld
) -> None:
    """What listens on the host's loopback, such as Redis, cannot be reached from a build by any of
    the host's addresses.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        hosts = ["127.0.0.1", *([podman.podman.host_address] if podman.podman.host_address else [])]
        results = output(container, "python3", "-c", CONNECT, str(port), *hosts).split()

    assert len(results) == len(hosts)
    assert "0" not in results


def test_a_file_is_put_where_the_builder_finds_it(container: BuildContainer) -> None:
    """The first-boot script arrives with its mode, owned by the builder, and so do its
    directories.
    """
    container.put("asu-files/etc/uci-defaults/99-asu-defaults", b"echo \xc3\xa9\n", 0o755)

    assert (
        output(container, "cat", "/builder/asu-files/etc/uci-defaults/99-asu-defaults")
        == "echo é\n"
    )
    assert (
        output(
            container,
            "stat",
            "-c",
            "%a %U",
            "asu-files/etc/uci-defaults/99-asu-defaults",
            "asu-files/etc",
        )
        == "755 buildbot\n755 buildbot\n"
    )


def test_a_directory_is_read_out_as_a_stream(container: BuildContainer) -> None:
    """The images come out as a tar stream, whatever their size."""
    output(
        container,
        "bash",
        "-c",
        "mkdir -p out && head -c 3000000 /dev/urandom > out/image.bin && sha256sum out/image.bin",
    )

    data = b"".join(container.read_out("/builder/out", deadline=60))

    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert {member.name: member.size for member in archive if member.isreg()} == {
            "out/image.bin": 3_000_000
        }


def test_a_directory_that_is_not_there_is_a_failure_of_ours(container: BuildContainer) -> None:
    """Without the output directory there is nothing to publish."""
    with pytest.raises(ContainerFailed):
        b"".join(container.read_out("/builder/nowhere", deadline=60))


def test_a_deadline_ends_the_command(podman: PodmanWorld) -> None:
    """A command that takes too long is killed, and its container with all that runs in it."""
    with started(podman.engine(), IMAGE) as container:
        stubborn = "trap '' TERM INT; echo on; sleep 600 & wait; sleep 600"
        begin = time.monotonic()
        with pytest.raises(BuildTimeout, match=r"`bash -c` took longer than 1 s") as raised:
            container.run(["bash", "-c", stubborn], deadline=1)
        assert raised.value.stdout == "on\n", "what it had printed is kept"

        assert time.monotonic() - begin < 300, "the end of the command was waited for"
        [listed] = podman.containers(podman.systems[-1])
        podman.run("wait", listed["Id"])
        assert [entry["State"] for entry in podman.containers(podman.systems[-1])] == ["exited"]


def test_a_command_is_given_up_at_the_words_that_end_it(container: BuildContainer) -> None:
    """What it does after them would be for nothing, so nobody waits for it."""
    script = "echo first >&2; echo 'key unknown' >&2; sleep 600"

    result = container.run(["bash", "-c", script], deadline=60, stop_at="key (?:un)?known")

    assert (result.exit_code, result.stderr) == (GIVEN_UP, "first\nkey unknown\n")


def test_a_deadline_leaves_a_quick_command_alone(container: BuildContainer) -> None:
    """The timer of a command that ended does not hit a later one."""
    container.run(["true"], deadline=1)

    assert output(container, "bash", "-c", "sleep 1.5; echo done") == "done\n"


def test_a_kill_ends_the_command_at_once(podman: PodmanWorld) -> None:
    """When the lease is lost the running command ends as a failure of ours."""
    with started(podman.engine(), IMAGE) as container:
        threading.Timer(0.5, container.kill).start()
        with pytest.raises(ContainerFailed):
            container.run(["sleep", "60"], deadline=60)


def test_a_container_that_is_taken_away_is_a_failure_of_ours(podman: PodmanWorld) -> None:
    """Whoever removes the container by hand costs the build, not the user."""
    with started(podman.engine(), IMAGE) as container:
        [listed] = podman.containers(podman.systems[-1])
        threading.Timer(0.5, podman.run, ["rm", "--force", "--time=0", listed["Id"]]).start()
        try:
            result = container.run(["sleep", "60"], deadline=60)
        except ContainerFailed:
            pass
        else:
            assert result.exit_code in (-1, 137)
