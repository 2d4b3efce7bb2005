"""From the bytes of a request to the bytes of its preview.

Answers are functions of the request and the downloads server's metadata alone, so equal requests
within a few seconds are answered with the same bytes: on release day thousands of routers of one
kind ask the same.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import ValidationError
from pydantic_core import to_json

from .errors import (
    AmbiguousProfileError,
    PrepareError,
    UnsupportedDistroError,
    UnsupportedProfileError,
    invalid_fields,
)
from .metrics import ANSWER_CACHE, PREVIEWS, Counts
from .prepare_request import PrepareRequest
from .resolution import AmbiguousProfileError as SeveralProfilesError
from .resolution import (
    DocumentMissingError,
    Documents,
    DocumentUnavailableError,
    Gatherer,
    RuleBook,
    UnknownProfileError,
    Version,
    normalised_profile,
    normalised_request,
    package_request,
    preview,
)
from .upstream import patience

# Far below the minutes in which metadata is revalidated, so no answer gets noticeably older by it.
KEPT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A preview as JSON, and how it is counted."""

    body: bytes
    outcome: str


class AnswerCache:
    """Answers by the bytes of their requests, for some seconds and within a bound on the bytes of both.

    Requests hold first-boot scripts, so what is too old is not only not used but dropped: at each
    question, at each new answer, and whenever `purge` is called.
    """

    def __init__(
        self,
        max_bytes: int,
        *,
        seconds: float = KEPT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seconds = seconds
        self._max_bytes, self._clock = max_bytes, clock
        self._bytes = 0
        # In the order in which they end.
        self._answers: OrderedDict[bytes, tuple[float, Answer]] = OrderedDict()

    def get(self, body: bytes) -> Answer | None:
        """Return the answer to the same request, if it was given a moment ago."""
        self.purge()
        kept = self._answers.get(body)
        return kept[1] if kept is not None else None

    def put(self, body: bytes, answer: Answer) -> None:
        """Keep an answer; the oldest ones make room for it."""
        self.purge()
        self._drop(body)
        self._answers[body] = (self._clock() + self.seconds, answer)
        self._bytes += len(body) + len(answer.body)
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._answers)))

    def purge(self) -> None:
        """Drop what is too old."""
        now = self._clock()
        while self._answers and next(iter(self._answers.values()))[0] <= now:
            self._drop(next(iter(self._answers)))

    @property
    def size(self) -> int:
        """How many bytes of requests and answers are held."""
        return self._bytes

    def _drop(self, body: bytes) -> None:
        kept = self._answers.pop(body, None)
        if kept is not None:
            self._bytes -= len(body) + len(kept[1].body)


class Previews:
    """Answers requests for previews."""

    def __init__(
        self,
        *,
        documents: Documents,
        rules: RuleBook,
        budget: float,
        cache: AnswerCache,
        counts: Counts,
    ) -> None:
        self._gatherer, self._rules, self._budget, self._cache = (
            Gatherer(documents),
            rules,
            budget,
            cache,
        )
        self._counts = counts

    async def answer(self, body: bytes) -> bytes:
        """Return the preview of a request as JSON; raises PrepareError for what is no request or can be none."""
        answer = self._cache.get(body)
        self._counts.add(ANSWER_CACHE, "hit" if answer else "miss")
        try:
            answer = answer or await self._make(body)
        except PrepareError:
            self._counts.add(PREVIEWS, "refused")
            raise
        except Exception:
            self._counts.add(PREVIEWS, "failed")
            raise
        self._counts.add(PREVIEWS, answer.outcome)
        return answer.body

    async def _make(self, body: bytes) -> Answer:
        found = await self._preview(_parse(body))
        answer = Answer(to_json(found), "problems" if found["problems"] else "ok")
        if found["checked"]:  # What could not be looked up may be known in a moment.
            self._cache.put(body, answer)
            # Nobody may ask again for hours.
            asyncio.get_running_loop().call_later(self._cache.seconds, self._cache.purge)
        return answer

    async def _preview(self, request: PrepareRequest) -> dict[str, object]:
        if request.distro != "openwrt":
            raise UnsupportedDistroError
        with patience(self._budget):
            fields = {
                **normalised_request(request.fields()),
                "profile": await self._profile(request),
            }
            return preview(
                fields, await self._gatherer.decide(package_request(fields), self._rules)
            )

    async def _profile(self, request: PrepareRequest) -> str:
        """Return the id of the profile that is meant; where the target's profiles cannot be had, the name in an id's spelling."""
        try:
            profiles = await self._gatherer.profiles(Version.parse(request.version), request.target)
            return profiles.find(request.profile)
        except (DocumentMissingError, DocumentUnavailableError):
            return normalised_profile(request.profile)
        except UnknownProfileError:
            raise UnsupportedProfileError(
                profile=request.profile, target=request.target, version=request.version
            ) from None
        except SeveralProfilesError as error:
            raise AmbiguousProfileError(
                profile=request.profile, candidates=", ".join(error.candidates)
            ) from None


def _parse(body: bytes) -> PrepareRequest:
    try:
        return PrepareRequest.model_validate_json(body)
    except ValidationError as error:
        raise invalid_fields(
            error.errors(include_url=False, include_context=False, include_input=False)
        ) from None
