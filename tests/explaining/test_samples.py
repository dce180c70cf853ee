"""TorchXRayVision's data sets, and bare tensors, as they come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from networks import NAMES, images, small_net, small_xrv, snapshot, unsettle
from torch.utils.data import DataLoader

import cxr_explain as cxr
from cxr_explain import Explainer, Radiograph, XRVDenseNet
from cxr_explain.errors import ModelError, OptionError, PhantomWeightsError, RadiographError
from cxr_explain.explaining.samples import inputs_of, radiograph_of, reference_of
from cxr_explain.figures.palette import PREFERRED
from cxr_explain.phantom.dataset import write_dataset


@pytest.fixture(scope="module")
def nih(tmp_path_factory: pytest.TempPathFactory):
    """TorchXRayVision's own reader of NIH ChestX-ray14, over phantoms in that layout."""
    import torchxrayvision as xrv

    folder: Path = tmp_path_factory.mktemp("nih")
    for _ in write_dataset(folder, n=6, seed=3, size=96, bits=12):
        pass
    return xrv.datasets.NIH_Dataset(
        imgpath=str(folder / "images"),
        csvpath=str(folder / "Data_Entry_2017_v2020.csv"),
        bbox_list_path=str(folder / "BBox_List_2017.csv"),
        views=["PA", "AP"],
        unique_patients=False,
    )


@pytest.mark.parametrize("as_text", [True, False])
@pytest.mark.parametrize("xrv_compatible", [True, False])
def test_a_path_is_read_as_the_explainer_prepares_it(nih, as_text: bool, xrv_compatible: bool) -> None:
    explainer = Explainer(small_xrv(), xrv_compatible=xrv_compatible)
    path = sorted(Path(nih.imgpath).glob("*.png"))[0]
    found = explainer.explain(str(path) if as_text else path)
    read = cxr.read_radiograph(path, xrv_compatible=xrv_compatible)
    assert found.radiograph == read or np.array_equal(found.radiograph.pixels, read.pixels)
    assert found.ranking == explainer.explain(read).ranking
    both = explainer.explain_batch([path, read])
    assert both[0].ranking == both[1].ranking
    with pytest.raises(RadiographError, match=r"nowhere\.png"):
        explainer.explain("nowhere.png")
    with pytest.raises(OptionError, match="one str; expected a sequence of radiographs"):
        explainer.explain_batch(str(path))
    with pytest.raises(OptionError, match=r"a str; .*Radiographs, and files by their paths"):
        cxr.explain(small_xrv(), str(path))  # type: ignore[arg-type]


def test_a_sample_of_a_data_set_is_explained_as_its_pixels_are(nih) -> None:
    explainer = Explainer(small_xrv())
    sample = nih[1]
    one = explainer.explain(sample, top_k=3)
    other = explainer.explain(Radiograph.from_array(sample["img"][0], id="sample-1"), top_k=3)
    assert one.id == "sample-1"
    np.testing.assert_array_equal(one.maps, other.maps)
    assert one.provenance == other.provenance
    assert one.figure(dpi=40) is not None


def test_samples_and_radiographs_may_stand_in_one_batch(nih) -> None:
    explainer = Explainer(small_xrv())
    both = explainer.explain_batch([nih[0], radiograph_of(nih[2])], top_k=2)
    assert [explanation.id for explanation in both] == ["sample-0", "sample-2"]


def test_the_view_is_that_of_the_data_sets_table(nih) -> None:
    import torchxrayvision as xrv

    views = nih.csv["view"].tolist()
    assert {"PA", "AP"} >= set(views)
    part = xrv.datasets.SubsetDataset(nih, [4, 2])
    for at, whole in ((0, 4), (1, 2)):
        assert reference_of(nih[whole], nih).labels.view == views[whole]
        assert reference_of(part[at], part).labels.view == views[whole]
        assert reference_of(nih[whole], nih.pathologies).labels.view is None
    merged = xrv.datasets.MergeDataset([part, nih])
    assert reference_of(merged[3], merged).labels.view is None
    found = Explainer(small_xrv()).explain(nih[0], top_k=1, data_set=nih)
    said = "\n".join(text.get_text() for text in found.figure(dpi=40).findobj(Text))
    assert f"view {views[0]} (from reference table)" in said


def test_a_model_for_phantoms_refuses_samples(nih) -> None:
    explainer = Explainer.from_pretrained("phantom")
    with pytest.raises(PhantomWeightsError, match="radiograph sample-0"):
        explainer.explain(nih[0])


def test_a_collated_batch_is_explained_like_its_tensor(nih) -> None:
    module = small_xrv()
    (batch,) = DataLoader(nih, batch_size=len(nih))
    from_loader = cxr.explain(module, batch, top_k=3)
    expected = Explainer(XRVDenseNet(module)).explain_inputs(batch["img"], top_k=3)
    assert [r.pathologies for r in from_loader.rankings] == [r.pathologies for r in expected.rankings]
    for one, other in zip(from_loader.fused, expected.fused, strict=True):
        torch.testing.assert_close(one.maps, other.maps, rtol=0, atol=0)
    single = cxr.explain(module, nih[0], top_k=3)
    assert len(single) == 1
    torch.testing.assert_close(single.fused[0].maps, from_loader.fused[0].maps, rtol=0, atol=1e-5)


