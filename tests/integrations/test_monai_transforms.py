"""The dictionary transforms in MONAI's own pipelines, data sets, loaders and inverses."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diagonal import diagonal
from monai.data import (
    CacheDataset,
    DataLoader,
    Dataset,
    MetaTensor,
    PersistentDataset,
    decollate_batch,
    list_data_collate,
)
from monai.data.utils import no_collation
from monai.transforms import (
    CenterSpatialCropd,
    Compose,
    Flipd,
    Invertd,
    LoadImaged,
    MapTransform,
    Resized,
    Rotate90d,
    SaveImaged,
    ScaleIntensityd,
    Spacingd,
)
from PIL import Image
from torch.nn import functional as F

from cxr_explain import Explainer, Explanation, HookedClassifier, read_radiograph
from cxr_explain.errors import OptionError, PhantomWeightsError
from cxr_explain.integrations.monai import FMGCAM, ExplainRadiographd, PrepareRadiographd, ReadRadiographd

READ = ReadRadiographd("image")
FILES = 3


def files(phantoms: Path) -> list[dict[str, str]]:
    return [{"image": str(path)} for path in sorted((phantoms / "images").glob("*.png"))]


def back(item: dict[str, Any], pipeline: Compose, key: str = "image_fused_map") -> MetaTensor:
    return Invertd(key, transform=pipeline, orig_keys="image", nearest_interp=False)(dict(item))[key]


def test_reading_takes_the_loaders_options_and_several_keys(phantoms: Path) -> None:
    path = sorted((phantoms / "dicom").glob("*.dcm"))[0]
    item = ReadRadiographd(["a", "b"], voi="none", allow_missing_keys=True)({"a": path, "c": 7})
    np.testing.assert_array_equal(item["a"][0].numpy(), read_radiograph(path, voi="none").pixels)
    assert item["c"] == 7
    with pytest.raises(KeyError, match="Key `b`"):
        ReadRadiographd(["a", "b"])({"a": path})


def test_a_file_that_is_no_radiograph_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("not an image")
    with pytest.raises(RuntimeError) as raised:
        Compose([READ])({"image": tmp_path / "a.png"})
    assert "a.png: found" in str(raised.value.__cause__)


def test_the_map_is_the_explainers_in_the_images_pixels(explainer: Explainer, upright: Path) -> None:
    item = Compose([READ, ExplainRadiographd("image", explainer, top_k=3, keep_explanation=True)])(
        {"image": upright}
    )
    expected = explainer.explain(read_radiograph(upright), top_k=3)
    fused = item["image_fused_map"]
    assert fused.shape == (3, 256, 216)
    np.testing.assert_array_equal(fused.numpy(), expected.maps_in_radiograph())
    torch.testing.assert_close(fused.affine, item["image"].affine)
    assert fused.meta["filename_or_obj"] == "upright.png"
    assert item["image_pathologies"] == list(expected.ranking.pathologies)
    assert item["image_probabilities"].tolist() == pytest.approx(
        [prediction.probability for prediction in expected.ranking.top]
    )
    explanation: Explanation = item["image_explanation"]
    assert explanation.provenance == expected.provenance
    assert "image_explanation" not in ExplainRadiographd("image", explainer)(READ({"image": upright}))


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(
    "transform",
    [Flipd("image", 0), Flipd("image", 1), Rotate90d("image", k=1), Rotate90d("image", k=3)],
    ids=["rows", "columns", "left", "right"],
)
def test_turns_are_seen_through_and_undone_exactly(
    explainer: Explainer, upright: Path, transform: MapTransform, lazy: bool
) -> None:
    pipeline = Compose([READ, transform, ExplainRadiographd("image", explainer, top_k=3)], lazy=lazy)
    item = pipeline({"image": upright})
    assert item["image_fused_map"].shape[1:] == item["image"].shape[1:]
    expected = explainer.explain(read_radiograph(upright), top_k=3).maps_in_radiograph()
    np.testing.assert_array_equal(back(item, pipeline).numpy(), expected)


@pytest.mark.parametrize("lazy", [False, True])
def test_a_resized_map_is_carried_back_by_monais_inverse(
    explainer: Explainer, upright: Path, lazy: bool
) -> None:
    pipeline = Compose(
        [
            READ,
            Resized("image", (128, 108), mode="bilinear", align_corners=False),
            ExplainRadiographd("image", explainer, top_k=3),
        ],
        lazy=lazy,
    )
    item = pipeline({"image": upright})
    there = item["image_fused_map"]
    assert there.shape == (3, 128, 108)
    expected = F.interpolate(there.as_tensor()[None], (256, 216), mode="bilinear", align_corners=False)[0]
    found = back(item, pipeline)
    assert found.shape == (3, 256, 216)
    torch.testing.assert_close(found.as_tensor(), expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(found.affine, READ({"image": upright})["image"].affine)


def test_a_cropped_map_is_carried_back_to_its_place(explainer: Explainer, upright: Path) -> None:
    pipeline = Compose(
        [READ, CenterSpatialCropd("image", (200, 180)), ExplainRadiographd("image", explainer, top_k=3)]
    )
    item = pipeline({"image": upright})
    found = back(item, pipeline)
    assert found.shape == (3, 256, 216)
    torch.testing.assert_close(
        found[:, 28:228, 18:198].as_tensor(), item["image_fused_map"].as_tensor(), atol=1e-6, rtol=0
    )
    found[:, 28:228, 18:198] = 0
    assert not found.any()


@pytest.mark.parametrize("lazy", [False, True])
def test_a_map_in_another_spacing_is_carried_back(explainer: Explainer, upright: Path, lazy: bool) -> None:
    """The map of half of the pixels, carried back, is nearly that of all pixels: one model saw both."""
    pipeline = Compose(
        [
            READ,
            Spacingd("image", (2.0, 2.0), mode="bilinear"),
            ExplainRadiographd("image", explainer, top_k=1),
        ],
        lazy=lazy,
    )
    item = pipeline({"image": upright})
    assert item["image_fused_map"].shape == (1, 128, 108)
    found = back(item, pipeline)[0].numpy()
    whole = explainer.explain(read_radiograph(upright), pathologies=item["image_pathologies"], top_k=1)
    expected = whole.maps_in_radiograph()[0]
    assert found.shape == expected.shape
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.9


def test_monais_orientation_gives_the_layout_of_its_readers(explainer: Explainer, upright: Path) -> None:
    pytest.importorskip("nibabel")
    from monai.transforms import Orientationd

    labels = (("L", "R"), ("P", "A"), ("I", "S"))
    orientation = Orientationd("image", axcodes="RA", labels=labels)
    pipeline = Compose([READ, orientation, ExplainRadiographd("image", explainer, top_k=3)])
    item = pipeline({"image": upright})
    monais = LoadImaged("image", ensure_channel_first=True)({"image": upright})["image"]
    torch.testing.assert_close(
        (item["image"].as_tensor() + 1024) * 255 / 2048, monais.as_tensor(), atol=1e-3, rtol=0
    )
    expected = explainer.explain(read_radiograph(upright), top_k=3).maps_in_radiograph()
    np.testing.assert_array_equal(item["image_fused_map"].numpy(), expected.swapaxes(1, 2))
    np.testing.assert_array_equal(back(item, pipeline).numpy(), expected)


def test_monais_writer_names_files_by_the_safe_id(
    explainer: Explainer, upright: Path, tmp_path: Path
) -> None:
    """Its PNG writer swaps the axes whatever the affine says; turned by hand the picture is upright."""
    item = Compose([READ, ScaleIntensityd("image")])({"image": upright})
    swapped = dict(item) | {"image": item["image"].transpose(1, 2)}
    SaveImaged(
        "image", output_dir=tmp_path, output_ext=".png", output_postfix="", separate_folder=False, scale=255,
        resample=False, print_log=False,
    )(swapped)  # fmt: skip
    with Image.open(tmp_path / "upright.png") as written, Image.open(upright) as original:
        assert written.size == original.size
        difference = np.abs(np.asarray(written, float) / 255 - item["image"][0].numpy())
    assert difference.max() < 1 / 200


def test_prepared_inputs_are_the_explainers(explainer: Explainer, upright: Path) -> None:
    item = Compose([READ, PrepareRadiographd("image", explainer)])({"image": upright})
    expected = explainer.prepare(read_radiograph(upright))
    assert torch.equal(item["image"].as_tensor(), expected.tensor)
    geometry = expected.geometry
    for row, column in ((0, 0), (10, 200), (223, 223)):
        centre = geometry.points_to_radiograph([[column + 0.5, row + 0.5]])[0] - 0.5
        x, y = (item["image"].affine @ torch.tensor([row, column, 0, 1.0], dtype=torch.float64))[:2]
        np.testing.assert_allclose((x, y), centre, atol=1e-9)


@pytest.mark.parametrize(("fit", "k"), diagonal(["crop", "pad"], [0, 1, 2, 3]))
def test_maps_of_prepared_inputs_are_carried_back(upright: Path, fit: Any, k: int) -> None:
    explainer = Explainer.from_pretrained("phantom", device="cpu", fit=fit)
    pipeline = Compose([READ, Rotate90d("image", k=k), PrepareRadiographd("image", explainer)])
    item = pipeline({"image": upright})
    maps = torch.rand(2, 7, 7)
    large = F.interpolate(maps[None], (224, 224), mode="bilinear", align_corners=False)[0]
    item["map"] = MetaTensor(large).copy_meta_from(item["image"])
    found = back(item, pipeline, "map")
    geometry = explainer.prepare(read_radiograph(upright)).geometry
    np.testing.assert_allclose(found.numpy(), geometry.maps_to_radiograph(large.numpy()), atol=1e-6)
    torch.testing.assert_close(found.affine, READ({"image": upright})["image"].affine, atol=1e-9, rtol=0)


def test_fm_g_cam_and_the_inverse_give_the_explanations_map(upright: Path) -> None:
    """Batches through FMGCAM and one by one through ExplainRadiographd end at the same maps."""
    loaded = Explainer.from_pretrained("phantom", device="cpu")
    layer = "features.denseblock2"
    classifier = HookedClassifier(
        loaded.classifier.module, layer, loaded.classifier.outputs, input_size=loaded.classifier.input_size
    )
    explainer = Explainer(classifier)
    pipeline = Compose([READ, PrepareRadiographd("image", explainer)])
    batch = list_data_collate([pipeline({"image": upright}), pipeline({"image": upright})])
    batch["map"] = FMGCAM(classifier.module, layer, top_k=3)(batch["image"])
    found = back(decollate_batch(batch)[1], pipeline, "map")
    explanation = explainer.explain(read_radiograph(upright), top_k=3)
    expected = explanation.maps_in_radiograph()
    assert found.shape == expected.shape
    # Interpolated twice: at most the slope, the maximum over a cell's width, for half a pixel each time.
    pixels_in_a_cell = 216 / explanation.maps.shape[-1]
    assert float(np.abs(found.numpy() - expected).max()) < float(expected.max()) / pixels_in_a_cell
    assert np.corrcoef(found.numpy().ravel(), expected.ravel())[0, 1] > 0.99


@pytest.mark.parametrize(("kind", "workers"), diagonal([Dataset, CacheDataset], [2, 0]))
def test_data_sets_loaders_and_collation(phantoms: Path, kind: Any, workers: int) -> None:
    pipeline = Compose([READ, ExplainRadiographd("image", "phantom", top_k=3, device="cpu")])
    options = {"progress": False, "num_workers": 2} if kind is CacheDataset else {}
    loader = DataLoader(kind(files(phantoms), pipeline, **options), batch_size=FILES, num_workers=workers)
    (batch,) = loader
    assert batch["image"].shape == (FILES, 1, 256, 256)
    assert batch["image_fused_map"].shape == (FILES, 3, 256, 256)
    assert batch["image_probabilities"].shape == (FILES, 3)
    another = ExplainRadiographd("image", "phantom", top_k=3, device="cpu")
    for number, item in enumerate(decollate_batch(batch)):
        alone = pipeline(files(phantoms)[number])
        assert item["image_pathologies"] == alone["image_pathologies"]
        assert item["image"].meta["id"] == alone["image"].meta["id"]
        assert item["image"].meta["phantom"]
        torch.testing.assert_close(item["image_fused_map"], alone["image_fused_map"])
        again = another({"image": item["image"]})
        torch.testing.assert_close(again["image_fused_map"], alone["image_fused_map"])


def test_images_of_which_different_things_are_known_collate(phantoms: Path) -> None:
    """A PNG without a view or a spacing beside a DICOM file with both."""
    dicom = sorted((phantoms / "dicom").glob("*.dcm"))[0]
    batch = list_data_collate([READ({"image": dicom}), READ(files(phantoms)[0])])
    first, second = decollate_batch(batch)
    assert first["image"].meta["view"] == "PA"
    assert second["image"].meta["view"] == ""


def test_a_persistent_cache_keeps_the_metadata_if_it_is_told_to(phantoms: Path, tmp_path: Path) -> None:
    """By default MONAI's PersistentDataset drops all metadata, and with them what the axes are."""
    options = {"transform": Compose([READ]), "cache_dir": tmp_path, "track_meta": True, "weights_only": False}
    for _ in range(2):
        item = PersistentDataset(files(phantoms), **options)[0]
        assert ExplainRadiographd("image", "phantom", device="cpu")(item)["image_fused_map"].shape[0] == 5


