"""Operating points in an explainer, in what it says of its numbers, and in files that somebody else wrote."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tuning_case import NAMES, SHA256, classifier

from cxr_explain import Explainer, Radiograph
from cxr_explain.errors import OptionError, OutputError
from cxr_explain.explaining.calibration import Calibration
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.explaining.operating_points import FittedPoint, OperatingPoints, ShareWithInterval
from cxr_explain.explaining.provenance import Tuning
from cxr_explain.figures.facts import model_facts
from cxr_explain.loaders.settings import ReadSettings
from cxr_explain.models.base import Outputs
from cxr_explain.support.strict_json import with_digest

PIXELS = np.linspace(-700, 900, 1600, dtype=np.float32).reshape(40, 40)


def points(**changes: Any) -> OperatingPoints:
    """As they might have been fitted for the tiny model."""
    found = ShareWithInterval(0.9, 0.8, 0.95)
    about = {"positive": 40, "negative": 60, "positive_patients": 30, "negative_patients": 50}
    fitted = (
        FittedPoint("Mass", 0.7, **about, sensitivity=found, specificity=found, calibration=Calibration(2.0)),
        FittedPoint(
            "Edema",
            0.3,
            **about,
            interval=ShareWithInterval(0.3, 0.2, 0.4),
            sensitivity=found,
            specificity=found,
            calibration=Calibration(knots=((-2.0, 0.0), (0.0, 0.25), (3.0, 1.0))),
        ),
        FittedPoint("Hernia", None, **about, not_fitted="too few patients"),
    )
    tuning = Tuning(
        goal="youden",
        calibrate="isotonic",
        part="split=valid",
        policy="strict",
        images=100,
        patients=80,
        outputs=3,
        fitted=2,
        calibrated=2,
        manifest_source="drawn",
        manifest_sha256="1" * 64,
        run_sha256="2" * 64,
        package_version="1.0",
    )
    given: dict[str, Any] = {
        "model": "tiny",
        "weights_sha256": SHA256,
        "fit": "crop",
        "reading": ReadSettings(),
        "points": fitted,
        "tuning": tuning,
        "images": ("3" * 64,),
        "inputs": ("4" * 64,),
        "related": ("5" * 64,),
    }
    return OperatingPoints(**(given | changes))


def radiograph(**options: Any) -> Radiograph:
    return Radiograph.from_array(PIXELS, **options)


@pytest.fixture
def explained() -> Explanation:
    return Explainer(classifier(), operating_points=points()).explain(radiograph(), top_k=3)


def test_an_explainer_calls_and_ranks_by_them(explained: Explanation) -> None:
    logits = {
        each.pathology: each.logit
        for each in Explainer(classifier()).explain(radiograph()).ranking.predictions
    }
    found = {each.pathology: each for each in explained.ranking.predictions}
    assert {name: each.logit for name, each in found.items()} == logits
    assert found["Mass"].probability == pytest.approx(1 / (1 + math.exp(-logits["Mass"] / 2)), rel=1e-12)
    assert -2 < logits["Edema"] < 0
    assert found["Edema"].probability == pytest.approx(0.25 * (logits["Edema"] + 2) / 2, rel=1e-12)
    assert found["Hernia"].probability == pytest.approx(1 / (1 + math.exp(-logits["Hernia"])), rel=1e-12)
    assert [found[name].operating_point for name in NAMES] == [0.7, 0.3, None]
    assert found["Mass"].above is (found["Mass"].probability >= 0.7)
    assert found["Edema"].above is (found["Edema"].probability >= 0.3)
    assert found["Hernia"].above is None
    in_order = [each.probability for each in explained.ranking.top]
    assert in_order == sorted(in_order, reverse=True)


def test_all_that_is_shown_says_so(explained: Explanation, tmp_path: Path) -> None:
    made = explained.provenance
    assert made.tuning == points().tuning
    assert made.operating_points_sha256 == points().sha256
    basis = "youden; split=valid"
    assert f"calibrated, fitted for 2 of 3 pathologies on 80 patients ({basis})" not in explained.caption()
    assert f"fitted for 2 of 3 pathologies on 80 patients ({basis})" in explained.caption()
    assert "Probability is the model's score, calibrated" in explained.caption()
    methods = explained.methods_text()
    assert "calibrated by an isotonic curve for each pathology for 2 of them" in methods
    assert f"were fitted ({basis}) on 100 images of 80 patients of drawn" in methods
    assert points().sha256 in methods
    drawn = "".join(explained.figure().save(tmp_path / "a.svg").read_text(encoding="utf-8").split())
    assert "probabilitiesarecalibrated" in drawn
    assert "notcalibrated" not in drawn
    page = explained.to_html(tmp_path / "a.html").read_text(encoding="utf-8")
    assert basis in page
    assert "not calibrated" not in page
    assert model_facts(made)[0] == ("model", "tiny")


@pytest.mark.parametrize("language", ["en", "de", "zh"])
def test_every_language_has_words_for_it(explained: Explanation, language: str, tmp_path: Path) -> None:
    from cxr_explain.figures.style import style_of

    style = style_of("light", language=language)
    text = explained.figure(style=style).save(tmp_path / "a.svg").read_text(encoding="utf-8")
    assert "split=valid" in "".join(text.split())


def test_a_saved_explanation_keeps_it(explained: Explanation, tmp_path: Path) -> None:
    again = Explanation.load(explained.save(tmp_path / "one"))
    assert again.provenance == explained.provenance
    assert again.ranking == explained.ranking


def test_one_without_fitted_points_says_nothing_new(tmp_path: Path) -> None:
    plain = Explainer(classifier()).explain(radiograph())
    assert plain.provenance.tuning is None
    assert "not calibrated" in plain.caption()
    assert "weights' authors" in plain.caption()


def test_an_image_that_they_were_fitted_on_says_so() -> None:
    model = Explainer(classifier())
    seen = model.prepare(radiograph())
    by_input = Explainer(classifier(), operating_points=points(inputs=(seen.sha256,)))
    by_file = Explainer(classifier(), operating_points=points(images=(radiograph().sha256,)))
    by_patient = Explainer(classifier(), operating_points=points(related=(seen.sha256,)))
    said = "The operating points were fitted on {}: which side it is on is no test of them."
    for explainer, whom in (
        (by_input, "this image"),
        (by_file, "this image"),
        (by_patient, "another image of this patient"),
    ):
        assert explainer.explain(radiograph()).provenance.warnings == (said.format(whom),)


def test_a_path_and_an_object_are_the_same(tmp_path: Path) -> None:
    path = points().save(tmp_path / "points.json")
    assert OperatingPoints.load(path) == points()
    assert Explainer(classifier(), operating_points=str(path)).fitted == points()


@pytest.mark.parametrize(
    ("model", "options", "given", "match"),
    [
        (classifier("cd" * 32), {}, {}, "found weights of SHA-256 cdcdcdcdcdcd; expected abababababab"),
        (classifier(None), {}, {}, "found weights of SHA-256 None; expected abababababab"),
        (classifier(), {}, {"weights_sha256": None}, "found weights of SHA-256 abababababab; expected None"),
        (
            classifier(None),
            {},
            {"weights_sha256": None, "model": "other"},
            "found the model tiny; expected other",
        ),
        (classifier(names=NAMES[:2]), {}, {}, r"found pathologies 2 names \(Mass, Edema\); expected 3 names"),
        (classifier(), {"fit": "pad"}, {}, "found fit pad; expected crop"),
        (classifier(), {"xrv_compatible": True}, {}, "found xrv_compatible True; expected False"),
    ],
)
def test_another_model_or_another_way_of_seeing_is_refused(
    model: Any, options: dict[str, Any], given: dict[str, Any], match: str
) -> None:
    with pytest.raises(OptionError, match=match) as told:
        Explainer(model, operating_points=points(**given), **options)
    assert "\n" not in str(told.value)


def test_other_values_of_interest_are_refused() -> None:
    with pytest.raises(OptionError, match="found voi='none'; expected 'auto', with which"):
        points().check_read_alike(ReadSettings(voi="none"))
    points().check_read_alike(ReadSettings(frame=2, max_pixels=10))


def test_a_softmax_is_refused() -> None:
    model = classifier()
    model.outputs = Outputs(NAMES, kind="softmax")
    with pytest.raises(OptionError, match="outputs of kind softmax, of which exactly one is true"):
        Explainer(model, operating_points=points())


def test_an_export_is_refused_rather_than_made_without_them() -> None:
    from cxr_explain import export_graph

    with pytest.raises(OptionError, match="operating points that were fitted; expected the weights' own"):
        export_graph(Explainer(classifier(), operating_points=points()))


def test_what_the_model_saw_is_known_by_its_numbers() -> None:
    explainer = Explainer(classifier())
    one, other = explainer.prepare(radiograph()), explainer.prepare(Radiograph.from_array(PIXELS + 1))
    assert one.sha256 == explainer.prepare(radiograph()).sha256 != other.sha256
    assert torch.equal(one.tensor, explainer.prepare(radiograph()).tensor)


def edited(change: Any) -> bytes:
    """The file with one thing changed, and a digest that fits it again."""
    document = json.loads(points().to_json())
    document.pop("sha256")
    change(document)
    return json.dumps(with_digest(document)).encode()


HOSTILE = {
    "no entry": lambda d: d.pop("images"),
    "an unknown entry": lambda d: d.update(spare=1),
    "no pathology": lambda d: d.update(points=[]),
    "a pathology twice": lambda d: d["points"].append(d["points"][0]),
    "a point above 1": lambda d: d["points"][0].update(operating_point=1.5),
    "a point that is text": lambda d: d["points"][0].update(operating_point="0.5"),
    "a point that is true": lambda d: d["points"][0].update(operating_point=True),
    "no point, yet fitted": lambda d: d["points"][0].update(operating_point=None),
    "ends of an interval in the wrong order": lambda d: d["points"][0]["sensitivity"].update(low=0.99),
    "an interval with one end": lambda d: d["points"][0]["sensitivity"].update(low=None),
    "a negative temperature": lambda d: d["points"][0]["calibration"].update(temperature=-1.0),
    "a curve that falls": lambda d: d["points"][1]["calibration"].update(knots=[[0.0, 0.9], [1.0, 0.1]]),
    "a knot of three": lambda d: d["points"][1]["calibration"].update(knots=[[0.0, 0.9, 1.0]]),
    "an image that is no digest": lambda d: d.update(images=["person 1"]),
    "no image": lambda d: d.update(images=[]),
    "a digest of weights that is none": lambda d: d.update(weights_sha256="../x"),
    "another fit": lambda d: d.update(fit="stretch"),
    "voi that nobody reads": lambda d: d["reading"].update(voi="<script>"),
    "a tuning that is text": lambda d: d.update(tuning="valid"),
    "a kind of calibration that there is not": lambda d: d["tuning"].update(calibrate="platt"),
    "a number beyond 64 bits": lambda d: d["tuning"].update(images=10**30),
    "another schema": lambda d: d.update(schema="cxr-explain/operating-points/99"),
    "the schema of another file": lambda d: d.update(schema="cxr-explain/statistics/3"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_file_with_a_flaw_is_refused_in_one_line(what: str, tmp_path: Path) -> None:
    path = tmp_path / "points.json"
    path.write_bytes(edited(HOSTILE[what]))
    with pytest.raises(
        OutputError, match=r"^.*points\.json: found .*; expected cxr-explain/operating-points/1\."
    ) as told:
        OperatingPoints.load(path)
    assert "\n" not in str(told.value)
    assert "Traceback" not in str(told.value)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"null", b"3", b"[1]", b'"text"', b"\xff\xfe", b"[" * 100_000, b'{"schema": 3}',
        b'{"schema": "cxr-explain/operating-points/1", "schema": "x"}',
        b'{"schema": "cxr-explain/operating-points/1", "model": NaN}',
        b'{"schema": "cxr-explain/operating-points/1", "sha256": "' + b"0" * 64 + b'"}',
        b'{"schema": "cxr-explain/operating-points/1", "x": "\\ud800"}',
    ],
)  # fmt: skip
def test_something_else_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "points.json"
    path.write_bytes(content)
    with pytest.raises(OutputError, match=r"points\.json: found ") as told:
        OperatingPoints.load(path)
    assert "\n" not in str(told.value)


def test_each_byte_that_is_changed_is_seen(tmp_path: Path) -> None:
    content = points().to_json()
    draws = np.random.default_rng(0)
    for at in draws.choice(len(content) - 1, 150, replace=False):
        other = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        try:
            same = OperatingPoints.from_json(other) == points()
        except OutputError:
            continue
        assert same, at  # blanks between entries say nothing


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"none\.json: found no operating points that can be read"):
        OperatingPoints.load(tmp_path / "none.json")
    with pytest.raises(OutputError, match="no operating points that can be read"):
        OperatingPoints.load(tmp_path)


def test_more_images_than_a_file_can_name_are_refused(tmp_path: Path) -> None:
    many = points(related=tuple(f"{number:064x}" for number in range(260_000)))
    with pytest.raises(OutputError, match="expected at most 16,777,216 bytes"):
        many.save(tmp_path / "points.json")
    assert not (tmp_path / "points.json").exists()
