"""What the settings of an evaluation mean: which cases, which plan, which layers."""

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
    CaseSource,
    EvaluationSettings,
    called,
    checked_methods,
    evaluate_maps,
    evaluate_models,
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
    source = CaseSource((broken, *files[1:]), read_references(masks=dataset / "masks"))
    failed: list[CxrExplainError] = []
    assert [case.id for case in source.cases(2, failed.append)] == [path.stem for path in files[1:3]]
    assert [error.source for error in failed] == [str(broken)]


def test_no_file_beyond_the_last_case_is_read(dataset: Path, files: tuple[Path, ...], tmp_path: Path) -> None:
    broken = tmp_path / files[1].name
    broken.write_bytes(b"no image")
    failed: list[CxrExplainError] = []
    source = CaseSource((files[0], broken), read_references(masks=dataset / "masks"))
    assert len(list(source.cases(1, failed.append))) == 1
    assert failed == []


def test_a_source_says_what_its_cases_are(dataset: Path) -> None:
    assert str(CaseSource(seed=7, size=64)) == "phantoms of 64 x 64 pixels from seed 7"
    assert str(CaseSource((), read_references(masks=dataset / "masks"))) == "radiographs with masks"
    boxes = references_of(boxes=dataset / "BBox_List_2017.csv")
    assert str(CaseSource((), boxes)) == "radiographs with boxes"


def test_the_number_of_cases_has_an_end(dataset: Path, files: tuple[Path, ...]) -> None:
    source = CaseSource((*files, dataset / "other.png"), read_references(masks=dataset / "masks"))
    assert EvaluationSettings(source, MODEL).most == len(files)
    assert EvaluationSettings(source, MODEL, n=1).most == 1
    assert EvaluationSettings(source, MODEL, n=99).most == len(files)
    assert (
        EvaluationSettings(CaseSource(), MODEL).most,
        EvaluationSettings(CaseSource(), MODEL, quick=True).most,
    ) == (160, 4)
    assert EvaluationSettings(CaseSource(), MODEL, n=9, quick=True).most == 9


def test_the_plan_is_of_one_rule_or_of_all() -> None:
    plain = EvaluationSettings(CaseSource(), MODEL, top_k=3, activation="elu").plan()
    assert [each.name for each in plain.contenders] == ["grad-cam"]
    assert list(plain.fusions) == [(3, "joint", "elu")]
    some = EvaluationSettings(CaseSource(), MODEL, methods=("cam", "layercam"), study=True).plan()
    assert [each.name for each in some.contenders] == ["cam", "layercam"]
    assert len(list(some.fusions)) == 45
    assert (
        EvaluationSettings(CaseSource(), MODEL, quick=True).plan()
        == EvaluationSettings(CaseSource(), MODEL).plan().quick
    )
    validity = EvaluationSettings(CaseSource(), MODEL, validity=True, resamples=7)
    assert validity.plan() == replace(validity_plan(), resamples=7)
    assert validity.most == 1000
    every = EvaluationSettings(CaseSource(), MODEL, study=True).plan()
    assert every.contenders[-1].layers[-1] == "features"


def test_the_validity_needs_phantoms_and_is_no_study(dataset: Path) -> None:
    images = CaseSource((), read_references(masks=dataset / "masks"))
    for source, study in ((images, False), (CaseSource(), True)):
        with pytest.raises(OptionError, match="phantoms alone"):
            EvaluationSettings(source, MODEL, study=study, validity=True).plan()


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
    settings = EvaluationSettings(CaseSource(files[:1], read_references(masks=tmp_path / "masks")), MODEL)
    with pytest.raises(OptionError, match="no finding that phantom predicts"):
        evaluate_maps(settings, tmp_path / "out", failed=print)


def test_several_models_need_names_of_their_own(tmp_path: Path) -> None:
    settings = EvaluationSettings(CaseSource(), MODEL)
    twins = [Pretrained("a/net.pt"), Pretrained("b/net.safetensors")]
    with pytest.raises(OptionError, match="models called net, net"):
        evaluate_models(settings, twins, tmp_path / "out", failed=print)
    assert not (tmp_path / "out").exists()


def test_a_bundled_model_is_called_an_instrument() -> None:
    names = [called(Pretrained(name)) for name in ("phantom", "nih", "/somewhere/labels.pt")]
    assert names == ["instrument phantom", "nih", "labels"]
