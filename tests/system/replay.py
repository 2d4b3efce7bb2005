"""Replays a recorded session of a client and compares what it gets with what was recorded.

 A session is a JSON list of exchanges: `method`, `path`, `headers`, `body` (JSON, its text, or
null), and `answer` with `status`, `headers` and `body` (parsed JSON, or a text). What must be equal
is what the client decides by: the status, the headers that it reads, and the presence and JSON type
of the fields that it reads; words of ours may differ, and so may hashes, times and versions. A
build's hash and the images' names are the server's to choose: what is learnt from one answer is put
into the paths that follow.

    python -m tests.system.replay SESSION http://HOST:PORT
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
import re
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

POLL_SECONDS, BUILD_SECONDS = 0.2, 300.0
OK, ACCEPTED, FAILED = 200, 202, 500

# The words that LuCI can show for a running build; `queued` is said in the header alone.
STEPS = {
    "init",
    "container_setup",
    "validate_revision",
    "validate_manifest",
    "calculate_packages_hash",
    "building_image",
    "signing_images",
}
# Fields of a finished build that at least one client reads; the recorded server sends others that
# nobody looks at.
READ = {
    *(
        "status",
        "detail",
        "request_hash",
        "imagebuilder_status",
        "request",
        "version_code",
        "version_number",
        "images",
        "bin_dir",
        "manifest",
    ),
    *("build_cmd", "build_at", "id", "target", "titles", "metadata_version", "arch_packages"),
}
IMAGE_FIELDS = {"name", "type", "sha256", "sha256_unsigned"}
# Objects whose keys are data: names of packages, targets, branches. Of these the values' types are
# compared.
MAPS = {"manifest", "packages", "targets", "branches"}
COMPARED_HEADERS = {
    "location",
    "content-type",
    "x-content-type-options",
    "access-control-allow-origin",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer; header names are in lower case, each with all its values."""

    status: int
    headers: Mapping[str, list[str]]
    body: bytes

    def header(self, name: str) -> str:
        """Return a header's value; empty if it is not there."""
        return ", ".join(self.headers.get(name, []))

    def json(self) -> Any:
        """Read the body as JSON."""
        return json.loads(self.body)


@dataclass
class Replay:
    """One run of a session against a server."""

    host: str
    port: int
    learnt: dict[str, str] = field(default_factory=dict)
    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    outcomes: set[int] = field(default_factory=set)

    def run(self, session: list[dict[str, Any]]) -> Iterator[str]:
        """Send every exchange in its order; yield each deviation as a sentence."""
        self.outcomes = {
            exchange["answer"]["status"]
            for exchange in session
            if "/api/v1/build/" in exchange["path"]
        }
        for number, exchange in enumerate(session, start=1):
            answer = self._sent_until_it_is_time(exchange)
            place = f"{number}. {exchange['method']} {exchange['path'].partition('?')[0]}"
            yield from (f"{place}: {deviation}" for deviation in self._deviations(exchange, answer))
            self._learn(exchange["answer"], answer)

    def _sent_until_it_is_time(self, exchange: Mapping[str, Any]) -> Answer:
        """Send an exchange; one that was answered with a finished build is repeated until it is
        finished, as the client does.
        """
        answer = self._send(exchange)
        deadline = time.monotonic() + BUILD_SECONDS
        is_poll = "/api/v1/build/" in exchange["path"] and exchange["method"] in ("GET", "HEAD")
        while (
            is_poll
            and answer.status == ACCEPTED != exchange["answer"]["status"]
            and time.monotonic() < deadline
        ):
            time.sleep(POLL_SECONDS)
            answer = self._send(exchange)
        return answer

    def _send(self, exchange: Mapping[str, Any]) -> Answer:
        path, body = self._translated(exchange["path"]), exchange.get("body")
        headers = {
            name: value
            for name, value in exchange["headers"].items()
            if name.lower() not in {"host", "content-length"}
        }
        is_chunked = headers.pop("Transfer-Encoding", "") == "chunked"
        text = json.dumps(body) if isinstance(body, dict) else body
        data = self._translated(text).encode() if text else None
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            if is_chunked and data is not None:
                headers["Transfer-Encoding"] = "chunked"
                pieces = [data[start : start + 1000] for start in range(0, len(data), 1000)]
                connection.request(
                    exchange["method"], path, iter(pieces), headers, encode_chunked=True
                )
            else:
                connection.request(exchange["method"], path, data, headers)
            response = connection.getresponse()
            names = {name.lower() for name in response.headers}
            content = response.read()
            if response.headers.get("Content-Encoding") == "gzip":  # As browsers ask for.
                content = gzip.decompress(content)
            return Answer(
                response.status,
                {name: response.headers.get_all(name) or [] for name in names},
                content,
            )
        finally:
            connection.close()

    def _translated(self, text: str) -> str:
        for theirs, ours in self.learnt.items():
            text = text.replace(theirs, ours)
        for image in self.images.values():
            pattern = re.escape(image["name"]).replace(
                re.escape(f"-{_digits(image['name'])}-"), "-[0-9a-f]{12}-"
            )
            text = re.sub(pattern, image["name"], text)
        return text

    def _learn(self, recorded: Mapping[str, Any], answer: Answer) -> None:
        """Remember what this server calls what the recorded one called otherwise."""
        ours = (
            answer.json()
            if answer.header("content-type") == "application/json" and answer.body
            else None
        )
        if not isinstance(ours, dict) or "request_hash" not in ours:
            return
        self.images = {image["name"]: image for image in ours.get("images", [])}
        theirs = recorded["body"]
        if isinstance(theirs, dict) and "request_hash" in theirs:
            self.learnt[theirs["request_hash"]] = ours["request_hash"]

    def _deviations(self, exchange: Mapping[str, Any], answer: Answer) -> Iterator[str]:
        recorded = exchange["answer"]
        # A quick server may be done already where the recorded one still built, and one that has
        # built the same before always is.
        status = (
            answer.status
            if recorded["status"] == ACCEPTED and answer.status in self.outcomes
            else recorded["status"]
        )
        if answer.status != status:
            yield f"status {answer.status} instead of {status}: {answer.body[:300]!r}"
            return
        yield from _header_deviations(recorded["headers"], answer)
        if "/store/" in exchange["path"] and status == OK:
            yield from self._download_deviations(exchange["path"], answer)
        elif exchange["method"] == "HEAD" and answer.body:
            yield "a body in the answer to HEAD"
        elif isinstance(recorded["body"], dict | list) and status == recorded["status"]:
            yield from _body_deviations(
                recorded["body"],
                answer.json(),
                "packages" if "/packages/" in exchange["path"] else "",
            )

    def _download_deviations(self, path: str, answer: Answer) -> Iterator[str]:
        name = self._translated(path).partition("?")[0].rpartition("/")[2]
        if name not in self.images:
            yield f"{name} was not promised"
        elif hashlib.sha256(answer.body).hexdigest() != self.images[name]["sha256"]:
            yield f"{name} is not what its sha256 promises"
        if (
            answer.header("content-length") != str(len(answer.body))
            or answer.header("transfer-encoding")
            or answer.header("content-encoding")
        ):
            yield "not sent whole, with its length, as it is"


