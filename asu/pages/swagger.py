"""The page to read and try the API: Swagger UI, from files of an installed package.

The package's Python is never imported (docs/decisions/0026).
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version

from fastapi.openapi.docs import get_swagger_ui_html

from .templating import asset

PATH = "/static/swagger-ui"
FILES = ("fastapi_swagger", "resources")  # The package, and its directory of files.
_INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


@cache
def swagger_page(title: str) -> str:
    """Return the page; its files' URLs name the package's version, so browsers may keep them."""
    page = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title=title,
        swagger_js_url=f"{PATH}/swagger-ui-bundle.js?v={version('fastapi-swagger')}",
        swagger_css_url=f"{PATH}/swagger-ui.css?v={version('fastapi-swagger')}",
        swagger_favicon_url=asset("favicon.svg"),
        # The validator is a server of others that would fetch our description.
        swagger_ui_parameters={"validatorUrl": None},
    )
    back = '<nav><a href="/">To the first page</a></nav>'
    return (
        bytes(page.body).decode().replace('<div id="swagger-ui">', f'{back}<div id="swagger-ui">')
    )


def policy_of(page: str) -> Mapping[str, str]:
    """Return the headers of the page: its inline script is allowed by its hash, files by origin."""
    hashes = [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        for script in _INLINE_SCRIPT.findall(page)
    ]
    scripts = " ".join(["'self'", *(f"'sha256-{each}'" for each in hashes)])
    return {
        "Content-Security-Policy": f"default-src 'none'; script-src {scripts}; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
