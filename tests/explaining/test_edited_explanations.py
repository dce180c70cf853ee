"""Saved explanations that were edited: one line of our own, or an explanation that can be shown and saved."""

from __future__ import annotations

import copy
import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import synthetic_explanation, synthetic_radiograph
from test_explanation import packed, reseal

from cxr_explain import Explanation
from cxr_explain.errors import OutputError
from cxr_explain.explaining.stability import MapStability, Stability

WRONG = (
    None, True, 0, -1, 3, 10**13, 10**400, 0.5, 1e308, float("nan"), float("-inf"), "", "x", "Mass",
    "\x1b[2J\n", [], [[]], [None], [1, 2], [0, 0], ["Mass", "Mass"], {}, {"a": {}},
)  # fmt: skip


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved explanation of three pathologies, which stays as it is."""
    explanation = synthetic_explanation(synthetic_radiograph((64, 80)), k=3, model_size=56)
    numbers = MapStability(0.5, None, 2)
    sure = Stability(("a shift", "noise"), dict.fromkeys(explanation.ranking.pathologies, numbers))
    whole = replace(explanation, stability=sure, stability_across_models=sure)
    return whole.save(tmp_path_factory.mktemp("kept") / "one")


@pytest.fixture
def written(kept: Path, tmp_path: Path) -> Path:
    """A copy of it, to be edited."""
    for file in kept.parent.iterdir():
        shutil.copy(file, tmp_path)
    return tmp_path / kept.name


def leaves(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a JSON document: its container, and its key there."""
    for key in list(document) if isinstance(document, dict) else range(len(document)):
        yield document, key
        if isinstance(document[key], dict | list):
            yield from leaves(document[key])


def edited(document: dict[str, Any], draw: random.Random) -> tuple[str, str]:
    """The text of a document with one change, and what it is."""
    made = copy.deepcopy(document)
    container, key = draw.choice(list(leaves(made)))
    value = draw.choice((*WRONG, "GONE", "DEEP"))
    if value == "GONE":
        del container[key]
    else:
        container[key] = value
    text = json.dumps(made).replace('"DEEP"', "[" * 3000 + "]" * 3000)
    return text, f"{key}: {str(value)[:40]!r}"


def shown(path: Path, folder: Path) -> str | None:
    """What is said against an explanation; None where it can be shown and saved."""
    try:
        found = Explanation.load(path)
    except OutputError as error:
        said = str(error)
    else:
        show(found, folder)
        return None
    assert said.isprintable(), said
    assert path.stem in said
    return said


def show(found: Explanation, folder: Path) -> None:
    assert repr(found)
    assert np.isfinite(found.maps).all()
    assert found._repr_html_()
    assert found.overlay(longest=64).shape[2] == 3
    found.save(folder / "again")


@pytest.mark.parametrize("count", [60, pytest.param(1500, marks=pytest.mark.slow)])
def test_an_edited_document_is_named_or_shown(count: int, written: Path, tmp_path: Path) -> None:
    document = json.loads(written.read_text(encoding="utf-8"))
    draw = random.Random(count)
    refused = 0
    for _ in range(count):
        text, did = edited(document, draw)
        written.write_text(text, encoding="utf-8")
        try:
            refused += shown(written, tmp_path) is not None
        except Exception as error:
            raise AssertionError(did) from error
    print(f"{count} edits of an explanation: {refused} named, {count - refused} shown")


def maps(first: float = 1.0) -> np.ndarray:
    array = np.ones((3, 28, 28), np.float32)
    array[0, 0, 0] = first
    return array


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"maps": maps(np.nan)}, "NaN or infinite"),
        ({"class_maps": maps(np.inf)}, "NaN or infinite"),
        ({"maps": maps().astype(np.float64)}, "no float32 array"),
        ({"maps": maps().astype(np.float16)}, "no float32 array"),
        ({"maps": maps().astype(complex)}, "no float32 array"),
        ({"maps": maps()[:2]}, "shape"),
        ({"maps": maps()[:, :, :3]}, "shape"),
        ({"maps": maps()[:, :0], "class_maps": maps()[:, :0]}, "shape"),
        ({"maps": np.array(["a"])}, "no float32 array"),
    ],
)
def test_arrays_that_no_explanation_has(
    arrays: dict[str, np.ndarray], said: str, written: Path, tmp_path: Path
) -> None:
    reseal(written, packed(**({"maps": maps(), "class_maps": maps()} | arrays)))
    assert said in (shown(written, tmp_path) or "")


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        (("geometry", "side"), 0, "a square without a pixel"),
        (("geometry", "left"), 10**9, "a square without a pixel"),
        (("geometry", "radiograph_shape"), [10**9, 10**9], "more than"),
        (("geometry", "radiograph_shape"), [True, 40], "radiograph_shape is a list"),
        (("ranking", "top"), [0, 0, 1], "ranked twice"),
        (("ranking", "top"), [0.0, 1, 2], "indices is a list"),
        (("ranking", "by"), "colour", "by is a str"),
        (("provenance", "without_gradient"), ["Nothing"], "not ranked"),
        (("provenance", "phantom"), "yes", "phantom is a str"),
        (("provenance", "warnings"), "text", "warnings is a str"),
        (("provenance", "map_settings", "fit"), "stretch", "fit is a str"),
        (("id",), 3, "an id that is no text"),
    ],
)
def test_what_is_wrong_is_said(
    where: tuple[str, ...], value: Any, said: str, written: Path, tmp_path: Path
) -> None:
    document = json.loads(written.read_text(encoding="utf-8"))
    at = document
    for key in where[:-1]:
        at = at[key]
    at[where[-1]] = value
    written.write_text(json.dumps(document), encoding="utf-8")
    message = shown(written, tmp_path) or ""
    assert said in message
    assert message.endswith("Explain the radiograph again.")


def test_nothing_is_there_twice(written: Path, tmp_path: Path) -> None:
    text = written.read_text(encoding="utf-8")
    written.write_text(text.replace('"id":', '"id": "other", "id":', 1), encoding="utf-8")
    assert "no readable explanation" in (shown(written, tmp_path) or "")
