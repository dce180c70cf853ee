"""Masks that a manifest points to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxr_explain.errors import CxrExplainError, ManifestError, ReferenceLabelError
from cxr_explain.reference import Entry, MaskReference
from cxr_explain.reference.chexlocalize import OutlineSet, write_segmentations

MASK = np.zeros((40, 50), bool)
MASK[10:20, 15:30] = True


def entry(kind: str, path: str) -> Entry:
    return Entry("p1", "p1.png", masks={"Effusion": MaskReference(kind, path)})


def test_an_image_is_the_finding_where_it_is_not_zero(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    Image.fromarray(MASK.astype(np.uint8)).save(tmp_path / "m" / "a.png")
    mask = entry("png", "m/a.png").mask_in("Pleural Effusion", MASK.shape, tmp_path)
    assert mask.dtype == bool
    assert np.array_equal(mask, MASK)


def test_chexlocalizes_json(tmp_path: Path) -> None:
    write_segmentations(tmp_path / "s.json", OutlineSet.of_masks({"p1": {"Effusion": MASK}}))
    found = entry("chexlocalize-segmentation", "s.json")
    assert np.array_equal(found.mask_in("Effusion", MASK.shape, tmp_path), MASK)
    square = [[[15, 10], [29, 10], [29, 19], [15, 19]]]
    text = f'{{"p1": {{"img_size": [40, 50], "Pleural Effusion": {square}}}}}'
    (tmp_path / "a.json").write_text(text)
    assert np.array_equal(
        entry("chexlocalize-annotation", "a.json").mask_in("Effusion", MASK.shape, tmp_path), MASK
    )


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    found = entry("chexlocalize-segmentation", "s.json")
    for mask in (MASK, ~MASK):
        write_segmentations(tmp_path / "s.json", OutlineSet.of_masks({"p1": {"Effusion": mask}}))
        assert np.array_equal(found.mask_in("Effusion", MASK.shape, tmp_path), mask)


def test_masks_of_another_size_are_refused(tmp_path: Path) -> None:
    Image.fromarray(MASK.astype(np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(ReferenceLabelError, match="a mask of 50 x 40 pixels for an image of 40 x 50 pixels"):
        entry("png", "a.png").mask_in("Effusion", (50, 40), tmp_path)


def test_a_mask_stays_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(MASK.astype(np.uint8)).save(tmp_path / "secret.png")
    (tmp_path / "in" / "a.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(ManifestError, match="leaves its folder"):
        entry("png", "a.png").mask_in("Effusion", MASK.shape, tmp_path / "in")
    with pytest.raises(ManifestError, match=r"a part '\.\.'"):
        MaskReference("png", "../secret.png")
    with pytest.raises(ManifestError, match="the mask kind 'svg'"):
        MaskReference("svg", "a.svg")  # type: ignore[arg-type]


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ReferenceLabelError, match="p1: found no mask of 'Mass'; expected one of Effusion"):
        entry("png", "a.png").mask_in("Mass", MASK.shape, tmp_path)
    with pytest.raises(CxrExplainError, match="no such file"):
        entry("png", "a.png").mask_in("Effusion", MASK.shape, tmp_path)
    with pytest.raises(ReferenceLabelError, match="no readable file"):
        entry("chexlocalize-annotation", "a.json").mask_in("Effusion", MASK.shape, tmp_path)
    (tmp_path / "a.json").write_text('{"other": {"img_size": [40, 50]}}')
    with pytest.raises(ReferenceLabelError, match="no radiograph 'p1'"):
        entry("chexlocalize-annotation", "a.json").mask_in("Effusion", MASK.shape, tmp_path)
