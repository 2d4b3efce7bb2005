"""The page in which the API can be read and tried: Swagger UI, from an installed package.

The files come from our own origin, so the page works without internet. None of the package's Python
is run, and nothing is read before somebody opens the page.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import cache

from fastapi.openapi.docs import get_swagger_ui_html
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

PATH = "/static/swagger-ui"
_NOT_FOUND = 404
_INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


class SwaggerFiles(StaticFiles):
    """The page's files; always sent whole, and a browser asks again before it uses a copy."""

    def __init__(self) -> None:
        super().__init__(packages=[("fastapi_swagger", "resources")])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer without looking at a range."""
        await super().__call__(
            {**scope, "headers": [header for header in scope["headers"] if header[0] != b"range"]},
            receive,
            send,
        )

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer with a file for browsers; the package's own are not for them."""
        if not path.endswith((".js", ".css", ".png")):
            raise HTTPException(_NOT_FOUND)
        response = await super().get_response(path, scope)
        response.headers.update({"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"})
        return response


@cache
def swagger_page(title: str) -> str:
    """Return the page."""
    page = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title=title,
        swagger_js_url=f"{PATH}/swagger-ui-bundle.js",
        swagger_css_url=f"{PATH}/swagger-ui.css",
        swagger_favicon_url=f"{PATH}/favicon-32x32.png",
        # Without this, a foreign server would fetch our description.
        swagger_ui_parameters={"validatorUrl": None},
    )
    return bytes(page.body).decode()


def policy_of(page: str) -> Mapping[str, str]:
    """Return the headers for the page, which may load files of our own origin alone.

    Its inline script is allowed by its hash. Swagger UI writes styles into the page and has its
    pictures in its style sheet.
    """
    hashes = [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        for script in _INLINE_SCRIPT.findall(page)
    ]
    scripts = " ".join(["'self'", *(f"'sha256-{each}'" for each in hashes)])
    return {
        "Content-Security-Policy": f"default-src 'none'; script-src {scripts}; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
