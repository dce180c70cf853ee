"""A server that hands the page out, and what a test asks of the page when it is open."""

from __future__ import annotations

import functools
import http.server
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from asking import array_of

import cxr_explain as cxr

DONE = """() => {
  const entries = Array.from(document.querySelectorAll('#files .said'), (e) => e.textContent);
  return entries.length && !entries.some((said) => ['waits', 'is computed'].includes(said));
}"""


def phantom_explainer(*, allow_phantom_weights: bool) -> cxr.Explainer:
    return cxr.Explainer.from_pretrained("phantom", device="cpu", allow_phantom_weights=allow_phantom_weights)


@dataclass
class Server:
    """A plain web server for one folder, and the paths that were asked of it."""

    folder: Path
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        asked = self.asked

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                asked.append(self.path)

        self._http = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(Handler, directory=str(self.folder))
        )
        self.address = f"http://127.0.0.1:{self._http.server_port}/"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


class Opened:
    """The page in the browser; what goes wrong in it is a problem."""

    def __init__(self, browser: Any, address: str, **context: Any) -> None:
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.context = browser.new_context(viewport={"width": 1280, "height": 900}, **context)
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.page.on("console", lambda message: self._note(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)
        self.page.wait_for_selector("#file:not([disabled])", state="attached")

    def _note(self, message: str) -> None:
        if "willReadFrequently" not in message:  # the tests read a canvas more often than the page does
            self.problems.append(message)

    def give(self, *files: tuple[str, bytes]) -> list[str]:
        """Choose files; gives what is said of each of them."""
        self.page.evaluate("document.getElementById('files').replaceChildren()")
        given = [{"name": name, "mimeType": "", "buffer": data} for name, data in files]
        self.page.set_input_files("#file", given)
        for _ in range(900):
            if self.page.evaluate(DONE):
                break
            self.page.wait_for_timeout(20)
        else:
            raise AssertionError("never done")
        return [each.inner_text() for each in self.page.query_selector_all("#files .said")]

    def explained(self, name: str, data: bytes) -> dict[str, Any]:
        """What the page computed for one file, which it takes."""
        (said,) = self.give((name, data))
        assert "refused" not in (self.page.get_attribute("#files li", "class") or ""), said
        asked = "CXR.app.explained"
        words = self.page.evaluate(
            f"""(() => {{ const {{ radiograph, prepared, found }} = {asked}; return {{
              size: [radiograph.height, radiograph.width], steps: radiograph.steps,
              warnings: [...radiograph.warnings], phantom: radiograph.phantom, view: radiograph.view,
              prepared: prepared.steps, ranked: found.ranked }}; }})()"""
        )
        arrays = {
            name: array_of(self.page, f"{asked}.{where}", kind)
            for name, where, kind in (
                ("pixels", "radiograph.pixels", "f4"),
                ("display", "radiograph.display", "u1"),
                ("input", "prepared.input", "f4"),
                ("probabilities", "found.probabilities", "f8"),
                ("maps", "found.maps", "f4"),
                ("class_maps", "found.classMaps", "f4"),
            )
        }
        return {**words, **arrays, "said": said}


def as_levels(values: np.ndarray) -> np.ndarray:
    """Grey levels of 255 from values of [-1024, 1024]."""
    return (np.asarray(values, np.float64) + 1024) * 255 / 2048
