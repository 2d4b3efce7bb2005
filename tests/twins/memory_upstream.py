"""The downloads server in memory."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from typing_extensions import override

from asu.resolution import DocumentMissingError, DocumentUnavailableError
from asu.upstream.downloads_server import Upstream
from asu.upstream.http_client import UNREADABLE


class MemoryUpstream(Upstream):
    """Documents from a mapping of path to text, bytes, or what JSON holds. When `down`, none is
    there.
    """

    def __init__(self, documents: Mapping[str, Any], *, down: bool = False) -> None:
        self._documents, self._down = documents, down

    @override
    async def read(self, path: str, reader: Callable[[bytes], Any]) -> Any:
        if self._down:
            raise DocumentUnavailableError(path)
        document = self._documents.get(path.partition("#")[0], DocumentMissingError)
        if document is DocumentMissingError:
            raise DocumentMissingError(path)
        text = document if isinstance(document, (str, bytes)) else json.dumps(document)
        try:
            return reader(text if isinstance(text, bytes) else text.encode())
        except UNREADABLE:
            raise DocumentUnavailableError(path) from None

    @override
    def oldest(self) -> float:
        return 0.0

    @override
    def is_unconfirmed(self, path: str) -> bool:
        return False
