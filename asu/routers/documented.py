"""Puts together what the OpenAPI file says of a route's answers: each good answer and each error, with its schema and an example.

An error's example is made from its class, so that the file cannot tell other words than the server.
"""

import string
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from asu.errors import AsuError

from .answers import ErrorAnswer, FailedBuildAnswer

Responses = dict[int | str, dict[str, Any]]

# What stands in the examples for the values that errors fill in.
SAMPLES: Mapping[str, object] = {
    "advice": "ask for fewer packages",
    "about": "how a request is hashed",
    "allowed": "POST",
    "again": "12:10 UTC on 2026-03-01",
    "attempts": 3,
    "available": "squashfs, ext4",
    "branch": "19.07",
    "candidates": "glinet_gl-ar300m-nand, glinet_gl-ar300m-nor",
    "distro": "lede",
    "document": "releases/24.10.4/targets/ath79/generic/profiles.json",
    "expected": "r28959-29397011cc",
    "filesystem": "jffs2",
    "found": "r28971-2ab61a6ab0",
    "free": 611,
    "kind": "usign's public key",
    "length": 30_000,
    "limit": 20_480,
    "limit_kib": 256,
    "limit_mb": 16_384,
    "manager": "apk",
    "method": "GET",
    "number": 1,
    "places": 100,
    "profile": "tplink_archer-c7-v6",
    "reason": "missing (no-such-package)",
    "repository": "https://packages.example.org/custom",
    "reserve": 1024,
    "request_id": "6f1c0a4e7c0b4a52a7c3c8a06b4df0a1",
    "seconds": 900,
    "size": 2048,
    "step": "make image",
    "target": "ath79/generic",
    "version": "24.10.4",
    "waiting": 200,
    "wanted": "a PEM file with an EC public key",
}


def answers(
    model: type[BaseModel],
    example: Any,
    *errors: type[AsuError],
    status: int = 200,
    description: str = "",
) -> Responses:
    """Return the description of a route that answers with `model` or with one of these errors."""
    good = {
        "model": model,
        "description": description or summary_of(model),
        "content": {"application/json": {"example": example}},
    }
    return {status: good, **failures(*errors)}


def failures(*errors: type[AsuError], model: type[BaseModel] = ErrorAnswer) -> Responses:
    """Return the description of errors, those of one status together."""
    responses: Responses = {}
    for error in errors:
        response = responses.setdefault(
            error.status,
            {
                "model": model,
                "description": error.title,
                "content": {"application/json": {"examples": {}}},
            },
        )
        response["content"]["application/json"]["examples"][error.code] = {
            "value": example_of(error)
        }
        if error.retry_after is not None:
            response["headers"] = {
                "Retry-After": {
                    "description": "Seconds until trying again may help.",
                    "schema": {"type": "integer"},
                }
            }
    return responses


def failed_builds(*errors: type[AsuError]) -> Responses:
    """Return the description of builds that failed: 500 with the builder's output, whoever is to blame."""
    responses = failures(*errors, model=FailedBuildAnswer)
    for response in responses.values():
        response["description"] = (
            "The build failed; `detail` says why, `stdout` and `stderr` are the ImageBuilder's."
        )
    return responses


def example_of(error: type[AsuError]) -> dict[str, Any]:
    """Return the body of an error with its placeholders filled in."""
    message = (error.__doc__ or "").split("\n\n")[0]
    return error(
        **{
            name: SAMPLES.get(name, name)
            for _, name, _, _ in string.Formatter().parse(message)
            if name
        }
    ).body()


def summary_of(model: type[BaseModel]) -> str:
    """Return the first line of a model's docstring."""
    return (model.__doc__ or "").split("\n")[0]
