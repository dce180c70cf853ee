"""Many images at once: only the culprit fails, names keep apart, and no pixels stay."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from networks import small_xrv
from PIL import Image

from cxr_explain import Explainer, Explanation, Radiograph, XRVDenseNet
from cxr_explain.errors import CxrExplainError, ModelError, OptionError, OutputError
from cxr_explain.explaining import many
from cxr_explain.explaining.files import explain_files
from cxr_explain.explaining.many import Outcome, Saved, attempt, explain_in_batches
from cxr_explain.explaining.output_names import OutputNames
from cxr_explain.explaining.preprocessing import ModelInput
from cxr_explain.explaining.settings import RankingSettings
from cxr_explain.loaders.settings import ReadSettings


def explainer(**options: object) -> Explainer:
    return Explainer(XRVDenseNet(small_xrv(), input_size=64), **options)  # type: ignore[arg-type]


def radiograph(seed: int) -> Radiograph:
    values = np.random.default_rng(seed).uniform(-1024, 1024, (70, 80))
    return Radiograph.from_array(values.astype(np.float32), id=f"r{seed}")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Four files: two of one name in two folders, and one that is none."""
    paths = [tmp_path / name for name in ("a/x.png", "b/x.png", "a/y.png")]
    for seed, path in enumerate(paths):
        path.parent.mkdir(exist_ok=True)
        grey = np.random.default_rng(seed).integers(0, 256, (60, 70)).astype(np.uint8)
        Image.fromarray(grey).save(path)
    torn = tmp_path / "a" / "torn.png"
    torn.write_bytes(paths[0].read_bytes()[:400])
    return [*paths[:2], torn, paths[2]]


def spoiled(index: int, **options: object) -> Explainer:
    """An explainer whose model cannot be shown one of the images, nor any batch with it."""
    made = explainer(**options)
    whole = made.classifier.forward
    bad = made.prepare(radiograph(index)).tensor

    def forward(inputs):  # type: ignore[no-untyped-def]
        if any(bool((one == bad).all()) for one in inputs):
            raise RuntimeError("out of memory")
        return whole(inputs)

    made.classifier.forward = forward  # type: ignore[method-assign]
    return made


def outcomes_of(
    made: Explainer, images: Sequence[tuple[int, ModelInput | CxrExplainError]], batch_size: int
) -> list[Outcome[int]]:
    batches = explain_in_batches(made, images, RankingSettings(top_k=2), batch_size)
    return [outcome for batch in batches for outcome in batch]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 10])
def test_only_the_culprit_fails_and_all_keep_their_places(batch_size: int) -> None:
    made = spoiled(2)
    unread = ModelError("no image")
    images = [(seed, unread if seed == 4 else made.prepare(radiograph(seed))) for seed in range(6)]
    found = outcomes_of(made, images, batch_size)
    assert [outcome.item for outcome in found] == list(range(6))
    for outcome in found:
        if outcome.item == 2:
            assert str(outcome.found).startswith("an unexpected RuntimeError. Please report it")
            assert outcome.image is not None
        elif outcome.item == 4:
            assert outcome.found is unread
            assert outcome.image is None
        else:
            assert not isinstance(outcome.found, CxrExplainError)
            assert outcome.found.explanation.id == f"r{outcome.item}"
            assert outcome.milliseconds > 0


def test_a_batch_of_large_images_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pixels wait in memory for the whole batch; those that were let go do not count."""
    made = explainer()
    images = [(seed, made.prepare(radiograph(seed))) for seed in range(5)]
    slim = [(seed, replace(image, radiograph=image.radiograph.without_pixels())) for seed, image in images]
    monkeypatch.setattr(many, "_MOST_PIXELS", radiograph(0).pixels.size)

    def sizes(given: Sequence[tuple[int, ModelInput]]) -> list[int]:
        return [len(batch) for batch in explain_in_batches(made, given, RankingSettings(top_k=2), 4)]

    assert sizes(images) == [2, 2, 1]
    assert sizes(slim) == [4, 1]


def test_what_is_asked_in_vain_of_every_image_is_said_once() -> None:
    made = explainer()
    images = [(seed, made.prepare(radiograph(seed))) for seed in range(2)]
    with pytest.raises(OptionError, match="Gout"):
        list(explain_in_batches(made, images, RankingSettings(pathologies=("Gout",)), 2))


def test_a_fault_is_raised_where_somebody_looks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    fault = attempt(lambda: {}["x"])
    assert isinstance(fault, CxrExplainError)
    assert isinstance(fault.__cause__, KeyError)
    monkeypatch.setenv("CXR_EXPLAIN_DEBUG", "1")
    with pytest.raises(KeyError):
        attempt(lambda: {}["x"])
    with pytest.raises(OutputError):
        raise attempt(lambda: (_ for _ in ()).throw(OutputError("full")).__next__())


def test_files_become_outputs_in_their_order(files: list[Path], tmp_path: Path) -> None:
    results = list(
        explain_files(explainer(), files, tmp_path / "out", asked=RankingSettings(top_k=2), batch_size=3)
    )
    assert [path for path, _ in results] == files
    saved = [result for _, result in results if isinstance(result, Saved)]
    (failed,) = [(path, result) for path, result in results if isinstance(result, CxrExplainError)]
    assert failed[0].name == "torn.png"
    assert str(failed[0]) in str(failed[1])
    digest = saved[1].radiograph.sha256[:8]
    assert [one.explanation.id for one in saved] == ["x", f"x-{digest}", "y"]
    for one in saved:
        assert one.explanation.radiograph is None
        assert one.radiograph.shape == (60, 70)
        assert one.figure is not None
        assert one.figure.read_bytes().startswith(b"\x89PNG")
        assert Explanation.load(one.json).provenance == one.explanation.provenance


def test_no_pixels_stay_behind(files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most a batch of radiographs is there at a time, although all results are kept."""
    alive: weakref.WeakSet[np.ndarray] = weakref.WeakSet()
    most = 0
    whole = ReadSettings.read

    def read(self: ReadSettings, path: Path) -> Radiograph:
        nonlocal most
        found = whole(self, path)
        alive.add(found.pixels)
        gc.collect()
        most = max(most, len(alive))
        return found

    monkeypatch.setattr(ReadSettings, "read", read)
    kept = list(explain_files(explainer(), files, tmp_path / "out", batch_size=1))
    gc.collect()
    assert len(kept) == len(files)
    assert not alive
    assert most <= 2, "a batch, and the figure that was drawn last"


def test_a_reader_that_disagrees_is_refused_before_any_file(files: list[Path], tmp_path: Path) -> None:
    reading = ReadSettings(xrv_compatible=True)
    with pytest.raises(OptionError, match="xrv_compatible=True; expected xrv_compatible=False"):
        next(explain_files(explainer(), files, tmp_path / "out", reading=reading))
    results = explain_files(explainer(xrv_compatible=True), files[:1], tmp_path / "out")
    ((_, saved),) = results
    assert isinstance(saved, Saved)
    assert saved.radiograph.xrv_compatible


def test_no_two_images_share_a_name_even_where_one_is_called_like_the_others_way_out() -> None:
    names = OutputNames()
    one, other, third = (Radiograph.from_array(np.full((2, 2), value), id="a") for value in (2.0, 3.0, 4.0))
    taken = replace(third, id=f"a-{other.sha256[:8]}")
    given = [names.give(each).id for each in (one, other, taken, one, other, taken)]
    assert given[:3] == given[3:]
    assert len(set(given)) == 3
