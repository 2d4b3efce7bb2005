"""A running container of podman's.

podman's API has no deadlines, and a connection's timeout starts over with each byte. So all
deadlines are kept here.
"""

import contextlib
import io
import json
import logging
import re
import tarfile
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from podman import PodmanClient
from podman.api import stream_frames
from podman.domain.containers import Container
from podman.errors import APIError, PodmanError
from requests.exceptions import RequestException
from typing_extensions import override
from urllib3.exceptions import HTTPError

from asu.disk_space import MIB, FreeSpace
from asu.errors import BuildDisrupted, BuildTimeout, ContainerFailed, InfraError

from .container import GIVEN_UP, BoundedLog, BuildContainer, CommandResult, Listener, ignored
from .fencing import Fence

log = logging.getLogger(__name__)

# Seconds for single calls; the longest, removing a container under load, was measured at 0.7 s.
API_TIMEOUT = 60
LOOK_TIMEOUT = 20  # Seconds for each request of a look at the disk; it takes 0.3 at most.
# Free blocks, their size, free inodes and all, of the disk below the container's layer.
_FREE_SPACE = ("/usr/bin/stat", "--file-system", "--format=%a %S %d %c", "/")
_COUNT_FILES = ("/bin/sh", "-c", "/usr/bin/find / -xdev -printf . | /usr/bin/wc -c")
_ROOT = "0:0"  # In the container, and without any capability.


@contextlib.contextmanager
def podman_answers(doing: str) -> Iterator[None]:
    """Turn podman's errors into ContainerFailed; their words go to the log."""
    try:
        yield
    except (PodmanError, RequestException, HTTPError, OSError) as error:
        # HTTPError: an answer that breaks off while it is streamed.
        log.warning("podman, %s: %s", doing, error)
        raise ContainerFailed(reason=f"podman did not {doing}") from error


@contextlib.contextmanager
def deadline_of(seconds: float, end_it: Callable[[], object]) -> Iterator[threading.Event]:
    """Call `end_it` and set the yielded event if the block takes longer than `seconds`."""
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        end_it()

    timer = threading.Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()


def pieces_of(response: Any, deadline: int) -> Iterator[bytes]:
    """Yield an answer's content for at most `deadline` seconds.

    Raises RequestException and BuildTimeout.
    """

    def cut_off() -> None:
        with contextlib.suppress(ValueError, RuntimeError, OSError):  # It has just ended.
            response.raw.shutdown()

    with deadline_of(deadline, cut_off) as expired:
        try:
            yield from response.iter_content(chunk_size=MIB)
        except RequestException:
            if not expired.is_set():
                raise
    if expired.is_set():  # What was cut off may look like an end.
        raise BuildTimeout(step="copying the images", seconds=deadline)


