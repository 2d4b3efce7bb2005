"""Pages from Jinja2 templates; every value is escaped, unless a macro of a template made it."""

import hashlib
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from asu import __version__

PACKAGE = "asu"


def render(template: str, **values: object) -> str:
    """Return a page; raises UndefinedError for a name that has no value."""
    return _environment().get_template(template).render(values)


@cache
def asset(name: str) -> str:
    """Return the URL of a static file; it changes with the content, so browsers may keep it."""
    digest = hashlib.sha256(files(PACKAGE).joinpath("static", name).read_bytes()).hexdigest()
    return f"/static/{name}?v={digest[:12]}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(PACKAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        auto_reload=False,
    )
    environment.globals |= {"asset": asset, "version": __version__}
    environment.filters |= {
        "day": lambda label: label.rstrip("Z"),
        "duration": duration,
        "hour": lambda time: time.replace("T", " ")[:16],
        "number": lambda value: f"{value:,}",
        "percent": lambda ratio: f"{ratio:.0%}",
    }
    return environment


def duration(seconds: float) -> str:
    """Return a duration in words."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
