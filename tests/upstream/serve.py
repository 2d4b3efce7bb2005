"""Serve the stand-in's tree: `python3 -m tests.upstream.serve DIR`, from the root of the
repository.
"""

from __future__ import annotations

import argparse
import contextlib
import email.utils
import signal
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote, urlsplit

from .faults import Fault, Faults

if TYPE_CHECKING:
    from types import FrameType, TracebackType
    from typing import Self

JSON: Final = "application/json"
BINARY: Final = "application/octet-stream"
# Longer than any answer of a healthy local server, shorter than a client's patience.
SLOW_SECONDS: Final = 2.0
HANG_SECONDS: Final = 3600.0  # Nobody waits that long; the thread ends with the server anyway.
CHUNK_BYTES: Final = 256 * 1024
IDLE_SECONDS: Final = 30  # A kept connection that says nothing for so long is closed.


class UpstreamServer:
    """The server for tests: a context manager with a `url`, the `requests` it has seen, and
    `faults` to switch.

    Port 0 takes a free one. `requests` holds (method, path) in order of arrival.
    """

    def __init__(
        self,
        directory: Path,
        *,
        bind: str = "127.0.0.1",
        port: int = 0,
        faults: Path | None = None,
        log: bool = False,
    ) -> None:
        self.faults = Faults(faults)
        self.requests: list[tuple[str, str]] = []
        self.stopping = threading.Event()
        self.root = directory.resolve(strict=True)
        self.log = log
        self._http = _Http((bind, port), self)
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._http.server_address[1])

    @property
    def url(self) -> str:
        """Where it is, without a trailing slash."""
        return f"http://{self._http.server_address[0]!s}:{self.port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stopping.set()
        self._http.shutdown()
        self._http.server_close()
        if self._thread:
            self._thread.join()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    # Clients may keep idle connections open; they must not hold up the end of a test.
    block_on_close = False
    request_queue_size = 128  # A release-day test opens many connections at once.

    def __init__(self, address: tuple[str, int], upstream: UpstreamServer) -> None:
        self.upstream = upstream
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay quiet about clients that went away; print anything else."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "openwrt-downloads-stand-in"
    timeout = IDLE_SECONDS
    # Head and body are written apart; together they would wait 40 ms for the client's
    # acknowledgement.
    disable_nagle_algorithm = True
    server: _Http

    def do_GET(self) -> None:
        """Answer with the file, or with the fault that is switched on for it."""
        upstream = self.server.upstream
        parts = urlsplit(self.path)
        path = unquote(parts.path).lstrip("/")
        upstream.requests.append((self.command, f"/{path}"))
        try:
            fault = upstream.faults.strike(path)
        except (ValueError, TypeError, KeyError) as error:
            self._answer(
                HTTPStatus.NOT_IMPLEMENTED,
                f"the faults file is wrong: {error}\n".encode(),
                "text/plain",
            )
            return
        if fault and not (fault.fault == "redirect" and parts.query == "redirected"):
            self._fail(fault, path)
        else:
            self._serve(path)

    def do_HEAD(self) -> None:
        """Answer as to GET, without the body."""
        self.do_GET()

    # The base class names it so.
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log only when asked to."""
        if self.server.upstream.log:
            super().log_message(format, *args)

    def _fail(self, fault: Fault, path: str) -> None:
        if fault.fault.isdigit():
            status = int(fault.fault)
            self._answer(status, f"{status}, switched on for {fault.path}\n".encode(), "text/plain")
        elif fault.fault == "slow":
            self.server.upstream.stopping.wait(
                fault.seconds if fault.seconds is not None else SLOW_SECONDS
            )
            self._serve(path)
        elif fault.fault == "hang":
            self.server.upstream.stopping.wait(
                fault.seconds if fault.seconds is not None else HANG_SECONDS
            )
            self.close_connection = True
        elif fault.fault == "garbage":
            self._answer(HTTPStatus.OK, fault.body.encode(), "text/html")
        elif fault.fault == "redirect":
            self._answer(
                HTTPStatus.FOUND,
                b"",
                "text/plain",
                {"Location": fault.location or f"/{quote(path)}?redirected"},
            )
        else:
            self._serve(path, truncated=True)

    def _serve(self, path: str, *, truncated: bool = False) -> None:
        root = self.server.upstream.root
        file = (root / path).resolve()
        if not file.is_relative_to(root) or not file.is_file():
            self._answer(HTTPStatus.NOT_FOUND, b"404 Not Found\n", "text/plain")
            return
        state = file.stat()
        etag = f'"{state.st_mtime_ns:x}-{state.st_size:x}"'
        headers = {
            "ETag": etag,
            "Last-Modified": email.utils.formatdate(state.st_mtime, usegmt=True),
        }
        known = [
            tag.strip().removeprefix("W/")
            for tag in self.headers.get("If-None-Match", "").split(",")
        ]
        if etag in known or "*" in known:
            self._head(HTTPStatus.NOT_MODIFIED, headers)
            return
        kind = JSON if file.suffix == ".json" else BINARY
        self._head(
            HTTPStatus.OK, {**headers, "Content-Type": kind, "Content-Length": str(state.st_size)}
        )
        if self.command != "HEAD":
            self._send_file(file, state.st_size // 2 if truncated else state.st_size)
        self.close_connection |= truncated

    def _send_file(self, file: Path, size: int) -> None:
        with file.open("rb") as source:
            while size > 0 and (chunk := source.read(min(size, CHUNK_BYTES))):
                self.wfile.write(chunk)
                size -= len(chunk)

    def _answer(
        self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None
    ) -> None:
        self._head(
            status, {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}
        )
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Run the command until it is interrupted or terminated."""
    parser = argparse.ArgumentParser(
        description="Serve a tree of make_tree as a stand-in for downloads.openwrt.org."
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument(
        "--bind", default="127.0.0.1", help="address to listen on (default: %(default)s)"
    )
    parser.add_argument(
        "--port", type=int, default=0, help="port to listen on (default: a free one)"
    )
    parser.add_argument(
        "--port-file", type=Path, help="write the port here once the server listens"
    )
    parser.add_argument(
        "--faults",
        type=Path,
        help="JSON file with faults, read at each request; it may appear later",
    )
    parser.add_argument("--log", action="store_true", help="log each request to standard error")
    options = parser.parse_args()
    if not options.directory.is_dir():
        sys.stderr.write(
            f"serve: {options.directory} is not a directory; make it with python3 -m"
            " tests.upstream.make_tree\n"
        )
        return 1
    signal.signal(signal.SIGTERM, _stop)
    with (
        contextlib.suppress(KeyboardInterrupt),
        UpstreamServer(
            options.directory,
            bind=options.bind,
            port=options.port,
            faults=options.faults,
            log=options.log,
        ) as server,
    ):
        if options.port_file:
            # A reader that waits for the file must never see it half written.
            draft = options.port_file.with_name(f"{options.port_file.name}.new")
            draft.write_text(f"{server.port}\n", encoding="utf-8")
            draft.replace(options.port_file)
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        while True:
            time.sleep(HANG_SECONDS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