class PodmanContainer(BuildContainer):
    """A container of podman's."""

    def __init__(
        self, client: PodmanClient, container: Container, *, socket: str, fence: Fence | None = None
    ) -> None:
        self._client, self._container, self._socket, self._fence = client, container, socket, fence
        self._killed = threading.Event()

    @override
    def run(
        self,
        command: Sequence[str],
        *,
        deadline: int,
        heard: Listener = ignored,
        stop_at: str = "",
    ) -> CommandResult:
        stdout, stderr, exit_code = BoundedLog(), BoundedLog(), None
        failure: InfraError | None = None
        with deadline_of(deadline, self.kill) as expired:
            try:
                with podman_answers(f"run {command[0]}"):
                    exec_id = self._exec(command)
                    for out, err in self._output(exec_id, deadline + API_TIMEOUT):
                        stdout.write(out or b"")
                        stderr.write(err or b"")
                        heard(out or err or b"")
                        if stop_at and err and re.search(stop_at, stderr.beginning()):
                            return CommandResult(GIVEN_UP, stdout.text(), stderr.text())
                    exit_code = self._client.api.get(f"/exec/{exec_id}/json").json().get("ExitCode")
            except ContainerFailed as error:
                failure = _refused(error) or error
        if expired.is_set():
            failure = BuildTimeout(step=" ".join(command[:2]), seconds=deadline)
        elif failure is None and self._killed.is_set():
            failure = ContainerFailed(reason="it was stopped from outside")
        if failure:
            raise failure.after(stdout.text(), stderr.text())
        return CommandResult(-1 if exit_code is None else exit_code, stdout.text(), stderr.text())

    @override
    def put(self, path: str, content: bytes, mode: int) -> None:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for parent in reversed(Path(path).parents[:-1]):
                archive.addfile(_entry(str(parent), directory=True, mode=0o755))
            archive.addfile(_entry(path, size=len(content), mode=mode), io.BytesIO(content))
        with podman_answers("take a file"):
            if not self._container.put_archive("/builder", buffer.getvalue()):
                raise ContainerFailed(reason="podman did not take a file")

    @override
    def read_out(self, path: str, *, deadline: int) -> Iterator[bytes]:
        with podman_answers("hand out the images"):
            # podman-py's get_archive first reads the whole archive into memory, twice.
            answer = self._client.api.get(
                f"/containers/{self._container.id}/archive", params={"path": [path]}, stream=True
            )
            with contextlib.closing(answer) as response:
                response.raise_for_status()
                yield from pieces_of(response, deadline)

    @override
    def disk_taken(self) -> int:
        with podman_answers("measure a container"), self._connection(LOOK_TIMEOUT) as client:
            answer = client.api.get(f"/containers/{self._container.id}/json", params={"size": True})
            answer.raise_for_status()
            # podman says 0 where a file vanished while it counted, which a build can cause. What
            # runs in it has written something by now.
            if not (taken := int(answer.json().get("SizeRw") or 0)):
                raise ContainerFailed(reason="podman cannot measure its use of the disk")
            return taken

    @override
    def disk_free(self) -> FreeSpace:
        # podman's `/info` counts space that only root may fill. So the container is asked, as root:
        # the user of builds can neither stop root's processes nor change its programs.
        blocks, size, inodes_free, inodes = self._numbers(_FREE_SPACE, 4)
        return FreeSpace(blocks * size, inodes_free if inodes else None)

    @override
    def count_files(self) -> int:
        return self._numbers(_COUNT_FILES, 1)[0]

    def _numbers(self, command: tuple[str, ...], count: int) -> list[int]:
        """Return the numbers that a command of root prints."""
        with podman_answers("measure the disk"), self._connection(LOOK_TIMEOUT) as client:
            inside = PodmanContainer(client, self._container, socket=self._socket)
            pieces = inside._output(inside._exec(command, user=_ROOT), LOOK_TIMEOUT)
            words = b"".join(out or b"" for out, _ in pieces).split()
            if len(words) != count:
                raise ContainerFailed(reason="the disk cannot be measured")
            return list(map(int, words))

    @override
    def admit(self, feeds: Collection[str]) -> None:
        if self._fence:
            with podman_answers("open the network of a build container"):
                self._fence.admit(feeds)

    @override
    def kill(self) -> None:
        self._killed.set()
        with (
            contextlib.suppress(PodmanError, RequestException, OSError),
            self._connection(API_TIMEOUT) as client,
        ):
            client.api.post(f"/containers/{self._container.id}/kill", params={"signal": "KILL"})

    @override
    def remove(self) -> None:
        # With its dependents: a worker that died while it put up the fence has left a second
        # container in the network of this one.
        with contextlib.suppress(PodmanError, RequestException, OSError):
            self._client.api.delete(
                f"/containers/{self._container.id}",
                params={"force": True, "v": True, "timeout": 0, "depend": True},
            )

    def _connection(self, timeout: int) -> PodmanClient:
        """Make another connection: the first is busy with the output of the running command."""
        return PodmanClient(base_url=self._socket, timeout=timeout)

    def _output(self, exec_id: str, timeout: int) -> Iterator[tuple[bytes | None, bytes | None]]:
        """Start a prepared command and yield pieces of its standard output and error."""
        order = json.dumps({"Detach": False, "Tty": False})
        answer = self._client.api.post(
            f"/exec/{exec_id}/start", data=order, stream=True, timeout=timeout
        )
        with contextlib.closing(answer) as response:
            response.raise_for_status()
            frames: Any = stream_frames(response, demux=True)
            yield from frames

    def _exec(self, command: Sequence[str], *, user: str = "") -> str:
        """Prepare a command; without `user` it runs as the image's own user."""
        order = {"AttachStdout": True, "AttachStderr": True, "Cmd": list(command), "User": user}
        response = self._client.api.post(
            f"/containers/{self._container.id}/exec", data=json.dumps(order)
        )
        response.raise_for_status()
        return str(response.json()["Id"])


def _refused(error: ContainerFailed) -> BuildDisrupted | None:
    """Return that podman answers, and cannot run a command: a build may have all its processes."""
    cause = error.__cause__
    if isinstance(cause, APIError) and cause.response is not None:
        return BuildDisrupted(reason="a command in it could not begin")
    return None


def _entry(name: str, *, mode: int, size: int = 0, directory: bool = False) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = tarfile.DIRTYPE if directory else tarfile.REGTYPE
    entry.mode, entry.size = mode, size
    entry.uid = entry.gid = 1000  # The user of the ImageBuilder's images.
    return entry
