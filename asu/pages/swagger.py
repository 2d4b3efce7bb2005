"""The page in which the API can be read and tried: Swagger UI, from files that an installed package brings.

They are sent from our own origin, so that the page works without internet, and no network of others
decides what runs in it. None of the package's Python is run, nor is anything read before somebody
opens the page.
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
    """Return the page; its files are named with the package's version, so that browsers may keep what they have."""
    page = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title=title,
        swagger_js_url=f"{PATH}/swagger-ui-bundle.js?v={version('fastapi-swagger')}",
        swagger_css_url=f"{PATH}/swagger-ui.css?v={version('fastapi-swagger')}",
        swagger_favicon_url=asset("favicon.svg"),
        # It would have a server of others fetch our description.
        swagger_ui_parameters={"validatorUrl": None},
    )
    return bytes(page.body).decode()


def policy_of(page: str) -> Mapping[str, str]:
    """Return the headers for such a page: its one script within is allowed by its hash, all else comes from our own origin.

    The program writes styles into the page while it runs and has its pictures within its style
    sheet; it sends no form, and no other page may frame it.
    """
    hashes = [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        for script in _INLINE_SCRIPT.findall(page)
    ]
    scripts = " ".join(["'self'", *(f"'sha256-{each}'" for each in hashes)])
    return {
        "Content-Security-Policy": f"default-src 'none'; script-src {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
