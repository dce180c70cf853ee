"""The handler on MONAI's own evaluator and on a plain Ignite engine."""

from __future__ import annotations

import csv
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.handlers import from_engine
from monai.transforms import Compose, CopyItemsd, Lambdad
from networks import snapshot, unsettle

from cxr_explain import Explainer, Explanation, read_radiograph
from cxr_explain.errors import MissingExtraError, OptionError, OutputError
from cxr_explain.integrations.monai import PrepareRadiographd, ReadRadiographd, SaveExplanations

pytest.importorskip("ignite")

from ignite.engine import Engine, Events
from ignite.metrics import Average
from monai.engines import SupervisedEvaluator

IDS = ["phantom-000005", "phantom-000006", "phantom-000007"]


def paths(phantoms: Path) -> list[Path]:
    return sorted((phantoms / "images").glob("*.png"))


def loader(explainer: Explainer, phantoms: Path, *extra: Any, batch_size: int = 2) -> DataLoader:
    """Keys: "radiograph" as it was read, "image" as the network takes it, "label"."""
    pipeline = Compose(
        [
            ReadRadiographd("image"),
            CopyItemsd("image", names="radiograph"),
            PrepareRadiographd("image", explainer),
            *extra,
        ]
    )
    items = [{"image": path, "label": torch.zeros(10)} for path in paths(phantoms)]
    return DataLoader(Dataset(items, pipeline), batch_size=batch_size)


def evaluator(explainer: Explainer, data: DataLoader, *handlers: Any, **options: Any) -> SupervisedEvaluator:
    metric = Average(output_transform=lambda output: torch.stack(from_engine("pred")(output)).mean())
    return SupervisedEvaluator(
        torch.device("cpu"),
        data,
        explainer.classifier.module,
        val_handlers=handlers or None,
        **({"key_val_metric": {"mean": metric}} | options),
    )


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_maps_and_predictions_of_each_image(explainer: Explainer, phantoms: Path, tmp_path: Path) -> None:
    handler = SaveExplanations(
        tmp_path / "out", explainer, image_key="radiograph", top_k=3, figure_format=None
    )
    evaluator(explainer, loader(explainer, phantoms), handler).run()
    names = {f"{name}.{ending}" for name in IDS for ending in ("json", "npz")}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names | {"predictions.csv"}
    assert handler.saved == IDS
    assert handler.failures == []
    for path, row in zip(paths(phantoms), table(tmp_path / "out"), strict=True):
        saved = Explanation.load(tmp_path / "out" / path.stem)
        expected = explainer.explain(read_radiograph(path), top_k=3)
        np.testing.assert_allclose(saved.maps, expected.maps, atol=1e-5)
        assert saved.provenance == expected.provenance
        assert (row.pop("id"), row.pop("error")) == (path.stem, "")
        for prediction in expected.ranking.predictions:
            assert float(row[prediction.pathology]) == pytest.approx(prediction.probability, abs=1e-5)


def test_a_figure_of_the_whole_radiograph(explainer: Explainer, phantoms: Path, tmp_path: Path) -> None:
    handler = SaveExplanations(
        tmp_path,
        explainer,
        image_key="radiograph",
        select=lambda item: item["radiograph"].meta["id"] == IDS[2],
    )
    evaluator(explainer, loader(explainer, phantoms), handler).run()
    assert handler.saved == IDS[2:]
    assert (tmp_path / f"{IDS[2]}.png").read_bytes().startswith(b"\x89PNG")


def test_the_engine_and_the_network_are_not_disturbed(phantoms: Path, tmp_path: Path) -> None:
    explainer = Explainer.from_pretrained("phantom", device="cpu")
    network = explainer.classifier.module
    data = loader(explainer, phantoms)
    plain = evaluator(explainer, data)
    plain.run()
    unsettle(network, 0)
    before = snapshot(network)
    states: list[dict[str, Any]] = []
    handler = SaveExplanations(tmp_path, explainer, image_key="radiograph", figure_format=None)

    def look(engine: Engine) -> None:
        states.append({key: value for key, value in vars(engine.state).items() if key != "times"})

    handled = evaluator(explainer, data)
    handled.add_event_handler(Events.ITERATION_COMPLETED, look)
    handler.attach(handled)
    handled.add_event_handler(Events.ITERATION_COMPLETED, look)
    handled.run()
    assert handler.saved == IDS
    for first, second in zip(states[::2], states[1::2], strict=True):
        assert first.keys() == second.keys()
        assert all(first[key] is second[key] for key in ("batch", "output", "iteration", "metrics"))
    assert handled.state.metrics["mean"] == pytest.approx(plain.state.metrics["mean"])
    after = snapshot(network)
    changed = {key for key in before if before[key] != after[key]}
    assert changed <= {key for key in before if key.endswith(" training")}  # MONAI's own mode is left behind


@pytest.mark.parametrize("decollate", [True, False])
def test_a_plain_engine_with_and_without_decollated_batches(
    explainer: Explainer, phantoms: Path, tmp_path: Path, decollate: bool
) -> None:
    data = loader(explainer, phantoms)
    batches: Any = [item for batch in data for item in [batch]]
    handler = SaveExplanations(tmp_path, explainer, image_key="radiograph", figure_format=None)
    if decollate:
        evaluator(explainer, data, handler, decollate=False, key_val_metric=None).run()
    else:
        engine = Engine(lambda _engine, _batch: 0.5)
        handler.attach(engine)
        engine.run(batches)
    assert handler.saved == IDS


