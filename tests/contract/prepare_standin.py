"""A stand-in for asu-prepare that holds every request and every answer against that service's
committed OpenAPI file.

Its answers are decided by asu's own copy of the core, so a drift of either side from the contract
shows here: a request of the API that the file does not allow, or an answer that the file does not
describe.
"""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from asu.build_request import BuildRequest
from asu.catalogue.resolver import Resolver
from asu.catalogue.validation import ValidatedRequest

OPENAPI = Path(__file__).resolve().parents[2] / "asu-prepare" / "openapi.json"
PATH = "/api/v1/prepare"


def _closed(schema: Any) -> Any:
    """Return a schema whose objects allow no other properties than they name: what the file does
    not describe is a drift.
    """
    if isinstance(schema, dict):
        closed = {name: _closed(part) for name, part in schema.items()}
        if "properties" in closed:
            closed.setdefault("additionalProperties", False)
        return closed
    return [_closed(part) for part in schema] if isinstance(schema, list) else schema


@dataclass
class Contract:
    """The OpenAPI file, as validators of requests and answers."""

    violations: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        document = json.loads(OPENAPI.read_text(encoding="utf-8"))
        operation = document["paths"][PATH]["post"]
        components = _closed(document["components"])
        request = operation["requestBody"]["content"]["application/json"]["schema"]
        answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
        self._request = Draft202012Validator({**request, "components": components})
        self._answer = Draft202012Validator({**answer, "components": components})

    def check_request(self, request: Any) -> None:
        """Note what the file does not allow in a request."""
        self.violations += [
            f"request: {error.json_path}: {error.message[:200]}"
            for error in self._request.iter_errors(request)
        ]

    def check_answer(self, answer: Any) -> None:
        """Note what the file does not describe in an answer."""
        self.violations += [
            f"answer: {error.json_path}: {error.message[:200]}"
            for error in self._answer.iter_errors(answer)
        ]


@contextmanager
def validating_service(resolver: Resolver, contract: Contract) -> Iterator[str]:
    """Serve previews, each exchange held against the contract; yields the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path != PATH:
                contract.violations.append(f"path: {self.path}")
            contract.check_request(request)
            validated = ValidatedRequest(BuildRequest.model_validate(request).normalised())
            answer = json.loads(json.dumps(asyncio.run(resolver.preview(validated))))
            contract.check_answer(answer)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        # The base class names it so.
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
