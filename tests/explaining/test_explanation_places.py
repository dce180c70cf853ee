"""Where the peaks of an explanation lie, in words: in its caption, and in its JSON file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from networks import NAMES, small_xrv

from cxr_explain import Explainer, Explanation, Outputs, XRVDenseNet
from cxr_explain.chest.places import peak_places
from cxr_explain.chest.regions import regions_of
from cxr_explain.errors import OutputError
from cxr_explain.phantom import render, sample_patient, to_radiograph


@pytest.fixture(scope="module")
def explanation() -> Explanation:
    explainer = Explainer(XRVDenseNet(small_xrv(5), Outputs(NAMES), input_size=64))
    return explainer.explain(to_radiograph(render(sample_patient(42), size=128)), top_k=3)


@pytest.fixture
def placed(explanation: Explanation) -> Explanation:
    """With a peak for each pathology, wherever the model looks."""
    maps = np.zeros((3, 7, 7), np.float32)
    maps[0, 3, 1] = maps[1, 0, 0] = 1
    maps[2, 2, 2] = maps[2, 4, 4] = 1  # two peaks
    return replace(explanation, class_maps=maps, maps=maps.copy()).with_places()


def test_places_are_those_of_the_class_maps_by_pathology(placed: Explanation) -> None:
    assert placed.radiograph is not None
    places = peak_places(
        placed.class_maps, placed.geometry, regions_of(placed.radiograph), orientation=("L", "F")
    )
    first, second, _third = placed.ranking.pathologies
    assert placed.places == {first: str(places[0]), second: str(places[1])}
    assert placed.places[first].startswith("right lung")
    assert placed.places[second].startswith("outside the thorax, above it, right side")


def test_the_caption_has_them_only_if_they_were_asked_for(placed: Explanation) -> None:
    first, _second, _ = placed.ranking.pathologies
    said = f"By an estimate of the anatomy the class maps have their peaks here: {first}: right lung"
    assert said in placed.caption().replace("_", " ").replace(first.replace("_", " "), first)
    assert "By an estimate of the anatomy" not in replace(placed, places={}).caption()


def test_they_are_saved_and_come_back(placed: Explanation, tmp_path: Path) -> None:
    path = placed.save(tmp_path / "one")
    assert json.loads(path.read_text())["places"] == dict(placed.places)
    assert Explanation.load(path).places == placed.places
    document = json.loads(path.read_text())
    del document["places"]  # as earlier versions wrote it
    path.write_text(json.dumps(document))
    assert Explanation.load(path).places == {}


@pytest.mark.parametrize("places", [{"nothing": "lung"}, {"Mass": 3}, ["lung"], "lung", None])
def test_other_places_are_one_line(placed: Explanation, tmp_path: Path, places: object) -> None:
    path = placed.save(tmp_path / "one")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"places": places}))
    with pytest.raises(OutputError, match="a damaged explanation"):
        Explanation.load(path)


def test_after_load_the_radiograph_is_wanted(placed: Explanation, tmp_path: Path) -> None:
    loaded = Explanation.load(placed.save(tmp_path / "one"))
    with pytest.raises(OutputError, match="without its radiograph"):
        loaded.with_places()
    assert loaded.with_places(placed.radiograph).places == placed.places
