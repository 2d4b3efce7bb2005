"""The clients: each asks for one build, polls until it has ended, tries again where it is told to,
and checks what it downloads.

They come from addresses of their own, as devices do, and say only what they saw; whether that was
right is for the judge.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import threading
from collections.abc import Mapping
from typing import Any

from tests.nemesis.history import Exchange, Purpose, Recorder, SessionEnd
from tests.nemesis.schedule import Ask

TIMEOUT = 45.0  # Seconds; the gateway gives up on the API after 30.
# Seconds until whoever was turned away, or whose build failed by no fault of its own, asks again.
AGAIN = 3.0
OK, ACCEPTED, FAILED, TOO_MANY = 200, 202, 500, 429


class Line:
    """What one client says and hears."""

    def __init__(self, recorder: Recorder, port: int, *, session: int, wish: str) -> None:
        self._recorder, self._port, self._session, self._wish = recorder, port, session, wish
        # All of 127/8 is this machine.
        self._address = (f"127.1.{session // 250}.{session % 250 + 1}", 0)

    def ask(
        self,
        purpose: Purpose,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        file: str = "",
        key: str = "",
    ) -> tuple[Exchange, dict[str, Any]]:
        """Send one request and write down what came of it; return that, and the JSON that was
        answered.
        """
        began = self._recorder.now()
        status, content = self._send(path, body)
        answer = _json(content) if purpose != "file" else {}
        exchange = Exchange(
            session=self._session,
            wish=self._wish,
            purpose=purpose,
            began=began,
            ended=self._recorder.now(),
            status=status,
            key=str(answer.get("request_hash") or key),
            code=str(answer.get("code") or ""),
            fault=str(answer.get("fault") or ""),
            detail=str(
                answer.get("detail") or content[:200].decode(errors="replace")
                if status != OK
                else ""
            )[:300],
            retry_after=int(answer.get("retry_after") or 0),
            place=answer.get("queue_position"),
            promised=(
                {image["name"]: image["sha256"] for image in answer.get("images", ())}
                if status == OK
                else {}
            ),
            file=file,
            sha256=hashlib.sha256(content).hexdigest() if file and status == OK else "",
        )
        self._recorder.write(exchange)
        return exchange, answer

    def fetch(self, key: str, promised: Mapping[str, str]) -> bool:
        """Download all files of a build, whether one of them fails or not; say whether each came
        with an answer of 200.
        """
        statuses = [
            self.ask("file", f"/store/{key}/{name}", file=name, key=key)[0].status
            for name in promised
        ]
        return all(status == OK for status in statuses)

    def _send(self, path: str, body: Mapping[str, Any] | None) -> tuple[int | None, bytes]:
        """Return status and body; without an answer None and what was in the way."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self._port, timeout=TIMEOUT, source_address=self._address
        )
        try:
            if body is None:
                connection.request("GET", path)
            else:
                connection.request(
                    "POST", path, json.dumps(body).encode(), {"Content-Type": "application/json"}
                )
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            return None, repr(error).encode()
        finally:
            connection.close()


class Client(threading.Thread):
    """One client, from its request until it has its files, or knows that it cannot have them, or is
    sent away.
    """

    def __init__(self, ask: Ask, recorder: Recorder, port: int, leave: threading.Event) -> None:
        super().__init__(name=f"client-{ask.session}", daemon=True)
        self._ask, self._recorder, self._leave = ask, recorder, leave
        self._line = Line(recorder, port, session=ask.session, wish=ask.wish)
        self._key = ""

    def run(self) -> None:
        """Begin at its time."""
        outcome = None
        if not self._leave.wait(max(0.0, self._ask.at - self._recorder.now())):
            outcome = self._try()
            while outcome is None and not self._leave.wait(AGAIN):
                outcome = self._try()
        self._recorder.write(
            SessionEnd(
                session=self._ask.session,
                wish=self._ask.wish,
                at=self._recorder.now(),
                outcome=outcome or "unfinished",  # type: ignore[arg-type]
                key=self._key,
            )
        )

    def _try(self) -> str | None:
        """Ask for the build and follow it; return how it ended, None if it is worth another try."""
        exchange = self._post()
        while exchange.status == ACCEPTED and not self._leave.wait(self._ask.poll_every):
            exchange = self._poll(exchange.key)
        if exchange.status == OK and exchange.promised:
            return "done" if self._line.fetch(exchange.key, exchange.promised) else None
        if exchange.status == FAILED and exchange.fault == "user":
            return "user"
        is_refused = (
            exchange.purpose == "post"
            and exchange.status in range(400, FAILED)
            and exchange.status != TOO_MANY
        )
        return "refused" if is_refused else None

    def _post(self) -> Exchange:
        path, body = "/api/v1/build", self._ask.body
        if self._ask.has_preview:
            preview, answer = self._line.ask("preview", "/api/v1/build/prepare", body)
            if preview.status == OK:
                path, body = (
                    "/api/v1/build?skip_package_resolution=true",
                    answer["prepared_request"],
                )
        exchange, _ = self._line.ask("post", path, body)
        self._key = exchange.key or self._key
        return exchange

    def _poll(self, key: str) -> Exchange:
        """Ask until some answer comes: who is left without one while the API starts again polls
        on.
        """
        while True:
            exchange, _ = self._line.ask("poll", f"/api/v1/build/{key}", key=key)
            if exchange.status not in {None, 502, 503, 504} or self._leave.wait(
                self._ask.poll_every
            ):
                return exchange


def _json(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
