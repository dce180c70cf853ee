"""High-throughput JPEG 2000 in grey: encoded once by OpenJPH 0.26.3, since nothing here encodes it."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
from pydicom import uid
from radiograph_files import dataset, encapsulated, encode

from cxr_explain import read_radiograph
from cxr_explain.errors import CorruptImageError

CODESTREAM = base64.b64decode(
    "/0//UQApQAAAAAAUAAAAGAAAAAAAAAAAAAAAFAAAABgAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wA"
    "EyCIkJCQkJCQkJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAKkAAf+TwAAmCfQFB3QAwAATQAAS"
    "gM7wA4d0AKACh3QAwAATQAATAMnkAIt0AP9/AAI0AMAAFTAABVBJkvwAIjCCdgAGGmjgwEIB/rYAwAAV0AAFYEwyYcIkEybY"
    "L9fiC3cA/n6/3/QIRiEB7LgAwAAtaAAFqgQEBAQEBAQEBAQEBO/6enp6enGCegBwGIZhGIZh+P9QAj2EIHv2EIHsvQD/2Q=="
)


def stored_pixels() -> np.ndarray:
    """What was encoded."""
    y, x = np.mgrid[0:24, 0:20]
    return ((x * 131 + y * 57) % 4096).astype(np.uint16)


@pytest.mark.parametrize("syntax", [uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K])
def test_equal_to_the_uncompressed_image(syntax: uid.UID, tmp_path: Path) -> None:
    plain = dataset(stored_pixels(), 16, WindowCenter=2048, WindowWidth=4096)
    (tmp_path / "plain.dcm").write_bytes(encode(plain))
    packed = dataset(stored_pixels(), 16, WindowCenter=2048, WindowWidth=4096)
    (tmp_path / "packed.dcm").write_bytes(encapsulated(packed, syntax, CODESTREAM))
    one, two = (read_radiograph(tmp_path / name) for name in ("plain.dcm", "packed.dcm"))
    np.testing.assert_array_equal(one.pixels, two.pixels)
    assert one.warnings == two.warnings
    assert any("High-Throughput" in step or "HTJ2K" in step for step in two.steps)


def test_a_cut_codestream_is_corrupt(tmp_path: Path) -> None:
    cut = encapsulated(dataset(stored_pixels(), 16), uid.HTJ2KLossless, CODESTREAM[:150])
    (tmp_path / "cut.dcm").write_bytes(cut)
    with pytest.raises(CorruptImageError):
        read_radiograph(tmp_path / "cut.dcm")
