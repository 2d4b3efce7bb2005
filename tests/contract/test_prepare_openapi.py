"""The API keeps to the prepare service's OpenAPI file, and so does the core's preview."""

import json
from typing import Any

import pytest

from asu.catalogue.prepare_client import PrepareService
from asu.upstream.http_client import WebClient
from tests.contract.prepare_standin import Contract, validating_service
from tests.contract.test_prepare import REQUESTS, resolver, validated

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("fields", REQUESTS, ids=range(len(REQUESTS)))
async def test_every_exchange_keeps_to_the_file(fields: dict[str, Any]) -> None:
    """What the API sends is allowed there, and what it gets back is described there, down to the
    last key.
    """
    contract = Contract()
    with validating_service(resolver(), contract) as url:
        async with WebClient(user_agent="test") as web:
            answer = await PrepareService(web, url=url, deadline=5).preview(
                validated(**fields), "id"
            )

    assert answer["status"] == "prepared"
    assert contract.violations == []


async def test_a_drift_is_noticed() -> None:
    """A key that the file does not know, a missing one, or one of another type is a violation on
    either side.
    """
    answer = json.loads(json.dumps(await resolver().preview(validated())))
    missing = {name: value for name, value in answer.items() if name != "request_hash"}

    for drifted in (
        {**answer, "surprise": 1},
        missing,
        {**answer, "changes": None},
        {**answer, "request_hash": "short"},
    ):
        contract = Contract()
        contract.check_answer(drifted)
        assert contract.violations
    contract = Contract()
    contract.check_request({"version": 17})
    assert contract.violations
