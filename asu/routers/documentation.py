"""What the OpenAPI document says about each route: the model of its answer, and its errors.

Examples of errors are made from their classes. Those of answers and requests come from
`examples.json`, by the name of their schema, or by "METHOD /path status".
"""

import json
import string
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from fastapi import APIRouter, FastAPI
from pydantic import BaseModel
from typing_extensions import override

from asu.errors import AsuError, BodyTooLarge, InvalidRequest, error_classes

from .answers import ErrorAnswer, FailedBuildAnswer

Responses = dict[int | str, dict[str, Any]]
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

EXAMPLES = Path(__file__).with_name("examples.json")
JSON = "application/json"
# FastAPI assumes that a route with a parameter answers 422 in FastAPI's own shape. None does: an
# impossible path is 404, and all errors have one shape.
ASSUMED = ("HTTPValidationError", "ValidationError")
REFUSED, FAILED = 400, 500


class Router(APIRouter):
    """A router whose GET routes answer HEAD as well, by a route that is not in the document.

    Two methods of one route would share an operation id, which OpenAPI forbids.
    """

    @override
    def get(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        head, get = super().head(path, include_in_schema=False), super().get(path, **options)
        return lambda endpoint: get(head(endpoint))


def answers(model: Any, *errors: type[AsuError], description: str = "") -> Responses:
    """Return the description of a route that answers with `model` or with one of `errors`."""
    if not description:
        description = (model.__doc__ or "").partition("\n")[0]
    return {200: {"model": model, "description": description}, **failures(*errors)}


def failures(*errors: type[AsuError], model: type[BaseModel] = ErrorAnswer) -> Responses:
    """Return the description of errors; errors of one status share an entry."""
    responses: Responses = {}
    for error in errors:
        response = responses.setdefault(
            error.status,
            {"model": model, "description": error.title, "content": {JSON: {"examples": {}}}},
        )
        response["content"][JSON]["examples"][error.code] = {}  # Filled in by `describe`.
        if error.retry_after is not None:
            response["headers"] = {"Retry-After": header("Seconds until trying again may help.")}
    return responses


def header(description: str, kind: str = "integer") -> dict[str, Any]:
    """Return the description of a header."""
    return {"description": description, "schema": {"type": kind}}


def refusals() -> tuple[type[AsuError], ...]:
    """Return the errors by which a build request is refused before anything is queued."""
    refused = (error for error in error_classes() if error.status == REFUSED)
    return (*refused, BodyTooLarge, InvalidRequest)


def failed_builds() -> Responses:
    """Return the description of a build that failed: 500, with the output of the ImageBuilder."""
    failed = (error for error in error_classes() if error.status == FAILED)
    responses = failures(*failed, model=FailedBuildAnswer)
    responses[FAILED]["description"] = (
        "The build failed; `detail` says why, `stdout` and `stderr` are the ImageBuilder's."
    )
    return responses


def describe(app: FastAPI) -> None:
    """Let `app` describe itself with examples and without what FastAPI assumes."""
    describe_itself = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = describe_itself()
            _take_out_assumed(document)
            _add_examples(document, json.loads(EXAMPLES.read_bytes()))
        return describe_itself()

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI documents this way.


def example_of(error: type[AsuError], samples: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of an error with its placeholders filled from `samples`."""
    names = (name for _, name, _, _ in string.Formatter().parse(error.message()) if name)
    return error(**{name: samples.get(name, name) for name in names}).body()


def _take_out_assumed(document: dict[str, Any]) -> None:
    for _, operation in _operations(document):
        content = operation["responses"].get("422", {}).get("content", {})
        if _schema_of(content.get(JSON, {})) in ASSUMED:
            del operation["responses"]["422"]
    for name in ASSUMED:
        document["components"]["schemas"].pop(name, None)


def _add_examples(document: dict[str, Any], examples: Mapping[str, Any]) -> None:
    errors = {error.code: error for error in error_classes()}
    of_answers = examples["answers"]
    for place, content in _contents(document):
        if "examples" in content:  # Errors, by their codes.
            for code, example in content["examples"].items():
                example["value"] = example_of(errors[code], examples["errors"])
        else:
            content.update(of_answers.get(place) or of_answers[_schema_of(content)])


def _contents(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each description of a JSON body: where it is used, and the description."""
    for place, operation in _operations(document):
        bodies = {f"{place} {status}": body for status, body in operation["responses"].items()}
        bodies[place] = operation.get("requestBody", {})
        for name, body in bodies.items():
            if JSON in body.get("content", {}):
                yield name, body["content"][JSON]


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield f"{method.upper()} {path}", operation


def _schema_of(content: Mapping[str, Any]) -> str:
    return str(content.get("schema", {}).get("$ref", "")).rpartition("/")[2]
