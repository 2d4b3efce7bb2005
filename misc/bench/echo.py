"""The yardstick: the least that a FastAPI service does with a request.

It parses a build request by a pydantic model and returns it, and hands out so many bytes of JSON
for each size that it is given.

    python -m misc.bench.echo PORT [SIZE …]

It runs in the same server as both services do (uvicorn with uvloop and httptools, no access log),
so that only the applications differ.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

import uvicorn
from fastapi import FastAPI, Response
from pydantic import BaseModel

PATH = "/echo"


class EchoRequest(BaseModel):
    """The fields that a device sends, without any rule about their values."""

    version: str
    version_code: str = ""
    target: str
    profile: str
    packages: list[str]
    diff_packages: bool = False
    filesystem: str | None = None
    from_version: str | None = None
    client: str | None = None


def bytes_path(size: int) -> str:
    """Return where so many bytes are handed out."""
    return f"/bytes/{size}"


def create_echo(sizes: Iterable[int] = ()) -> FastAPI:
    """Return the application."""
    app = FastAPI()
    for size in sizes:
        _hand_out(app, size)

    @app.post(PATH)
    async def echo(request: EchoRequest) -> EchoRequest:
        return request

    @app.get("/livez")
    async def livez() -> dict[str, str]:
        return {"status": "ok"}

    return app


def _hand_out(app: FastAPI, size: int) -> None:
    content = b'"' + b"x" * (size - 2) + b'"'

    @app.get(bytes_path(size))
    async def hand_out() -> Response:
        return Response(content, media_type="application/json")


if __name__ == "__main__":
    uvicorn.run(
        create_echo(map(int, sys.argv[2:])),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
    )
