"""The OpenAPI document, as the application describes itself and as it is committed in `openapi.json`.

FastAPI assumes that every route with a parameter may answer 422 in its own shape; here a path that
means nothing is answered with 404, and every error has one shape, so those assumptions are taken
out. (HEAD is left out: it is GET without the body.)
"""

from typing import Any

from fastapi import FastAPI

ASSUMED = "#/components/schemas/HTTPValidationError"


def describe(app: FastAPI) -> None:
    """Let the application describe itself without what FastAPI assumes."""
    describe_itself = app.openapi

    def openapi() -> dict[str, Any]:
        document = describe_itself()
        for operations in document["paths"].values():
            for operation in operations.values():
                _take_out_assumed(operation["responses"])
        for name in ("HTTPValidationError", "ValidationError"):
            document["components"]["schemas"].pop(name, None)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # The way that FastAPI documents.


def _take_out_assumed(responses: dict[str, Any]) -> None:
    schema = (
        responses.get("422", {}).get("content", {}).get("application/json", {}).get("schema", {})
    )
    if schema.get("$ref") == ASSUMED:
        del responses["422"]