def test_a_batch_without_keys_is_its_first_tensor(
    explainer: Explainer, phantoms: Path, tmp_path: Path
) -> None:
    pixels = [torch.from_numpy(np.array(read_radiograph(path).pixels))[None] for path in paths(phantoms)]
    handler = SaveExplanations(
        tmp_path, "phantom", axes="rows-columns", figure_format=None, allow_phantom_weights=True, device="cpu"
    )
    engine = Engine(lambda _engine, _batch: None)
    handler.attach(engine)
    engine.run([(torch.stack(pixels), torch.zeros(3, 10))])
    assert len(handler.saved) == 3
    assert handler.saved[0] == "array"
    assert all(name.startswith("array-") for name in handler.saved[1:])


def test_every_other_iteration(explainer: Explainer, phantoms: Path, tmp_path: Path) -> None:
    handler = SaveExplanations(tmp_path, explainer, image_key="radiograph", interval=2, figure_format=None)
    evaluator(explainer, loader(explainer, phantoms, batch_size=1), handler).run()
    assert handler.saved == [IDS[1]]


def test_only_what_is_selected_by_label_and_prediction(
    explainer: Explainer, phantoms: Path, tmp_path: Path
) -> None:
    index = explainer.classifier.pathologies.index("Cardiomegaly")
    seen: list[set[str]] = []

    def false_positive(item: Any) -> bool:
        seen.append(set(item))
        return bool(item["pred"][index] > 0 and item["label"][index] == 0)

    handler = SaveExplanations(
        tmp_path, explainer, image_key="radiograph", select=false_positive, figure_format=None
    )
    evaluator(explainer, loader(explainer, phantoms), handler).run()
    assert all({"radiograph", "image", "label", "pred"} <= keys for keys in seen)
    expected = [
        path.stem
        for path in paths(phantoms)
        if next(
            prediction
            for prediction in explainer.explain(read_radiograph(path)).ranking.predictions
            if prediction.index == index
        ).probability
        > 0.5
    ]
    assert handler.saved == expected
    assert 0 < len(expected) < 3


def test_an_image_that_fails_is_told_and_the_others_are_done(
    explainer: Explainer, phantoms: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def spoil(image: Any) -> Any:
        return image * 3 if image.meta["id"] == IDS[1] else image

    handler = SaveExplanations(tmp_path, explainer, image_key="radiograph", figure_format=None)
    with caplog.at_level(logging.INFO):
        evaluator(explainer, loader(explainer, phantoms, Lambdad("radiograph", spoil)), handler).run()
    assert handler.saved == [IDS[0], IDS[2]]
    (failure,) = handler.failures
    assert isinstance(failure.error, OptionError)
    assert failure.id == IDS[1]
    assert table(tmp_path)[-1]["error"].startswith("found values from")
    assert "2 explanations" in caplog.text
    assert "1 failed" in caplog.text


@pytest.mark.parametrize("part", ["explain", "save"])
def test_a_fault_in_one_image_is_its_own(
    explainer: Explainer, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    if part == "save":
        whole = Explanation.save

        def save(self: Explanation, path: Any) -> Path:
            if self.id == IDS[0]:
                raise OutputError("a full disk")
            return whole(self, path)

        monkeypatch.setattr(Explanation, "save", save)
    else:
        whole_batch = explainer.explain_prepared

        def explain_prepared(inputs: Any, *asked: Any) -> Any:
            if any(model_input.radiograph.id == IDS[0] for model_input in inputs):
                raise RuntimeError("out of memory")
            return whole_batch(inputs, *asked)

        monkeypatch.setattr(explainer, "explain_prepared", explain_prepared)
    handler = SaveExplanations(tmp_path, explainer, image_key="radiograph", figure_format=None)
    evaluator(explainer, loader(explainer, phantoms, batch_size=3), handler).run()
    assert handler.saved == IDS[1:]
    assert [failure.id for failure in handler.failures] == IDS[:1]
    expected = "a full disk." if part == "save" else "an unexpected RuntimeError. Please report it"
    assert str(handler.failures[0].error).startswith(expected)


def test_two_images_of_one_name_keep_apart(explainer: Explainer, phantoms: Path, tmp_path: Path) -> None:
    def rename(image: Any) -> Any:
        image.meta["id"] = "same"
        return image

    handler = SaveExplanations(tmp_path, explainer, image_key="radiograph", figure_format=None)
    engine = evaluator(explainer, loader(explainer, phantoms, Lambdad("radiograph", rename)), handler)
    engine.run()
    digests = [read_radiograph(path).sha256[:8] for path in paths(phantoms)]
    names = ["same", *(f"same-{digest}" for digest in digests[1:])]
    assert handler.saved == names
    engine.run()
    assert handler.saved == names  # a second run starts anew


def test_what_is_asked_in_vain_stops_the_run(explainer: Explainer, phantoms: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="interval=0"):
        SaveExplanations(tmp_path, explainer, interval=0)
    handler = SaveExplanations(tmp_path, explainer, image_key="radiograph", pathologies=["Gout"])
    with pytest.raises(OptionError, match="Gout"):
        evaluator(explainer, loader(explainer, phantoms), handler).run()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="an output folder that cannot be written"):
        evaluator(
            explainer, loader(explainer, phantoms), SaveExplanations(tmp_path / "file" / "out", explainer)
        ).run()


def test_a_missing_key_is_told(explainer: Explainer, phantoms: Path, tmp_path: Path) -> None:
    handler = SaveExplanations(tmp_path, explainer, image_key="chest", figure_format=None)
    evaluator(explainer, loader(explainer, phantoms), handler).run()
    assert len(handler.failures) == 3
    assert "expected image_key='chest'" in str(handler.failures[0].error)


def test_without_ignite_the_extra_is_named(
    explainer: Explainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ignite.engine", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'cxr-explain\[monai\]'"):
        SaveExplanations(tmp_path, explainer).attach(object())
