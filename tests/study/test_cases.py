"""Cases: who they belong to, what tells two of them apart, and phantoms that show something."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxr_explain import read_radiograph
from cxr_explain.errors import CxrExplainError
from cxr_explain.pathologies import ReferenceBox
from cxr_explain.phantom import render, sample_patient, to_radiograph
from cxr_explain.reference import read_references
from cxr_explain.study.cases import Case, file_cases, phantom_cases


def image(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (32, 32), np.uint8)).save(path)
    return path


def names(files: list[Path], masks: Path) -> list[str]:
    return [case.id for case in file_cases(files, read_references(masks=masks)) if isinstance(case, Case)]


def test_phantoms_are_those_in_turn_that_have_a_finding() -> None:
    expected, seed = [], 10_000_000
    while len(expected) < 4:
        if any(mask.any() for mask in render(sample_patient(seed), size=64).masks.values()):
            expected.append(seed)
        seed += 1
    found = list(phantom_cases(4, seed=10_000_000, size=64))
    assert [case.id for case in found] == [f"phantom-{seed}" for seed in expected]
    assert expected != list(range(10_000_000, 10_000_004))
    assert all(mask.any() for case in found for mask in case.masks.values())
    assert all(case.group == case.id and case.radiograph.phantom and not case.boxes for case in found)


def test_phantoms_come_with_their_counterfactuals_where_they_are_asked_for() -> None:
    cases = list(phantom_cases(9, seed=10_000_000, size=64, counterfactuals=True))
    assert [case.id for case in cases] == [f"phantom-{10_000_000 + at}" for at in range(9)]
    assert any(not case.masks for case in cases)
    case = next(case for case in cases if len(case.masks) > 1)
    plain = next(iter(phantom_cases(1, seed=int(case.id.split("-")[1]), size=64)))
    assert plain.digest == case.digest
    assert (plain.without, list(case.without)) == ({}, list(case.masks))
    whole = render(sample_patient(int(case.id.split("-")[1])), size=64)
    for name, radiograph in case.without.items():
        alone = render(whole.patient, whole.findings, size=64, without=name)
        assert radiograph.sha256 == to_radiograph(alone).sha256 != case.radiograph.sha256


def test_a_finding_that_others_hide_is_named() -> None:
    seed = next(
        seed
        for seed in range(10_000_160, 10_001_000)
        if any(not mask.any() for mask in render(sample_patient(seed), size=32).masks.values())
    )
    (case,) = phantom_cases(1, seed=seed, size=32, counterfactuals=True)
    masks = render(sample_patient(seed), size=32).masks
    assert {*case.hidden} == {name for name, mask in masks.items() if not mask.any()}
    assert {*case.masks} == {*masks} - {*case.hidden}


def test_chexperts_images_of_one_name_are_cases_of_their_own(tmp_path: Path) -> None:
    """All of its images are called view1_frontal or the like; rows are told apart by the case's name."""
    folders = ("patient00001/study1", "patient00001/study2", "patient00002/study1")
    files = [image(tmp_path / "train" / folder / "view1_frontal.png") for folder in folders]
    image(tmp_path / "masks" / "view1_frontal-edema.png")
    cases = list(file_cases(files, read_references(masks=tmp_path / "masks")))
    assert [case.id for case in cases if isinstance(case, Case)] == [
        "patient00001_study1_view1_frontal",
        "patient00001_study2_view1_frontal",
        "patient00002_study1_view1_frontal",
    ]
    assert [case.group for case in cases if isinstance(case, Case)] == [
        "patient00001",
        "patient00001",
        "patient00002",
    ]


def test_other_images_of_one_name_are_told_apart_by_their_content(tmp_path: Path) -> None:
    files = [image(tmp_path / folder / "a.png", seed) for seed, folder in enumerate(("x", "y", "z"))]
    image(tmp_path / "masks" / "a-mass.png")
    found = names(files, tmp_path / "masks")
    assert found[0] == "a"
    assert len(set(found)) == 3
    assert found == names(files, tmp_path / "masks")