def _digits(name: str) -> str:
    """Return the twelve digits by which files of different builds are told apart."""
    found = re.search(r"-([0-9a-f]{12})-", name)
    return found[1] if found else ""


def _header_deviations(recorded: Mapping[str, str], answer: Answer) -> Iterator[str]:
    theirs = {name.lower(): value for name, value in recorded.items()}
    for name in COMPARED_HEADERS & theirs.keys():
        if answer.headers.get(name) != [theirs[name]]:
            yield f"header {name} is {answer.headers.get(name)} instead of {theirs[name]!r}"
    if "x-imagebuilder-status" in theirs:
        step, position = answer.header("x-imagebuilder-status"), answer.header("x-queue-position")
        expected = {OK: {"done"}, FAILED: {"failed"}}.get(answer.status, STEPS | {"queued"})
        if step not in expected:
            yield f"X-Imagebuilder-Status is {step!r}"
        if not re.fullmatch(r"[0-9]+", position):
            yield f"X-Queue-Position is {position!r}"


def _body_deviations(theirs: Any, ours: Any, place: str) -> Iterator[str]:
    """Yield what a client would miss: a field, or another type in its place."""
    if _type(theirs) != _type(ours) and theirs is not None:
        yield f"{place or 'the body'} is {_type(ours)} instead of {_type(theirs)}"
    elif isinstance(theirs, dict):
        yield from _object_deviations(theirs, ours, place)
    elif isinstance(theirs, list) and theirs:
        if not ours:
            yield f"{place} is empty"
        elif place.endswith("images"):
            for image in ours:
                yield from (f"{place}: {name} is missing" for name in IMAGE_FIELDS - image.keys())
        else:
            yield from _body_deviations(theirs[0], ours[0], f"{place}[0]")


def _object_deviations(
    theirs: Mapping[str, Any], ours: Mapping[str, Any], place: str
) -> Iterator[str]:
    if place.rpartition(".")[2] in MAPS:
        if theirs and not ours:
            yield f"{place} is empty"
        for value in list(ours.values())[:1]:
            yield from _body_deviations(next(iter(theirs.values()), value), value, f"{place}.*")
        return
    names = theirs.keys() & READ if "bin_dir" in theirs else theirs.keys()
    for name in sorted(names):
        where = f"{place}.{name}" if place else name
        if name not in ours:
            yield f"{where} is missing"
        elif (
            name in {"status", "imagebuilder_status"}
            and ours[name] != theirs[name]
            and theirs.get("status") != ACCEPTED
        ):
            yield f"{where} is {ours[name]!r} instead of {theirs[name]!r}"
        else:
            yield from _body_deviations(theirs[name], ours[name], where)


def _type(value: Any) -> str:
    return (
        "a number"
        if isinstance(value, int | float) and not isinstance(value, bool)
        else type(value).__name__
    )


def replay(session: Path, url: str) -> list[str]:
    """Replay the session of a file; return all deviations."""
    address = urlsplit(url)
    return list(
        Replay(address.hostname or "", address.port or 80).run(
            json.loads(session.read_text(encoding="utf-8"))
        )
    )


if __name__ == "__main__":
    deviations = replay(Path(sys.argv[1]), sys.argv[2])
    print("\n".join(deviations) or "no deviation")  # noqa: T201
    sys.exit(bool(deviations))
