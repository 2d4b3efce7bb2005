"""Previews: from asu-prepare over HTTP, or from this server's own copy of the decision core.

A preview is built exactly as its `prepared_request` says, so each answer of asu-prepare is checked.
Where it is wrong or late, this server makes the preview itself, without the forecast.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, Literal

from pydantic import ValidationError

from asu.build_request import BuildRequest
from asu.errors import InvalidRequest
from asu.resolution import request_hash
from asu.upstream.http_client import (
    UNREADABLE,
    WebAnswer,
    WebBrokenError,
    WebClient,
    WebConnectError,
    WebError,
)

from .resolver import Resolver
from .validation import ValidatedRequest

log = logging.getLogger(__name__)

# A preview of 1 000 packages with every package changed has less than 1 MiB.
MAX_BYTES = 4 * 1024 * 1024
# Seconds before another try: a replica that stops breaks its connections, and the others answer.
PAUSES = (0.1, 0.3)
# What a preview may change.
DECIDED = ("packages", "packages_versions", "diff_packages", "any_order")
# What the API has checked before it asks: a service that lags behind may not know it yet.
KNOWN_HERE = (
    *("unsupported-branch", "unsupported-version", "unsupported-target"),
    *("unsupported-profile", "device-moved"),
)
LISTS = ("changes", "problems", "warnings", "resolved_packages")

Fallback = Literal["unanswered", "wrong"]


class NoPreviewError(Exception):
    """asu-prepare gave no usable answer; the message says why, without its words."""

    def __init__(self, fallback: Fallback, reason: str) -> None:
        super().__init__(reason)
        self.fallback = fallback


class PrepareService:
    """The asu-prepare service."""

    def __init__(self, client: WebClient, *, url: str, deadline: float) -> None:
        self._client, self._url, self._deadline = client, url.rstrip("/"), deadline

    async def preview(self, request: ValidatedRequest, request_id: str) -> dict[str, Any]:
        """Return a preview; raise NoPreviewError, or InvalidRequest if the request is refused."""
        sent = json.dumps(dict(request.fields)).encode()
        try:
            answer = await self._ask(sent, request_id)
            preview = _read(answer)
        except WebError as error:
            raise NoPreviewError("unanswered", str(error)) from error
        except UNREADABLE as error:
            raise NoPreviewError("wrong", f"no preview ({type(error).__name__})") from error
        try:
            mistake = _mistake(json.loads(sent), preview)
        except ValidationError:
            mistake = "its prepared request cannot be built here"
        except UNREADABLE as error:
            mistake = f"not the shape of a preview ({type(error).__name__})"
        if mistake:
            raise NoPreviewError("wrong", mistake)
        return preview

    async def _ask(self, sent: bytes, request_id: str) -> WebAnswer:
        """Ask within the deadline, again where the connection breaks. Raise WebError."""
        ask = partial(
            self._client.post_json,
            f"{self._url}/api/v1/prepare",
            sent,
            headers={"X-Request-ID": request_id},
            max_bytes=MAX_BYTES,
        )
        give_up = time.monotonic() + self._deadline
        for pause in PAUSES:
            try:
                return await ask(deadline=give_up - time.monotonic())
            except (WebConnectError, WebBrokenError):
                if time.monotonic() + pause >= give_up:
                    raise
            await asyncio.sleep(pause)
        return await ask(deadline=give_up - time.monotonic())


class Preparer:
    """Makes previews. `fell_back` is called when this server makes one in asu-prepare's place."""

    def __init__(
        self,
        resolver: Resolver,
        service: PrepareService | None = None,
        fell_back: Callable[[Fallback], object] = lambda _: None,
    ) -> None:
        self._resolver, self._service, self._fell_back = resolver, service, fell_back
        self._trouble = ""

    async def prepare(self, request: ValidatedRequest, request_id: str) -> dict[str, Any]:
        """Return the preview of a validated request; raise InvalidRequest."""
        if self._service is not None:
            try:
                preview = await self._service.preview(request, request_id)
            except NoPreviewError as error:
                self._trouble = str(error)
                self._fell_back(error.fallback)
                log.warning("asu-prepare: %s; this server makes the preview itself", error)
            else:
                self._trouble = ""
                return {**preview, "prepared_by": "asu-prepare"}
        return {**await self._resolver.preview(request), "prepared_by": "asu"}

    def state(self) -> str:
        """Return `ok`, or say which previews this server makes itself."""
        if self._service is None:
            return "ok: this server makes all previews itself"
        if not self._trouble:
            return "ok"
        return (
            f"degraded: asu-prepare had no usable answer last time ({self._trouble}), and previews "
            "come without the forecast; look at PREPARE_SERVICE_URL and at that service"
        )


def _mistake(sent: Mapping[str, Any], preview: Mapping[str, Any]) -> str:
    """Say what is wrong with a preview, "" if nothing is; raise UNREADABLE for another shape."""
    if preview["status"] != "prepared":
        return "not the shape of a preview"
    prepared = preview["prepared_request"]
    for name, value in sent.items():
        if name not in DECIDED and prepared[name] != value:
            return f"the field {name} came back changed"
    if not all(isinstance(preview[name], list) for name in LISTS):
        return "not the shape of a preview"
    as_built = BuildRequest.model_validate(prepared).normalised()
    if preview["request_hash"] != request_hash(as_built):
        return "its hash is not the hash of its prepared request"
    return ""


def _read(answer: WebAnswer) -> dict[str, Any]:
    """Return a preview; raise InvalidRequest for a refusal, WebError or UNREADABLE."""
    if answer.status in {400, 422}:
        refusal = _refusal(answer.status, json.loads(answer.body))
        if refusal.code in KNOWN_HERE:
            raise WebError(f"it does not know what exists ({refusal.code})")
        raise refusal
    if answer.status != HTTPStatus.OK:
        raise WebError(f"status {answer.status}")
    return dict(json.loads(answer.body))


def _refusal(status: int, body: Mapping[str, Any]) -> InvalidRequest:
    """Return a refusal in the words of asu-prepare, which the user can act on."""
    error = InvalidRequest(reason=str(body["detail"]), errors=list(body.get("errors") or []))
    error.status, error.title, error.code = status, str(body["title"]), str(body["code"])
    return error
