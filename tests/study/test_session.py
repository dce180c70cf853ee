"""What a request of the command line means: which cases, which plan, which layers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cxr_explain import Explainer
from cxr_explain.errors import CxrExplainError, OptionError
from cxr_explain.explaining.explainer import Pretrained
from cxr_explain.pathologies import PATHOLOGIES
from cxr_explain.reference import read_references
from cxr_explain.study.plan import validity_plan
from cxr_explain.study.session import (
    Request,
    Source,
    checked_methods,
    evaluate_maps,
    references_of,
    stack_of_layers,
)

MODEL = Pretrained("phantom")


@pytest.fixture
def files(dataset: Path) -> tuple[Path, ...]:
    """The images that have a mask."""
    masks = read_references(masks=dataset / "masks")
    return tuple(path for path in sorted((dataset / "images").glob("*.png")) if masks.covers(path))


def test_n_counts_the_cases_that_can_be_read(dataset: Path, files: tuple[Path, ...], tmp_path: Path) -> None:
    broken = tmp_path / files[0].name
    broken.write_bytes(b"no image")
    source = Source((broken, *files[1:]), read_references(masks=dataset / "masks"))
    failed: list[CxrExplainError] = []
    assert [case.id for case in source.cases(2, failed.append)] == [path.stem for path in files[1:3]]
    assert [error.source for error in failed] == [str(broken)]


def test_no_file_beyond_the_last_case_is_read(dataset: Path, files: tuple[Path, ...], tmp_path: Path) -> None:
    broken = tmp_path / files[1].name
    broken.write_bytes(b"no image")
    failed: list[CxrExplainError] = []
    source = Source((files[0], broken), read_references(masks=dataset / "masks"))
    assert len(list(source.cases(1, failed.append))) == 1
    assert failed == []


def test_a_source_says_what_its_cases_are(dataset: Path) -> None:
    assert str(Source(seed=7, size=64)) == "phantoms of 64 x 64 pixels from seed 7"
    assert str(Source((), read_references(masks=dataset / "masks"))) == "radiographs with masks"
    boxes = references_of(boxes=dataset / "BBox_List_2017.csv")
    assert str(Source((), boxes)) == "radiographs with boxes"


def test_the_number_of_cases_has_an_end(dataset: Path, files: tuple[Path, ...]) -> None:
    source = Source((*files, dataset / "other.png"), read_references(masks=dataset / "masks"))
    assert Request(source, MODEL).most == len(files)
    assert Request(source, MODEL, n=1).most == 1
    assert Request(source, MODEL, n=99).most == len(files)
    assert (Request(Source(), MODEL).most, Request(Source(), MODEL, quick=True).most) == (160, 4)
    assert Request(Source(), MODEL, n=9, quick=True).most == 9


def test_the_plan_is_of_one_rule_or_of_all() -> None:
    plain = Request(Source(), MODEL, top_k=3, activation="elu").plan()
    assert [each.name for each in plain.contenders] == ["grad-cam"]
    assert list(plain.fusions) == [(3, "joint", "elu")]
    some = Request(Source(), MODEL, methods=("cam", "layercam"), study=True).plan()
    assert [each.name for each in some.contenders] == ["cam", "layercam"]
    assert len(list(some.fusions)) == 45
    assert Request(Source(), MODEL, quick=True).plan() == Request(Source(), MODEL).plan().quick
    validity = Request(Source(), MODEL, validity=True, resamples=7)
    assert validity.plan() == replace(validity_plan(), resamples=7)
    assert validity.most == 1000
    every = Request(Source(), MODEL, study=True).plan()
    assert every.contenders[-1].layers[-1] == "features"


def test_the_validity_needs_phantoms_and_is_no_study(dataset: Path) -> None:
    images = Source((), read_references(masks=dataset / "masks"))
    for source, study in ((images, False), (Source(), True)):
        with pytest.raises(OptionError, match="phantoms alone"):
            Request(source, MODEL, study=study, validity=True).plan()


def test_the_stack_is_the_last_transitions_and_the_feature_map(explainer: Explainer) -> None:
    """The bundled model has two dense blocks, and so one transition."""
    assert stack_of_layers(explainer.classifier) == ("features.transition1.relu", "features")
    modules = dict(explainer.classifier.module.named_modules())
    assert all(name in modules for name in stack_of_layers(explainer.classifier))


def test_a_rule_is_asked_once() -> None:
    assert checked_methods(("cam", "grad-cam", "cam")) == ("cam", "grad-cam")
    with pytest.raises(OptionError, match="method='gradcam'"):
        checked_methods(("cam", "gradcam"))


def test_findings_that_the_model_does_not_know_are_an_error(
    dataset: Path, files: tuple[Path, ...], tmp_path: Path, explainer: Explainer
) -> None:
    (tmp_path / "masks").mkdir()
    some = next((dataset / "masks").glob("*.png"))
    unknown = next(name for name in PATHOLOGIES if name not in explainer.classifier.pathologies)
    (tmp_path / "masks" / f"{files[0].stem}-{unknown.lower()}.png").write_bytes(some.read_bytes())
    request = Request(Source(files[:1], read_references(masks=tmp_path / "masks")), MODEL)
    with pytest.raises(OptionError, match="no finding that phantom predicts"):
        evaluate_maps(request, tmp_path / "out", failed=print)
