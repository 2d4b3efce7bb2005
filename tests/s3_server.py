"""A real S3-compatible server process of a test's own, and a proxy before it that can fail as
networks and servers do.
"""

import contextlib
import http.client
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.requirements import free_port

# Objects in one part of a listing, so that few make several parts; Amazon's have a thousand.
PAGE = 10
PATIENCE = 60.0  # Seconds; moto's server imports much, which takes two seconds on an idle machine.


@contextmanager
def running_s3(host: str = "127.0.0.1") -> Iterator[str]:
    """Run a server without any bucket, which listens on `host`; yield its URL on this machine."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", host, "-p", str(port)]
    environment = {**os.environ, "MOTO_S3_DEFAULT_MAX_KEYS": str(PAGE)}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_until_it_answers(process, url)
        yield url
    finally:
        process.kill()
        process.wait()


def ask(url: str, method: str = "GET", data: bytes | None = None) -> tuple[Message, bytes]:
    """Ask the server past all code of ours; return headers and body."""
    # The server looks at who asks, not at the signature; objects are not for everybody.
    signature = (
        "AWS4-HMAC-SHA256 Credential=tester/20260101/us-east-1/s3/aws4_request, SignedHeaders=host,"
        " Signature=0"
    )
    headers = {"Authorization": signature, "Content-Type": "application/octet-stream"}
    with urllib.request.urlopen(  # noqa: S310
        urllib.request.Request(url, data, headers, method=method)  # noqa: S310
    ) as answer:  # The server above.
        return answer.headers, answer.read()


def make_bucket(url: str, name: str) -> None:
    """Make a bucket; its name has at least three letters."""
    ask(f"{url}/{name}", "PUT")


def _wait_until_it_answers(process: subprocess.Popen[bytes], url: str) -> None:
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up and process.poll() is None:
        with (
            contextlib.suppress(urllib.error.URLError, ConnectionError),
            urllib.request.urlopen(url),  # noqa: S310
        ):
            return
        time.sleep(0.05)
    raise TimeoutError("the S3 server does not answer")


@dataclass
class Request:
    """A request as it came to the proxy."""

    method: str
    path: str


@dataclass
class Faults:
    """What goes wrong: each is a question about a request; `seen` holds all requests so far."""

    fails: Callable[[Request], bool] = lambda _: False
    breaks_off: Callable[[Request], bool] = lambda _: False
    hangs: Callable[[Request], bool] = lambda _: False
    seen: list[Request] = field(default_factory=list)
    thaw: threading.Event = field(default_factory=threading.Event)

    def heal(self) -> None:
        """Let everything work again, what hangs included."""
        self.fails = self.breaks_off = self.hangs = lambda _: False
        self.thaw.set()
        self.thaw = threading.Event()


class Proxy(BaseHTTPRequestHandler):
    """Passes requests on, unless a fault says otherwise."""

    protocol_version = "HTTP/1.1"
    faults: Faults
    behind: str

    def pass_on(self) -> None:
        """Answer one request."""
        request, faults = Request(self.command, self.path), self.faults
        faults.seen.append(request)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if faults.hangs(request):
            faults.thaw.wait()
        if faults.fails(request):
            self._send(503, {}, b"<Error><Code>SlowDown</Code></Error>")
            return
        connection = http.client.HTTPConnection(self.behind, timeout=30)
        connection.request(self.command, self.path, body, dict(self.headers))
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        headers = {
            name: value
            for name, value in answer.getheaders()
            if name.lower() not in {"connection", "date", "server", "transfer-encoding"}
        }
        self._send(answer.status, headers, content, cut=faults.breaks_off(request))

    def _send(
        self, status: int, headers: dict[str, str], content: bytes, *, cut: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if not any(name.lower() == "content-length" for name in headers):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self.close_connection = True

    # The names that http.server looks for.
    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = pass_on  # noqa: N815

    # The signature is http.server's.
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def faulty(url: str) -> Iterator[tuple[str, Faults]]:
    """Run a proxy before a server; yield its URL and what goes wrong there, which is nothing at
    first.
    """
    faults = Faults()
    handler = type(
        "FaultyProxy", (Proxy,), {"faults": faults, "behind": url.removeprefix("http://")}
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
    )
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", faults
    finally:
        faults.heal()
        server.shutdown()
        server.server_close()
