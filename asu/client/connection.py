"""The server as the command line sees it: JSON over HTTP, downloads, and a build's events."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import Request, build_opener

from asu import __version__

TIMEOUT = 60.0  # Seconds without a byte; the server sends a comment on an event stream every 15 s.
PIECE = 256 * 1024
MAX_ANSWER_BYTES = 16 * 1024 * 1024  # The largest answer is a failed build's log, below 1 MiB.
POLL_SECONDS = 2.0
HTTP_OK, HTTP_ACCEPTED, HTTP_NOT_FOUND, HTTP_SERVER_ERROR = 200, 202, 404, 500


class ClientError(Exception):
    """Something that the person must know; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP status and the JSON object that came with it."""

    status: int
    body: Mapping[str, Any]

    @property
    def detail(self) -> str:
        """What the server says in words."""
        return str(self.body.get("detail") or f"the server answered with status {self.status}")


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a build: `state`, `step`, `log` or `end`, and its JSON."""

    name: str
    data: Mapping[str, Any]


class Server:
    """One server, by its address."""

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise ClientError(f'"{url}" is not the address of a server: it begins with https://')
        self.url = url.rstrip("/")
        self._opener = build_opener()

    def ask(self, path: str, body: Mapping[str, Any] | None = None, **query: str) -> Answer:
        """GET a path, or POST a JSON body to it; raise ClientError unless JSON comes back."""
        try:
            with self._open(path, body, query) as response:
                return Answer(response.status, _json_object(response.read(MAX_ANSWER_BYTES)))
        except HTTPError as error:
            with error:
                return Answer(error.code, _json_object(error.read(MAX_ANSWER_BYTES)))
        except (OSError, HTTPException, ValueError) as error:
            raise ClientError(f"{self.url} does not answer as this server does: {error}") from error

    def expect(self, path: str, body: Mapping[str, Any] | None = None, **query: str) -> Any:
        """Return the JSON of a successful answer; raise ClientError with the server's words."""
        answer = self.ask(path, body, **query)
        if answer.status != HTTP_OK:
            raise ClientError(answer.detail)
        return answer.body

    def build(self, key: str) -> Answer:
        """Return what the server knows of a build; `key` may be its first twelve digits."""
        return self.ask(f"/api/v1/build/{quote(key)}")

    def events(self, key: str) -> Iterator[Event]:
        """Yield what happens to a build until it has ended.

        A stream that breaks is resumed where it stopped. A server without streams is polled.
        """
        last = ""
        while True:
            try:
                with self._open(f"/api/v1/build/{key}/events", None, {}, last) as stream:
                    for number, event in _parsed_events(stream):
                        last = number or last
                        yield event
                        if event.name == "end":
                            return
            except HTTPError as error:
                error.close()
                if error.code < HTTP_SERVER_ERROR:
                    yield from self._polled(key)
                    return
            except (OSError, HTTPException):
                pass
            time.sleep(POLL_SECONDS)

    def download(
        self, path: str, file: Path, sha256: str, progress: Callable[[int, int], None]
    ) -> None:
        """Write a file once it has the SHA-256 that the server promised; raise ClientError else."""
        part, digest, done = file.with_name(file.name + ".part"), hashlib.sha256(), 0
        try:
            with self._open(path, None, {}) as response, part.open("wb") as output:
                total = int(response.headers.get("Content-Length") or 0)
                while piece := response.read(PIECE):
                    output.write(piece)
                    digest.update(piece)
                    done += len(piece)
                    progress(done, total)
            if digest.hexdigest() != sha256:
                raise ClientError(f"{file.name} is not what the server promised; try it again")
            part.replace(file)
        except (OSError, HTTPException) as error:
            raise ClientError(f"{file.name} could not be downloaded: {error}") from error
        finally:
            part.unlink(missing_ok=True)

    def _polled(self, key: str) -> Iterator[Event]:
        seen: Mapping[str, Any] = {}
        while True:
            answer = self.build(key)
            if answer.status != HTTP_ACCEPTED:
                yield Event("end", answer.body)
                return
            if answer.body != seen:
                seen = answer.body
                running = "imagebuilder_status" in seen
                yield Event("step" if running else "state", seen)
            time.sleep(POLL_SECONDS)

    def _open(
        self, path: str, body: Mapping[str, Any] | None, query: Mapping[str, str], last: str = ""
    ) -> Any:
        headers = {"User-Agent": f"asu/{__version__}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if path.endswith("/events"):
            headers["Accept"] = "text/event-stream"
        if last:
            headers["Last-Event-ID"] = last
        url = self.url + path + (f"?{urlencode(query)}" if query else "")
        data = json.dumps(body).encode() if body is not None else None
        # Server() admits http and https only.
        return self._opener.open(Request(url, data, headers), timeout=TIMEOUT)  # noqa: S310


def _json_object(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        raise ClientError(
            "the address answers, but not as this server does; check --server"
        ) from None


def _parsed_events(stream: Any) -> Iterator[tuple[str, Event]]:
    """Yield id and event of each block of a `text/event-stream`."""
    number, name, data = "", "message", list[str]()
    for raw in stream:
        field, _, value = raw.decode("utf-8", "replace").rstrip("\r\n").partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "id":
            number = value
        elif field == "data":
            data.append(value)
        elif not field and not value and data:
            yield number, Event(name, _json_object("\n".join(data).encode()))
            name, data = "message", []