def test_a_case_is_another_with_other_pixels_masks_or_boxes() -> None:
    case, other = phantom_cases(2, seed=10_000_000, size=64)
    name, mask = next(iter(case.masks.items()))
    changed = mask.copy()
    changed[0, 0] = not changed[0, 0]
    digests = {
        case.digest,
        other.digest,
        replace(case, masks={**case.masks, name: changed}).digest,
        replace(case, masks={"Hernia": mask}).digest,
        replace(case, masks={"Hernia": mask.T.reshape(32, 128)}).digest,
        replace(case, radiograph=other.radiograph).digest,
        replace(case, boxes=(ReferenceBox(name, 0.5, 0, 3, 3),)).digest,
    }
    assert len(digests) == 7
    turned = dict(reversed(list(case.masks.items())))
    assert replace(case, masks=turned).digest == case.digest
    assert next(iter(phantom_cases(1, seed=10_000_000, size=64))).digest == case.digest


def test_an_image_whose_masks_are_empty_is_no_case(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(tmp_path / "masks" / "a-mass.png")
    assert names([image(tmp_path / "a.png")], tmp_path / "masks") == []


def test_masks_on_disk_are_those_that_were_rendered(dataset: Path) -> None:
    files = sorted((dataset / "images").glob("*.png"))
    references = read_references(masks=dataset / "masks")
    found = [case for case in file_cases(files, references) if isinstance(case, Case)]
    assert found
    for case in found:
        phantom = render(sample_patient(int(case.id.removeprefix("phantom-"))), size=96)
        assert set(case.masks) == {name for name, mask in phantom.masks.items() if mask.any()}
        for name, mask in case.masks.items():
            assert np.array_equal(mask, phantom.masks[name])
        assert case.radiograph.phantom
        assert not case.boxes


def test_boxes_on_disk_hold_the_masks(dataset: Path) -> None:
    files = sorted((dataset / "images").glob("*.png"))
    boxes = read_references(boxes=dataset / "BBox_List_2017.csv")
    masks = read_references(masks=dataset / "masks")
    boxed = [case for case in file_cases(files, boxes) if isinstance(case, Case)]
    assert boxed
    for case in boxed:
        assert case.boxes
        exact = masks.masks(f"{case.id}.png", case.radiograph.shape)
        for name, box in case.masks.items():
            assert (exact[name] & box).sum() > 0.9 * exact[name].sum()  # specks at the rim get no box
            assert box.sum() < box.size


def test_a_broken_image_is_an_error_that_names_it_and_the_others_go_on(dataset: Path, tmp_path: Path) -> None:
    references = read_references(masks=dataset / "masks")
    covered = [path for path in sorted((dataset / "images").glob("*.png")) if references.covers(path)]
    broken = tmp_path / covered[0].name
    broken.write_bytes(covered[0].read_bytes()[:200])
    found = list(file_cases([broken, *covered[1:], tmp_path / "unknown.png"], references))
    assert isinstance(found[0], CxrExplainError)
    assert str(broken) in str(found[0])
    assert [case.id for case in found[1:] if isinstance(case, Case)] == [path.stem for path in covered[1:]]


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("images/00000013_026.png", "00000013"),
        ("CheXpert/valid/patient64541/study1/view1_frontal.jpg", "patient64541"),
        ("study/a_b.png", "a_b"),
        ("phantom-000042.png", "phantom-000042"),
    ],
)
def test_the_patient_is_read_off_the_path(tmp_path: Path, name: str, group: str) -> None:
    path = image(tmp_path / name)
    image(tmp_path / "masks" / f"{path.stem}-mass.png")
    (case,) = file_cases([path], read_references(masks=tmp_path / "masks"))
    assert isinstance(case, Case)
    assert case.group == group
    assert case.radiograph.sha256 == read_radiograph(path).sha256