def test_ranks_of_different_lengths(explainer: Explainer, phantoms: Path) -> None:
    explain = ExplainRadiographd("image", explainer, above_operating_point=True)
    items = [Compose([READ, explain])(file) for file in files(phantoms)]
    lengths = [len(item["image_pathologies"]) for item in items]
    assert [item["image_fused_map"].shape[0] for item in items] == lengths
    assert len(set(lengths)) > 1
    loader = DataLoader(Dataset(files(phantoms), Compose([READ, explain])), batch_size=FILES,
                        collate_fn=no_collation)  # fmt: skip
    (batch,) = loader
    assert [len(item["image_fused_map"]) for item in batch] == lengths


def test_pathologies_are_chosen_and_those_unknown_refused(explainer: Explainer, upright: Path) -> None:
    chosen = ExplainRadiographd("image", explainer, pathologies=iter(["Mass", "Edema"]))
    for _ in range(2):
        assert set(chosen(READ({"image": upright}))["image_pathologies"]) == {"Mass", "Edema"}
    with pytest.raises(OptionError):
        ExplainRadiographd("image", explainer, pathologies="Gout")(READ({"image": upright}))


def test_missing_keys(explainer: Explainer, upright: Path) -> None:
    item = READ({"image": upright})
    for transform in (ExplainRadiographd, PrepareRadiographd):
        assert "image" in transform(["image", "prior"], explainer, allow_missing_keys=True)(item)
        with pytest.raises(KeyError, match="prior"):
            transform(["image", "prior"], explainer)(item)


