"""What the API says of itself: complete, with examples that are true, and committed."""

import json
import re
import string
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import asu
from asu.__main__ import main
from asu.app import create_app
from asu.build_request import BuildRequest
from asu.errors import AsuError, error_classes
from asu.routers.documentation import EXAMPLES, example_of
from misc.reference import app_routes
from tests.unit.worlds import opened, settings

FILE = Path(asu.__file__).with_name("openapi.json")
DOCUMENT: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
OPERATIONS = [
    (f"{method.upper()} {path}", operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]
# Pages, and paths that only clients of the past ask for.
UNDESCRIBED = {
    "/docs",
    "/redoc",
    "/",
    "/stats",
    "/status",
    "/upgrade",
    "/upgrade/build",
    "/build/{digits}",
    "/metrics",
    "/health",
    "/overview",
    "/api/overview",
}


def test_the_committed_file_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    """`asu openapi > asu/openapi.json` writes it anew."""
    main(["openapi"])

    assert capsys.readouterr().out == FILE.read_text(encoding="utf-8")


def test_every_route_is_described() -> None:
    """What is not in the file is on a short list."""
    paths = {route.path for route in app_routes(create_app(settings()))}

    assert paths - set(DOCUMENT["paths"]) == UNDESCRIBED


@pytest.mark.parametrize(("name", "operation"), OPERATIONS, ids=[name for name, _ in OPERATIONS])
def test_every_operation_says_what_it_does(name: str, operation: dict[str, Any]) -> None:
    """Each has a summary and a description; each JSON answer has an example, each request too."""
    assert operation["summary"], name
    assert operation["description"], name
    for status, response in operation["responses"].items():
        for kind, media in response.get("content", {}).items():
            assert (
                kind != "application/json"
                or media.get("example") is not None
                or media.get("examples")
            ), f"{name} {status}"
    if "requestBody" in operation:
        assert operation["requestBody"]["content"]["application/json"]["examples"]


@pytest.mark.parametrize(("name", "operation"), OPERATIONS, ids=[name for name, _ in OPERATIONS])
def test_an_example_keeps_to_its_schema(name: str, operation: dict[str, Any]) -> None:
    """Each example of an answer is an answer that its schema promises."""
    for status, response in operation["responses"].items():
        for media in response.get("content", {}).values():
            schema = {**media["schema"], "components": DOCUMENT["components"]}
            examples = [one["value"] for one in media.get("examples", {}).values()]
            examples += [media["example"]] if "example" in media else []
            validator = jsonschema.Draft202012Validator(schema)
            assert [list(validator.iter_errors(one)) for one in examples] == [
                [] for _ in examples
            ], f"{name} {status}"


@pytest.mark.parametrize("name", ["/api/v1/build", "/api/v1/build/prepare"])
def test_an_example_of_a_request_is_taken(name: str) -> None:
    """Whoever copies it gets no 422."""
    body = DOCUMENT["paths"][name]["post"]["requestBody"]["content"]["application/json"]
    values = [example["value"] for example in body["examples"].values()]

    assert values
    for value in values:
        read = BuildRequest.model_validate(value).model_dump(mode="json")
        assert {field: read[field] for field in value} == value


@pytest.mark.parametrize("kind", list(error_classes()), ids=lambda kind: kind.code)
def test_every_error_can_be_shown(kind: type[AsuError]) -> None:
    """The example of an error is its own words, with every placeholder filled in."""
    samples = json.loads(EXAMPLES.read_bytes())["errors"]
    body = example_of(kind, samples)

    assert (body["status"], body["code"]) == (kind.status, kind.code)
    assert {
        name for _, name, _, _ in string.Formatter().parse(kind.message()) if name
    } <= samples.keys()
    assert "{" not in body["detail"]


def test_every_error_is_in_the_file() -> None:
    """Whoever writes a client finds each code where it may come; a method or a path that there is
    not needs no description.
    """
    told = {
        code
        for _, operation in OPERATIONS
        for response in operation["responses"].values()
        for media in response.get("content", {}).values()
        for code in media.get("examples", {})
    }

    assert {kind.code for kind in error_classes()} - told == {"method-not-allowed"}


@pytest.mark.parametrize("value", ["%00", "a%0Ab", "%7F"])
def test_an_address_with_a_control_character_is_answered_as_described(value: str) -> None:
    """Every parameter of a path may hold one; the answer keeps to the schema of a described 404."""
    paths = [path for path in DOCUMENT["paths"] if "{" in path]
    with opened() as world:
        answers = {path: world.client.get(re.sub(r"\{.*?\}", value, path)) for path in paths}

    assert {answer.status_code for answer in answers.values()} == {404}
    for path, answer in answers.items():
        [described] = DOCUMENT["paths"][path]["get"]["responses"]["404"]["content"].values()
        schema = {**described["schema"], "components": DOCUMENT["components"]}
        jsonschema.Draft202012Validator(schema).validate(answer.json())