def test_any_module_and_its_own_inputs() -> None:
    module, inputs = small_net(), images(3)
    unsettle(module)
    before = snapshot(module)
    batch = cxr.explain(module, inputs, outputs=NAMES, target_layer="5", top_k=2, method="hirescam")
    assert snapshot(module) == before
    assert len(batch) == 3
    assert batch.maps_in_inputs(1, (64, 64)).shape == (2, 64, 64)
    assert batch.gradient == "autograd"


def test_another_layer_of_a_torchxrayvision_model_is_explained_by_its_logits() -> None:
    """With operating points, as published weights have them, the model's own output is calibrated values."""
    module, inputs, layer = small_xrv().eval(), images(2), "features.denseblock1"
    module.op_threshs = torch.full((18,), 0.1)
    batch = cxr.explain(module, inputs, target_layer=layer, top_k=3)
    expected = Explainer(XRVDenseNet(module), target_layers=[layer]).explain_inputs(inputs, top_k=3)
    for one, other in zip(batch.rankings, expected.rankings, strict=True):
        assert [p.logit for p in one.top] == [p.logit for p in other.top]
    torch.testing.assert_close(batch.fused[0].maps, expected.fused[0].maps, rtol=0, atol=0)
    logits = module.classifier(torch.relu(module.features(inputs)).mean(dim=(2, 3)))
    assert batch.rankings[0].top[0].logit == pytest.approx(logits[0].max().item(), abs=1e-4)
    with pytest.raises(OptionError, match="Scale first"):
        cxr.explain(module, torch.rand(1, 1, 64, 64), target_layer=layer)


def test_another_layer_of_a_classifier() -> None:
    classifier = XRVDenseNet(small_xrv())
    batch = cxr.explain(classifier, images(1), target_layer="features.denseblock1", top_k=2)
    assert batch.gradient == "autograd"


def test_inputs_that_require_gradients_keep_their_graph() -> None:
    inputs = images(2).requires_grad_()
    batch = cxr.explain(small_net(), inputs * 1.0, outputs=NAMES, target_layer="5")
    assert inputs.grad is None
    assert not batch.fused[0].maps.requires_grad
    assert batch.overlays(inputs).shape == (2, 64, 64, 3)


def test_the_models_leave_as_they_came_after_an_error() -> None:
    module = small_net()
    before = snapshot(module)
    with pytest.raises(ModelError):
        cxr.explain(module, images(1), outputs=NAMES[:-1], target_layer="5")
    assert snapshot(module) == before


def test_an_overlay_shows_a_pathology_in_the_colour_of_that_pathology() -> None:
    """Where one class alone has evidence, the input is tinted with its colour, by the overlay's formula."""
    inputs = torch.zeros(1, 1, 8, 8)
    batch = cxr.BatchMaps(
        (cxr.rank([2.0, 1.0], ["Mass", "Edema"]),),
        (cxr.fuse(torch.tensor([[[[1.0, 0.0]], [[0.0, 0.0]]]])),),
        "closed form",
    )
    colour = [int(PREFERRED["Mass"][at : at + 2], 16) for at in (1, 3, 5)]
    (overlay,) = batch.overlays(inputs)
    np.testing.assert_allclose(overlay[4, 0], np.array(colour) * 0.6, atol=1.5)
    assert not overlay[4, -1].any()


