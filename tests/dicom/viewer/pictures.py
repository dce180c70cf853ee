"""Makes the pictures of docs/how_to/pacs.md anew: a phantom's objects in the OHIF viewer.

::

    CXR_EXPLAIN_OHIF=viewer PYTHONPATH=tests python tests/dicom/viewer/pictures.py
"""

from __future__ import annotations

import io
import tempfile
import time
from pathlib import Path

from dicom_sources import explained
from ohif import Pixels, Viewer, viewer
from PIL import Image
from viewport_pixels import colourfulness
from workstation import SETTINGS, missing, workstation

from cxr_explain.dicom.objects import dicom_objects
from cxr_explain.phantom import render, sample_patient
from cxr_explain.phantom.dicom import to_dicom

PATIENT, SIZE, K = 10_000_189, 512, 2
WIDTH, HEIGHT = 1180, 640


def main() -> None:
    """Write the pictures beside the settings that the page shows."""
    if missing():
        raise SystemExit(missing())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = to_dicom(render(sample_patient(PATIENT), size=SIZE))
        explanation, file = explained(folder, data, top_k=K)
        made = dicom_objects(explanation, file, kinds=("figure", "overlay", "report", "segmentation"))
        with workstation(folder) as server, viewer(WIDTH, HEIGHT) as shown:
            server.store([data, *(each.to_bytes() for each in made)])
            shown.open(server, str(made["report"].dataset.StudyInstanceUID))
            shown.show("FM-G-CAM figures", _has_colour)
            _save(shown, "capture")
            shown.show("FM-G-CAM regions", _has_colour, asks=True)
            _save(shown, "segmentation")
            shown.show("FM-G-CAM report", lambda _: bool(shown.labels()))
            _save(shown, "report")


def _has_colour(shot: Pixels) -> bool:
    return bool((colourfulness(shot) > 40).sum() > 500)


def _save(shown: Viewer, name: str) -> None:
    time.sleep(1)  # what moves in comes to rest
    path = SETTINGS / f"{name}.jpg"
    with Image.open(io.BytesIO(shown.page.screenshot())) as image:
        image.convert("RGB").save(path, quality=85, subsampling=0, optimize=True)  # colours as they are
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
