"""Previews: asked of asu-prepare over HTTP, or resolved in-process where that service is not configured."""

import json
from typing import Any, Protocol

from .catalogue import ValidatedRequest
from .errors import InvalidRequest, PrepareDisagrees, PrepareUnavailable
from .preview import Resolver
from .resolution import request_hash
from .web_client import WebAnswer, WebClient, WebError

MAX_BYTES = 4 * 1024 * 1024  # A preview of 1 000 packages with every package changed has less than 1 MiB.
HTTP_OK, HTTP_BAD_REQUEST, HTTP_SERVER_ERROR = 200, 400, 500


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
    """The asu-prepare service."""

    def __init__(self, client: WebClient, *, url: str, deadline: float) -> None:
        self._client, self._url, self._deadline = client, url.rstrip("/"), deadline

    async def prepare(self, request: ValidatedRequest, request_id: str) -> dict[str, Any]:
        """See Preparer."""
        try:
            answer = await self._client.post_json(
                f"{self._url}/api/v1/prepare",
                json.dumps(dict(request.fields)).encode(),
                headers={"X-Request-ID": request_id},
                max_bytes=MAX_BYTES,
                deadline=self._deadline,
            )
            preview_answer = _read(answer)
            ours = request_hash(preview_answer["prepared_request"])
            theirs = preview_answer["request_hash"]
        except (WebError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise PrepareUnavailable from error
        if ours != theirs:
            raise PrepareDisagrees(theirs=str(theirs)[:64], ours=ours)
        return preview_answer


def _read(answer: WebAnswer) -> dict[str, Any]:
    body = json.loads(answer.body)
    if HTTP_BAD_REQUEST <= answer.status < HTTP_SERVER_ERROR:
        # Ours passed a request that theirs refuses: say theirs, as the user can act on it.
        raise InvalidRequest(reason=str(body["detail"]), errors=list(body.get("errors") or []))
    if answer.status != HTTP_OK or body["status"] != "prepared":
        raise WebError(f"status {answer.status}")
    return dict(body)
