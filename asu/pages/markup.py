"""HTML of our own making: templates are filled by the standard library, and what is not HTML already is escaped.

Two pages do not repay a template engine, which would be the API's largest module; all that it would
do here is escaping, and that is one line.
"""

import hashlib
import html
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from string import Template

PACKAGE = "asu"


class Html(str):
    """Text that is HTML already and goes into a page as it is."""

    __slots__ = ()


def element(name: str, content: str | int = "", **attributes: str | int) -> Html:
    """Return an element; a trailing underscore of an attribute's name falls away, and the others become hyphens."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
    )
    return Html(f"<{name}{written}>{escaped(content)}</{name}>")


def joined(parts: Iterable[str]) -> Html:
    """Return the parts, one after the other."""
    return Html("\n".join(escaped(part) for part in parts))


def fill(template: str, **values: str | int) -> Html:
    """Return a template with its `$names` filled in; raises KeyError for one that has no value."""
    return Html(
        _template(template).substitute({name: escaped(value) for name, value in values.items()})
    )


def escaped(value: str | int) -> Html:
    """Return a value as HTML."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


@cache
def asset(name: str) -> str:
    """Return the address of a static file; it changes with the content, so that browsers may keep what they have."""
    digest = hashlib.sha256(files(PACKAGE).joinpath("static", name).read_bytes()).hexdigest()
    return f"/static/{name}?v={digest[:12]}"


@cache
def _template(name: str) -> Template:
    return Template(files(PACKAGE).joinpath("templates", name).read_text(encoding="utf-8"))
