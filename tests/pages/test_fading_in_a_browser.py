"""An animated PNG as a browser shows it, whose frames lie over the first one."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asking import array_of

from cxr_explain import Explainer
from cxr_explain.phantom import render, sample_patient, to_radiograph

pytestmark = pytest.mark.browser

DECODED = """async ([text, kind, at]) => {
  const data = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const decoder = new ImageDecoder({ data, type: kind });
  await decoder.completed;
  const { image } = await decoder.decode({ frameIndex: at });
  const canvas = new OffscreenCanvas(image.displayWidth, image.displayHeight);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  globalThis.decoded = context.getImageData(0, 0, canvas.width, canvas.height).data;
  const { frameCount, repetitionCount } = decoder.tracks.selectedTrack;
  return [frameCount, repetitionCount === Infinity, canvas.width, canvas.height];
}"""


@pytest.mark.parametrize(("ending", "most"), [("png", 8), ("gif", 48)])
def test_the_first_frame_is_grey_and_the_middle_one_the_overlay(
    opened: Callable[..., Any], tmp_path: Path, ending: str, most: int
) -> None:
    explainer = Explainer.from_pretrained("phantom", device="cpu")
    explanation = explainer.explain(to_radiograph(render(sample_patient(42), size=256)), top_k=5)
    path = explanation.animation(tmp_path / f"fade.{ending}", key=False, notice=False)
    (tmp_path / "blank.html").write_text("<!doctype html><title>blank</title>")
    page = opened(tmp_path / "blank.html")
    text = base64.b64encode(path.read_bytes()).decode()

    def frame(at: int) -> tuple[int, np.ndarray]:
        count, forever, width, height = page.evaluate(DECODED, [text, f"image/{ending}", at])
        assert forever
        assert (width, height) == (256, 256)
        pixels = array_of(page, "globalThis.decoded", "u1").reshape(256, 256, 4)
        return count, pixels[..., :3].astype(int)

    count, first = frame(0)
    strongest, last = frame(count // 2)[1], frame(count - 1)[1]
    assert (first == first[..., :1]).all()
    assert np.abs(strongest - explanation.overlay().astype(int)).max() <= most
    assert np.abs(last - first).max() <= 16, "nothing of the strong frames stays"
