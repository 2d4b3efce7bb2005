"""The pages that show the API's description, as FastAPI makes them, with a policy that allows what they name and nothing else."""

import base64
import hashlib
import re
from collections.abc import Mapping

from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html

_INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_LOADED = re.compile(r'(?:src|href)="(https://[^/"]+)/')


def swagger_page(title: str) -> str:
    """Return the page in which the API can be tried."""
    return bytes(get_swagger_ui_html(openapi_url="/openapi.json", title=title).body).decode()


def redoc_page(title: str) -> str:
    """Return the page in which it is read; without fonts from yet another place."""
    return bytes(get_redoc_html(openapi_url="/openapi.json", title=title, with_google_fonts=False).body).decode()


def policy_of(page: str) -> Mapping[str, str]:
    """Return the headers for such a page: its one script within is allowed by its hash, and the others by where they come from.

    Both programs write styles into the page while they run, and the second works in the background from a blob; neither sends a form, and no other
    page may frame them.
    """
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in _INLINE_SCRIPT.findall(page)]
    origins = " ".join(sorted(set(_LOADED.findall(page))))
    scripts = " ".join([origins, *(f"'sha256-{each}'" for each in hashes)])
    return {
        "Content-Security-Policy": f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline' {origins}; img-src data: https:; "
        "font-src data:; connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
