"""Whatever JSON a downloads server answers with, the API does not fail by it, and hands on nothing
that is no JSON.
"""

from __future__ import annotations

import copy
import json
from functools import reduce
from typing import Any, NoReturn

import pytest

from tests.twins.memory_upstream import MemoryUpstream
from tests.unit.worlds import REQUEST, metadata, opened

PROFILES, TARGETS = (
    "releases/24.10.4/targets/ath79/generic/profiles.json",
    "releases/24.10.4/.targets.json",
)
DEVICE = ("profiles", "tplink_archer-c7-v5")
PLACES: list[tuple[str, tuple[str | int, ...]]] = [
    *(
        (PROFILES, (name,))
        for name in (
            "source_date_epoch",
            "version_code",
            "arch_packages",
            "default_packages",
            "metadata_version",
            "profiles",
        )
    ),
    *(
        (PROFILES, (*DEVICE, *rest))
        for rest in (
            (),
            ("device_packages",),
            ("device_packages", 0),
            ("supported_devices",),
            ("titles",),
            ("images",),
        )
    ),
    *(
        (PROFILES, ("linux_kernel",)),
        (PROFILES, ("default_packages", 0)),
        (TARGETS, ("ath79/generic",)),
        (TARGETS, ("new/one",)),
    ),
    *(
        (".versions.json", (name,))
        for name in ("stable_version", "versions_list", "upcoming_version")
    ),
]
HOSTILE = {
    "beyond": "1e400",
    "below": "-1e400",
    "negative": "-1",
    "large": "1" + "0" * 400,
    "too large to read": "9" * 5000,
    "no number": "NaN",
    "fraction": "1.5",
    "nested": "[" * 400 + "]" * 400,
    "deep": "[" * 100_000 + "]" * 100_000,
    "object": '{"a": {"b": -1e999}}',
    "surrogate": '"\\ud800"',
    "nothing": "null",
}
ROUTES = [
    *("/json/v1/overview.json", "/json/v1/latest.json", "/api/v1/revision/24.10.4/ath79/generic"),
    "/json/v1/releases/24.10.4/targets/ath79/generic/tplink_archer-c7-v5.json",
]


def no_json(constant: str) -> NoReturn:
    """Fail: JSON has no such thing."""
    raise AssertionError(constant)


def with_value(place: tuple[str, tuple[str | int, ...]], text: str) -> dict[str, Any]:
    """Return a server's documents, with this text at one place of one of them."""
    documents = metadata()
    path, keys = place
    document: Any = copy.deepcopy(documents[path])
    container: Any = reduce(lambda within, key: within[key], keys[:-1], document)
    container[keys[-1]] = "HERE"
    return {**documents, path: json.dumps(document).replace('"HERE"', text)}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_document_makes_the_api_fail(name: str) -> None:
    """It says that the server cannot be had, or answers with what it has; a page and a build
    request alike.
    """
    failed = []
    for place in PLACES:
        with opened(upstream=MemoryUpstream(with_value(place, HOSTILE[name]))) as world:
            answers = {route: world.client.get(route) for route in ROUTES} | {
                "build": world.post(REQUEST)
            }
        for route, answer in answers.items():
            json.loads(answer.text, parse_constant=no_json)
            if answer.status_code in {500, 502}:
                failed.append((place, route))

    assert failed == []
