"""Phantoms: the same seed gives the same bytes, and a counterfactual differs where its finding was."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from cxr_explain.errors import OptionError
from cxr_explain.phantom import (
    FINDINGS,
    Finding,
    Patient,
    Phantom,
    Projection,
    Side,
    render,
    sample_findings,
    sample_patient,
    to_radiograph,
)
from cxr_explain.phantom.beam import BLUR_RADIUS

SIZE = 128
AREAS = {
    "Atelectasis": (0.002, 0.25),
    "Cardiomegaly": (0.01, 0.3),
    "Consolidation": (0.01, 0.3),
    "Edema": (0.08, 0.5),
    "Effusion": (0.002, 0.35),
    "Emphysema": (0.1, 0.55),
    "Hernia": (0.002, 0.1),
    "Mass": (0.003, 0.1),
    "Nodule": (0.0001, 0.03),
    "Pneumothorax": (0.02, 0.35),
}
"""Least and greatest share of the image that a finding's mask may take."""


def several(pathology: str, n: int = 4) -> list[Phantom]:
    """Phantoms with one finding each, of different size, side and projection."""
    drawn = []
    for seed in range(n):
        projection = list(Projection)[seed % 2]
        finding = Finding(pathology, seed, side=list(Side)[seed // 2 % 2], size=seed / (n - 1), contrast=0.5)
        patient = Patient(seed=40 + seed, projection=projection, rotation=2.0 * seed - 3)
        drawn.append(render(patient, (finding,), size=SIZE))
    return drawn


def digest(phantom: Phantom) -> str:
    masks = b"".join(phantom.masks[name].tobytes() for name in phantom.pathologies)
    return hashlib.sha256(phantom.pixels.tobytes() + masks).hexdigest()


def test_the_same_seed_gives_the_same_bytes_in_another_process() -> None:
    every = dict.fromkeys(FINDINGS, 1.0)
    here = digest(render(sample_patient(11), sample_findings(11, prevalence=every), size=64))
    code = (
        "import hashlib; from cxr_explain.phantom import *\n"
        "findings = sample_findings(11, prevalence=dict.fromkeys(FINDINGS, 1.0))\n"
        "p = render(sample_patient(11), findings, size=64)\n"
        "masks = b''.join(p.masks[n].tobytes() for n in p.pathologies)\n"
        "print(hashlib.sha256(p.pixels.tobytes() + masks).hexdigest())"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here


def test_two_seeds_give_two_patients() -> None:
    one, other = (render(sample_patient(seed), (), size=64).pixels.astype(float) for seed in (1, 2))
    assert np.abs(one - other).mean() > 50


@pytest.mark.parametrize("pathology", FINDINGS)
def test_a_counterfactual_differs_only_inside_the_dilated_mask(pathology: str) -> None:
    others = tuple(Finding(name, 9) for name in ("Nodule", "Effusion") if name != pathology)
    patient = sample_patient(21)
    findings = (Finding(pathology, 3, side=Side.LEFT), *others)
    whole = render(patient, findings, size=SIZE)
    without = render(patient, findings, size=SIZE, without=pathology)
    near = binary_dilation(whole.masks[pathology], np.ones((3, 3), bool), iterations=BLUR_RADIUS)
    changed = whole.pixels != without.pixels
    assert not (changed & ~near).any()
    assert changed[whole.masks[pathology]].mean() > 0.5
    assert without.removed == (pathology,)
    assert pathology not in without.masks
    np.testing.assert_array_equal(without.pixels, render(patient, others, size=SIZE).pixels)


@pytest.mark.parametrize("pathology", FINDINGS)
def test_masks_are_neither_empty_nor_everywhere(pathology: str) -> None:
    for phantom in several(pathology):
        low, high = AREAS[pathology]
        assert low < phantom.masks[pathology].mean() < high, phantom.findings


@pytest.mark.parametrize(
    "pathology", ["Consolidation", "Effusion", "Mass", "Nodule", "Pneumothorax", "Atelectasis"]
)
def test_the_patients_left_is_on_the_right_of_the_image(pathology: str) -> None:
    for phantom in several(pathology):
        columns = np.nonzero(phantom.masks[pathology])[1]
        share_on_the_right = (columns > SIZE / 2).mean()
        left = phantom.findings[0].side is Side.LEFT
        assert share_on_the_right > 0.85 if left else share_on_the_right < 0.15


@pytest.mark.parametrize(
    ("pathology", "brighter"),
    [("Consolidation", True), ("Edema", True), ("Pneumothorax", False), ("Emphysema", False)],
)
def test_fluid_is_brighter_and_air_is_darker(pathology: str, brighter: bool) -> None:
    for phantom in several(pathology):
        healthy = render(phantom.patient, phantom.findings, size=SIZE, without=pathology)
        difference = phantom.pixels.astype(float) - healthy.pixels
        assert (difference[phantom.masks[pathology]].mean() > 0) == brighter


def test_a_larger_finding_has_a_larger_mask() -> None:
    for pathology in FINDINGS:
        small, large = (
            render(Patient(seed=8), (Finding(pathology, 4, size=size),), size=SIZE).masks[pathology].sum()
            for size in (0.1, 0.9)
        )
        assert small <= large, pathology


def test_boxes_cover_the_masks_and_touch_them() -> None:
    phantom = render(sample_patient(6), (Finding("Mass", 1), Finding("Hernia", 1)), size=SIZE)
    assert [box.pathology for box in phantom.boxes] == ["Hernia", "Mass"]
    for box in phantom.boxes:
        rows = slice(int(box.y), int(box.y + box.height))
        columns = slice(int(box.x), int(box.x + box.width))
        mask = phantom.masks[box.pathology]
        assert mask[rows, columns].sum() == mask.sum()
        assert mask[rows, columns].any(axis=0).all() or box.pathology == "Nodule"


def test_each_of_several_nodules_has_its_box() -> None:
    nodules = Finding("Nodule", seed=3, side=Side.LEFT, size=0.7, contrast=0.9, count=3)
    phantom = render(Patient(seed=4), (nodules,), size=SIZE)
    assert [box.pathology for box in phantom.boxes] == ["Nodule"] * 3
    inside = np.zeros_like(phantom.masks["Nodule"])
    for box in phantom.boxes:
        place = np.s_[int(box.y) : int(box.y + box.height), int(box.x) : int(box.x + box.width)]
        assert not inside[place].any()
        inside[place] = True
    assert not (phantom.masks["Nodule"] & ~inside).any()


def test_removing_everything_gives_the_healthy_chest() -> None:
    findings = sample_findings(3, prevalence=dict.fromkeys(FINDINGS, 1.0))
    bare = render(sample_patient(3), findings, size=64, without=FINDINGS)
    np.testing.assert_array_equal(bare.pixels, render(sample_patient(3), (), size=64).pixels)
    assert bare.boxes == ()


def test_sizes_show_the_same_chest() -> None:
    patient = Patient(seed=4, exposure=1e9)
    large = render(patient, (Finding("Mass", 2),), size=512)
    coarse = large.pixels.reshape(64, 8, 64, 8).mean(axis=(1, 3))
    small = render(patient, (Finding("Mass", 2),), size=64)
    assert np.corrcoef(coarse.ravel(), small.pixels.ravel())[0, 1] > 0.99
    assert small.masks["Mass"].mean() == pytest.approx(large.masks["Mass"].mean(), rel=0.15)
    assert small.pixel_spacing == 8 * large.pixel_spacing


@pytest.mark.parametrize("bits", [12, 14, 16])
def test_bit_depths_use_their_range(bits: int) -> None:
    pixels = render(sample_patient(1), (), size=64, bits=bits).pixels
    assert pixels.dtype == np.uint16
    assert 0.8 * 2**bits < pixels.max() < 2**bits


def test_a_phantom_is_read_only_and_says_what_it_is() -> None:
    phantom = render(sample_patient(12), (Finding("Edema"),), size=64)
    with pytest.raises(ValueError, match="read-only"):
        phantom.pixels[0, 0] = 0
    radiograph = to_radiograph(phantom)
    assert radiograph.id == "phantom-000012"
    assert "phantom" in radiograph.warnings[0]
    assert radiograph.view == phantom.patient.projection
    assert -1024 <= radiograph.pixels.min() < radiograph.pixels.max() <= 1024
    healthy = render(phantom.patient, phantom.findings, size=64, without="Edema")
    assert to_radiograph(healthy).id == "phantom-000012-without-edema"


@pytest.mark.parametrize(
    "arguments", [{"size": 16}, {"size": 5000}, {"bits": 17}, {"bits": 4}, {"without": "Gout"}]
)
def test_what_cannot_be_rendered_is_refused(arguments: dict) -> None:
    with pytest.raises(OptionError, match="expected"):
        render(Patient(seed=1), (), **arguments)