def test_other_shapes_are_refused() -> None:
    batch = cxr.explain(small_net(), images(2), outputs=NAMES, target_layer="5")
    with pytest.raises(OptionError, match=r"expected the \(2, C, H, W\) explained"):
        batch.overlays(images(3))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (torch.rand(1, 1, 64, 64), r"Scale first: \(2 \* x - 1\) \* 1024"),
        (torch.rand(1, 1, 64, 64) * 255 * 16, r"Scale first: \(2 \* x / maximum - 1\) \* 1024"),
        (torch.full((1, 1, 64, 64), float("nan")), "values from nan"),
    ],
)
def test_torchxrayvisions_models_refuse_inputs_that_were_not_scaled(
    inputs: torch.Tensor, message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        cxr.explain(small_xrv(), inputs)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ("study.dcm", 'found a str; expected a tensor, or a mapping with "img"'),
        ({"image": torch.zeros(1, 8, 8)}, 'found the keys image; expected "img"'),
    ],
)
def test_what_is_no_batch_is_refused(batch: object, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        inputs_of(batch)  # type: ignore[arg-type]


def test_a_sample_of_three_channels_is_refused() -> None:
    with pytest.raises(OptionError, match=r'"img" of shape \(3, 8, 8\); expected \(1, H, W\)'):
        radiograph_of({"img": np.zeros((3, 8, 8), np.float32)})


def test_a_samples_labels_and_masks_are_read_with_its_data_set(nih) -> None:
    """Against the table and the boxes that TorchXRayVision read."""
    nih.pathology_masks = True
    try:
        at = int(np.flatnonzero(nih.csv["has_masks"])[0])
        sample = nih[at]
        explanation = Explainer(small_xrv()).explain(sample, data_set=nih, top_k=2)
    finally:
        nih.pathology_masks = False
    reference = explanation.reference
    positive = set(filter(None, nih.csv["Finding Labels"][at].split("|"))) - {"No Finding"}
    assert {name for name, state in reference.labels.states.items() if state == "positive"} == positive
    assert len(reference.labels.states) == 14
    assert reference.labels.source == "the sample's, of NIH_Dataset"
    rows = nih.pathology_maskscsv
    rows = rows[rows["Image Index"] == nih.csv["Image Index"][at]]
    assert (
        {box.pathology for box in reference.labels.boxes}
        == set(rows["Finding Label"])
        == set(reference.masks)
    )
    for name, mask in reference.masks.items():
        (index,) = (i for i in sample["pathology_masks"] if nih.pathologies[i] == name)
        np.testing.assert_array_equal(mask, sample["pathology_masks"][index][0] > 0)
    text = "".join(each.get_text() for each in explanation.figure(dpi=40).figure.findobj(Text))
    assert "the sample's, of NIH_Dataset" in text


def test_without_the_data_set_no_label_is_guessed(nih) -> None:
    reference = Explainer(small_xrv()).explain(nih[0], top_k=1).reference
    assert reference.labels.states == {}
    assert reference.labels.source == "not read: 14 labels without names; give data_set"
    assert Explainer(small_xrv()).explain(radiograph_of(nih[0]), top_k=1).reference is None


def test_what_a_sample_says() -> None:
    mask = np.zeros((1, 6, 8), np.float32)
    mask[0, 1:3, 2:5] = mask[0, 4:6, 6:8] = 1
    corner = np.tril(np.ones((6, 8), np.float32))
    sample = {
        "img": torch.zeros(1, 6, 8),
        "lab": np.array([1, 0, np.nan, 1], np.float32),
        "pathology_masks": {0: mask, 1: torch.from_numpy(corner), 2: mask * 0},
    }
    reference = reference_of(sample, ["pleural effusion", "Mass", "Edema", "No Finding"])
    assert reference.labels.states == {"Effusion": "positive", "Mass": "negative"}
    boxes = [(box.pathology, box.x, box.y, box.width, box.height) for box in reference.labels.boxes]
    assert boxes == [("Effusion", 2, 1, 3, 2), ("Effusion", 6, 4, 2, 2)]  # a triangle is no box
    assert set(reference.masks) == {"Effusion", "Mass"}
    with pytest.raises(OptionError, match="1 names for 4 labels"):
        reference_of(sample, ["Mass"])
    with pytest.raises(OptionError, match=r"a mask of shape \(3, 3\); expected that of the image, \(6, 8\)"):
        reference_of({**sample, "pathology_masks": {0: np.ones((3, 3))}}, ["a", "b", "c", "d"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lab": ["a", "b"]}, '"lab" of type list without numbers'),
        (
            {"pathology_masks": {2: np.ones((1, 4, 4))}},
            "a mask of the pathology 2; expected a number from 0 to 1",
        ),
        ({"pathology_masks": {-1: np.ones((1, 4, 4))}}, "a mask of the pathology -1"),
        ({"pathology_masks": [np.ones((1, 4, 4))]}, '"pathology_masks" as a list'),
        ({"img": None}, '"img" of type NoneType'),
        ({"img": "a.png"}, '"img" of type str'),
    ],
)
def test_samples_that_nobody_can_read(change: dict[str, object], message: str) -> None:
    sample = {
        "img": torch.zeros(1, 4, 4),
        "lab": np.array([1.0, 0.0]),
        "pathology_masks": {0: np.ones((1, 4, 4))},
    }
    with pytest.raises(OptionError, match=message):
        reference_of({**sample, **change}, ["Mass", "Edema"])


def test_samples_of_others() -> None:
    """NumPy's numbers name masks, "idx" may be a name, and PyTorch's subsets have their data set's names."""

    class Named(torch.utils.data.Dataset):
        pathologies = ("Mass", "Edema")

    sample = {"img": torch.zeros(1, 4, 4), "lab": np.array([1.0, 0.0]), "idx": "case-7"}
    sample |= {"pathology_masks": {np.int64(1): np.ones((1, 4, 4))}}
    found = reference_of(sample, torch.utils.data.Subset(Named(), [0]))
    assert found.labels.states == {"Mass": "positive", "Edema": "negative"}
    assert set(found.masks) == {"Edema"}
    assert radiograph_of(sample).id == "sample-case-7"
    assert radiograph_of({**sample, "idx": torch.tensor(7)}).id == "sample-7"
