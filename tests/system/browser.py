"""A real browser, driven by the WebDriver protocol: Chromium as the distribution ships it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.request
from base64 import b64decode
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CAN_BROWSE = "CI" in os.environ or bool(shutil.which("chromedriver"))
PATIENCE = 60.0  # Seconds for anything that a page is waited for.
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # The protocol's name for a reference.
TAB, ENTER, SPACE = "\ue004", "\ue007", " "
SERIOUS = {"serious", "critical"}


@dataclass(frozen=True, slots=True)
class Browser:
    """One window; `url` is that of its session at the driver."""

    url: str

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Send a command and return its value."""
        data = json.dumps(body or {}).encode() if method == "POST" else None
        request = urllib.request.Request(f"{self.url}{path}", data=data, method=method)  # noqa: S310
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as answer:
            return json.loads(answer.read())["value"]

    def open(self, url: str) -> None:
        """Open a page."""
        self.ask("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: object) -> Any:
        """Run the body of a function in the page and return its value."""
        return self.ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def find(self, css: str) -> str:
        """Return a reference to the first element, once there is one."""
        wanted = {"using": "css selector", "value": css}
        self.wait(lambda: self.ask("POST", "/elements", wanted), css)
        return str(self.ask("POST", "/element", wanted)[ELEMENT])

    def click(self, css: str) -> None:
        """Click the first element."""
        self.ask("POST", f"/element/{self.find(css)}/click")

    def write(self, css: str, text: str) -> None:
        """Type into the first element."""
        self.ask("POST", f"/element/{self.find(css)}/value", {"text": text})

    def press(self, keys: str) -> None:
        """Press keys, wherever the focus is."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.ask("POST", "/actions", {"actions": [{"type": "key", "id": "k", "actions": actions}]})

    def tab_to(self, css: str) -> None:
        """Press the tabulator until an element has the focus."""
        for _ in range(100):
            if self.run("return document.activeElement.matches(arguments[0])", css):
                return
            self.press(TAB)
        raise AssertionError(f"the keyboard does not reach {css}")

    def text(self, css: str = "main") -> str:
        """Return the visible text of an element, empty while it is not there."""
        script = "const e = document.querySelector(arguments[0]); return e ? e.innerText : ''"
        return str(self.run(script, css))

    def wait_for(self, words: str, css: str = "main") -> None:
        """Wait until an element shows these words."""
        self.wait(lambda: words in self.text(css), words)

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Wait until a condition holds."""
        give_up = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > give_up:
                raise AssertionError(f"waited in vain for {what!r}; the page says: {self.text()}")
            time.sleep(0.1)

    def resize(self, width: int, height: int) -> None:
        """Give the page this size."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.devtools("Emulation.setDeviceMetricsOverride", size)

    def devtools(self, command: str, parameters: object) -> None:
        """Send a command of Chromium's own."""
        self.ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def is_too_wide(self) -> bool:
        """Whether the page must be scrolled sideways."""
        return bool(self.run("return document.documentElement.scrollWidth > innerWidth"))

    def barriers(self) -> list[str]:
        """Return what axe finds serious in the page, in light and in dark."""
        axe = files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
        found = []
        for scheme in ("light", "dark"):
            features = [{"name": "prefers-color-scheme", "value": scheme}]
            self.devtools("Emulation.setEmulatedMedia", {"features": features})
            self.run(axe)
            script = "const end = arguments[0]; axe.run().then((r) => end(r.violations));"
            violations = self.ask("POST", "/execute/async", {"script": script, "args": []})
            found += [
                f"{scheme}: {each['id']}: {each['nodes'][0]['html']}"
                for each in violations
                if each["impact"] in SERIOUS
            ]
        return found

    def picture(self, path: Path) -> None:
        """Write what is seen as PNG."""
        path.write_bytes(b64decode(self.ask("GET", "/screenshot")))


@contextmanager
def opened_browser(
    downloads: Path, *, script: bool = True, language: str = "en"
) -> Iterator[Browser]:
    """Open a browser whose downloads go to a directory, until the end of the `with`."""
    driver = subprocess.Popen(
        ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert driver.stdout
        port = next(
            line.rsplit(" ", 1)[1].strip(" .\n")
            for line in driver.stdout
            if "started successfully on port" in line
        )
        preferences: dict[str, object] = {
            "download.default_directory": str(downloads),
            "intl.accept_languages": language,
        }
        if not script:
            preferences["profile.managed_default_content_settings.javascript"] = 2
        options = {
            # Root has no sandbox to run it in; the pages are our own.
            "args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage"],
            "prefs": preferences,
        }
        wanted = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}
        root = Browser(f"http://127.0.0.1:{port}/session")
        session = root.ask("POST", "", {"capabilities": wanted})["sessionId"]
        browser = Browser(f"http://127.0.0.1:{port}/session/{session}")
        try:
            yield browser
        finally:
            browser.ask("DELETE", "")
    finally:
        driver.terminate()
        driver.communicate(timeout=10)
