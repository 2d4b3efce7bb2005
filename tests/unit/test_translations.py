"""The pages in other languages: whole, safe, and chosen by the browser."""

import re
from importlib.resources import files
from typing import Any

import pytest
from jinja2 import Environment

from asu.errors import UserError
from asu.pages import build_page, templating, upgrade_page
from asu.pages.templating import render
from asu.pages.translations import catalogue, languages, wanted_language
from asu.pages.upgrade_form import COUNTED, UpgradeForm
from asu.resolution import load_rules
from tests.unit.worlds import REQUEST, opened

MARKS = re.compile(r"%\(\w+\)s|</?\w+[^>]*>")


def texts_of_pages() -> set[str]:
    """Return all texts of the templates that can be translated, and those that Python gives."""
    environment = Environment(extensions=["jinja2.ext.i18n"], autoescape=True)
    environment.policies["ext.i18n.trimmed"] = True
    extract: Any = vars(environment)["extract_translations"]  # The extension puts it there.
    found = {
        message
        for path in files("asu").joinpath("templates").iterdir()
        for _, _, message in extract(path.read_text(encoding="utf-8"))
        if isinstance(message, str)
    }
    found |= {name for _, name, _ in build_page.STEPS} | set(build_page.ADVICE.values())
    found |= {title for _, title in upgrade_page.ACTIONS} | set(templating.CAUSES.values())
    return found | {word for _, *words in COUNTED for word in words} | {"done", "failed", "lost"}


@pytest.mark.parametrize("language", languages()[1:])
def test_a_catalogue_is_whole(language: str) -> None:
    """Each text has a translation with the same marks; all else are reasons of rules."""
    translated = catalogue(language)
    reasons = {rule.reason for rule in load_rules().rules}

    assert texts_of_pages() - translated.keys() == set()
    assert translated.keys() - texts_of_pages() - reasons == set()
    for text, other in translated.items():
        assert sorted(MARKS.findall(text)) == sorted(MARKS.findall(other)), text


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("en;q=0.5, de;q=0.4", "en"),
        ("fr, de;q=0.1", "de"),
        ("xx;q=abc,../../etc;q=1,de;q=...", "en"),
        (f"{'a' * 5000},de", "de"),
    ],
)
def test_the_browser_chooses(header: str, language: str) -> None:
    """By weight; what is no language counts for nothing."""
    assert wanted_language(header) == language


def test_a_page_in_german() -> None:
    """The page says its language; what was typed is escaped as in English."""
    with opened() as world:
        german = {"Accept-Language": "de", "Accept": "text/html"}
        form = world.client.get("/upgrade", headers=german)
        key = world.key(REQUEST)
        world.fail(key, UserError())
        failed = world.client.get(f"/build/{key}", headers=german).text
        missing = world.client.get("/build/0", headers=german).text

    assert '<html lang="de">' in form.text
    assert "Ein Gerät aktualisieren" in form.text
    assert "Dieser Bau ist fehlgeschlagen" in failed
    assert "Zur ersten Seite" in missing
    assert form.headers["vary"] == "Accept-Language"


def test_a_text_without_a_translation_is_escaped() -> None:
    """Whatever the language: it may come from a package or a person."""
    problem = {"package": "<i>", "detail": "<b>%(x)s</b>", "suggestion": "<u>"}
    values = {"counts": [], "groups": [], "refused": ["<i>"], "problems": [problem]}
    values |= {"warnings": ["<b>"], "size": None, "steps": [], "total": 0, "diff": None}
    shown = values | {"is_ready": False, "jump": None}
    form = UpgradeForm(profile="<i>", target="x/y", packages=("<i>",))
    for language in languages():
        page = render(
            "upgrade.html",
            language,
            form=form,
            device_title="<i>",
            versions=["<i>"],
            trouble="<b>",
            preview=shown,
            words="",
            found=[],
            allow_defaults=True,
        )
        assert not re.search("<[biu]>", page)