def test_a_model_that_knows_phantoms_alone_refuses_the_rest(explainer: Explainer, tmp_path: Path) -> None:
    Image.fromarray(np.arange(6400, dtype=np.uint16).reshape(80, 80).astype(np.uint8)).save(
        tmp_path / "a.png"
    )
    item = READ({"image": tmp_path / "a.png"})
    for transform in (ExplainRadiographd, PrepareRadiographd):
        with pytest.raises(PhantomWeightsError, match="radiograph a, which is no phantom"):
            transform("image", explainer)(item)
    allowed = ExplainRadiographd("image", "phantom", allow_phantom_weights=True, device="cpu")(item)
    assert allowed["image_fused_map"].shape == (5, 80, 80)


def test_only_the_name_of_weights_goes_to_another_process(upright: Path) -> None:
    transform = ExplainRadiographd("image", "phantom", top_k=2, device="cpu")
    item = READ({"image": upright})
    here = transform(item)
    packed = pickle.dumps(transform)
    assert len(packed) < 2000
    there = pickle.loads(packed)(item)
    torch.testing.assert_close(there["image_fused_map"], here["image_fused_map"])


def test_without_metadata_the_axes_must_be_said(explainer: Explainer, upright: Path, untracked: None) -> None:
    item = READ({"image": upright})
    with pytest.raises(OptionError, match="axes='rows-columns'"):
        ExplainRadiographd("image", explainer)(item)
    options = {"axes": "rows-columns", "allow_phantom_weights": True, "device": "cpu"}
    assert not isinstance(
        ExplainRadiographd("image", "phantom", **options)(item)["image_fused_map"], MetaTensor
    )
    assert PrepareRadiographd("image", "phantom", **options)(item)["image"].shape == (1, 224, 224)
