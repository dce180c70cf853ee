"""Reading leaves the process's warnings, logging and Pillow switches as they were, from any thread."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import warnings

import numpy as np
from PIL import ImageFile
from radiograph_files import dataset, encode, phantom

from cxr_explain.loaders import read_radiograph


def switches():
    return list(warnings.filters), list(logging.getLogger("pydicom").filters), ImageFile.LOAD_TRUNCATED_IMAGES


def test_threads_read_the_same_and_leave_nothing_behind(tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(encode(dataset(phantom())))
    expected = read_radiograph(path).pixels
    before = (
        list(warnings.filters),
        list(logging.getLogger("pydicom").filters),
        ImageFile.LOAD_TRUNCATED_IMAGES,
    )
    failures = []

    def read_often():
        pixels = (read_radiograph(path).pixels for _ in range(30))
        failures.extend("other pixels" for p in pixels if not np.array_equal(p, expected))

    threads = [threading.Thread(target=read_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = (
        list(warnings.filters),
        list(logging.getLogger("pydicom").filters),
        ImageFile.LOAD_TRUNCATED_IMAGES,
    )
    assert failures == []
    assert after == before


def test_importing_the_loaders_does_not_import_torch():
    code = "import sys, cxr_explain.loaders; print('torch' in sys.modules, 'torchxrayvision' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "False"]


def test_pydicoms_settings_come_back_when_the_last_of_several_threads_is_done(tmp_path, monkeypatch):
    from pydicom import config

    monkeypatch.setattr(config, "use_DS_numpy", True)
    path = tmp_path / "a.dcm"
    path.write_bytes(encode(dataset(phantom(), ImagerPixelSpacing=["0.2", "0.3"])))
    seen = []

    def read_often():
        seen.extend(read_radiograph(path).pixel_spacing for _ in range(20))

    threads = [threading.Thread(target=read_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [(0.2, 0.3)] * 80
    assert config.use_DS_numpy
