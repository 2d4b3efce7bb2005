"""The yardstick: the least that a FastAPI service does with a build request. It parses the request by a pydantic model and returns it.

    python -m misc.bench.echo PORT

It runs in the same server as both services do (uvicorn with uvloop and httptools, no access log), so that only the applications differ.
"""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI
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


def create_echo() -> FastAPI:
    """Return the application."""
    app = FastAPI()

    @app.post(PATH)
    async def echo(request: EchoRequest) -> EchoRequest:
        return request

    @app.get("/livez")
    async def livez() -> dict[str, str]:
        return {"status": "ok"}

    return app


if __name__ == "__main__":
    uvicorn.run(
        create_echo(),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
    )
