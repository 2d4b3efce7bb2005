"""Pages from Jinja2 templates; every value is escaped, unless a macro of a template made it."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import groupby
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from asu import __version__
from asu.operations.status import HourCounts

from .translations import ENGLISH, catalogue

PACKAGE = "asu"
KIB = 1024
TITLE = ("vendor", "model", "variant")
CAUSES = {"user": "the selection", "upstream": "OpenWrt's servers", "infra": "this server"}


def render(template: str, language: str = ENGLISH, /, **values: object) -> str:
    """Return a page in a language; raises UndefinedError for a name that has no value."""
    return _environment(language).get_template(template).render(values)


@cache
def asset(name: str) -> str:
    """Return the URL of a static file; it changes with the content, so browsers may keep it."""
    digest = hashlib.sha256(files(PACKAGE).joinpath("static", name).read_bytes()).hexdigest()
    return f"/static/{name}?v={digest[:12]}"


@cache
def _environment(language: str) -> Environment:
    environment = Environment(
        loader=PackageLoader(PACKAGE),
        extensions=["jinja2.ext.i18n"],
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        auto_reload=False,
    )
    environment.policies["ext.i18n.trimmed"] = True
    texts = catalogue(language)
    # Not the newer style of the extension, which would not escape a value that has no translation.
    environment.globals |= {
        "_": lambda text: texts.get(text, text),
        "gettext": lambda text: texts.get(text, text),
        "language": language,
        "asset": asset,
        "version": __version__,
    }
    environment.filters |= {
        "bytes": in_bytes,
        "cause": lambda fault: CAUSES.get(fault, "something unknown"),
        "day": lambda label: label.rstrip("Z"),
        "duration": duration,
        "folded": folded,
        "hour": lambda time: time.replace("T", " ")[:16],
        "number": lambda value: f"{value:,}",
        "percent": lambda ratio: f"{ratio:.0%}",
    }
    return environment


def folded(hours: Iterable[HourCounts]) -> Iterator[tuple[HourCounts, HourCounts | None]]:
    """Yield each hour and None; hours without a build as one: the newest and the oldest of them."""
    for is_quiet, group in groupby(hours, lambda hour: not hour.total):
        together = list(group)
        if is_quiet:
            yield together[0], together[-1]
        else:
            yield from ((hour, None) for hour in together)


def in_bytes(number: float) -> str:
    """Return a size in words."""
    for unit in ("bytes", "KiB", "MiB"):
        if abs(number) < KIB:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= KIB
    return f"{number:.1f} GiB"


def device_name(titles: Sequence[Mapping[str, Any]], profile: str) -> str:
    """Return the name under which a device is sold, or its profile."""
    for title in titles:
        words = [title.get("title")] if title.get("title") else map(title.get, TITLE)
        if name := " ".join(str(word) for word in words if word):
            return name
    return profile or "a device"


def duration(seconds: float) -> str:
    """Return a duration in words."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
