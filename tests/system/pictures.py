"""Makes the pictures of README.md: `make up`, then `python -m tests.system.pictures`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.system.browser import ENTER, opened_browser

PICTURES = Path(__file__).resolve().parents[2] / "docs" / "pictures"


def main(home: str) -> None:
    """Upgrade a device in a browser, and take a picture of the preview and of the build."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place, opened_browser(Path(place)) as browser:
        browser.resize(900, 620)
        browser.open(f"{home}/upgrade")
        browser.write("input[name=q]", f"home hub 5a{ENTER}")
        browser.click("a[href*=profile]")
        browser.write("[name=packages]", "luci auc")
        browser.write("[name=from_version]", "23.05.5")
        browser.click("button[data-focus=preview]")
        browser.wait_for("What changes")
        browser.run("document.getElementById('preview').scrollIntoView()")
        browser.picture(PICTURES / "preview.png")
        browser.click("button[data-focus=build]")
        browser.wait_for("being built")
        browser.run("document.getElementById('output').open = true")
        browser.wait(lambda: browser.text("#log"), "a line of the log")
        browser.picture(PICTURES / "build.png")
        browser.wait_for("Your image is ready")


if __name__ == "__main__":
    main(sys.argv[1] if sys.argv[1:] else "http://127.0.0.1:8080")
