"""Previews: asked of asu-prepare over HTTP, or resolved in-process where that service is not configured."""

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

from asu.errors import AsuError, InvalidRequest, PrepareDisagrees, PrepareUnavailable
from asu.resolution import request_hash
from asu.upstream.http_client import WebAnswer, WebBrokenError, WebClient, WebConnectError, WebError

from .resolver import Resolver
from .validation import ValidatedRequest

log = logging.getLogger(__name__)

# A preview of 1 000 packages with every package changed has less than 1 MiB.
MAX_BYTES = 4 * 1024 * 1024
HTTP_OK, HTTP_BAD_REQUEST, HTTP_UNPROCESSABLE = 200, 400, 422
# Seconds before another try: a replica that goes takes connections, or a moment of its name, with
# it; others answer.
PAUSES = (0.1, 0.3)
# What a preview may change of a request.
DECIDED = ("packages", "packages_versions", "diff_packages")


class Preparer(Protocol):
    """Makes previews."""

    async def prepare(self, request: ValidatedRequest, request_id: str) -> dict[str, Any]:
        """Return the preview of a validated request; raises PrepareUnavailable, PrepareDisagrees, InvalidRequest."""


class InProcessPreparer:
    """Resolves in this process: same copy of the core, same answer, same hash."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    async def prepare(self, request: ValidatedRequest, request_id: str) -> dict[str, Any]:  # noqa: ARG002  # The request id is for services on the way.
        """See Preparer."""
        return await self._resolver.preview(request)


class PrepareService:
    """The asu-prepare service, whose answers are compared with what would be built here.

    A preview goes to the user only if its request is the one that was sent but for the packages,
    and if its hash is that of its request. Where both sides could look everything up and a direct
    build would still be another (one has not seen yet what OpenWrt published within the last
    minutes, or knows other rules), the user is told what this server would build.
    """

    def __init__(self, client: WebClient, *, url: str, deadline: float, resolver: Resolver) -> None:
        self._client, self._url, self._deadline, self._resolver = (
            client,
            url.rstrip("/"),
            deadline,
            resolver,
        )

    async def prepare(self, request: ValidatedRequest, request_id: str) -> dict[str, Any]:
        """See Preparer."""
        sent = json.dumps(dict(request.fields)).encode()
        try:
            preview = _read(await self._ask(sent, request_id))
            ours, theirs = request_hash(preview["prepared_request"]), preview["request_hash"]
            changed = _changed(json.loads(sent), preview["prepared_request"])
            checked = preview["checked"] is True
        except AsuError:
            raise
        except (WebError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise PrepareUnavailable from error
        if changed:
            raise PrepareDisagrees(about=f"the field {changed}")
        if ours != theirs:
            raise PrepareDisagrees(about="how a request is hashed")
        return await self._as_it_would_be_built(request, preview) if checked else preview

    async def _ask(self, sent: bytes, request_id: str) -> WebAnswer:
        """Ask within the deadline, again where nobody has answered: a preview changes nothing. Raises WebError."""
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

    async def _as_it_would_be_built(
        self, request: ValidatedRequest, theirs: dict[str, Any]
    ) -> dict[str, Any]:
        """Return their preview, or ours where a direct build would be another; without metadata of our own there is nothing to compare."""
        ours = await self._resolver.preview(request)
        if not ours["checked"] or ours["request_hash"] == theirs["request_hash"]:
            return theirs
        log.warning(
            "the prepare service previews %s where this server would build %s",
            ascii(theirs["request_hash"]),
            ours["request_hash"],
        )
        return ours


def _changed(sent: Mapping[str, Any], prepared: Mapping[str, Any]) -> str | None:
    """Return the name of a field that did not come back as it was sent."""
    return next(
        (name for name, value in sent.items() if name not in DECIDED and prepared[name] != value),
        None,
    )


def _read(answer: WebAnswer) -> dict[str, Any]:
    """Return a preview; raises InvalidRequest for a refusal of the request, and much else for what is neither."""
    body = json.loads(answer.body)
    if answer.status in (HTTP_BAD_REQUEST, HTTP_UNPROCESSABLE):
        raise _refusal(answer.status, body)
    if answer.status != HTTP_OK or body["status"] != "prepared":
        raise WebError(f"status {answer.status}")
    return dict(body)


def _refusal(status: int, body: Mapping[str, Any]) -> InvalidRequest:
    """Return a refusal as it was given: ours admits what theirs refuses, and the user can act on their words."""
    error = InvalidRequest(reason=str(body["detail"]), errors=list(body.get("errors") or []))
    error.status, error.title, error.code = status, str(body["title"]), str(body["code"])
    return error
