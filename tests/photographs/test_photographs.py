"""Table 3 on photographs: its numbers against a literal reading, frames that maps share, and records."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from benchmarks.how_many_classes import areas, label_count
from benchmarks.photographs.categories import Instances, category_of_class
from benchmarks.photographs.frames import Curves, curves
from benchmarks.photographs.maps import FUSED, OWN, K, maps_of
from benchmarks.photographs.measuring import measure_all, photographs_in, read_records
from benchmarks.photographs.network import Softmax, centred_square, class_names, read_photograph
from benchmarks.photographs.pointing import BEST, Pointed
from benchmarks.photographs.table import MEASURES, own_values, pointing_table, table_three
from cxr_explain.errors import OptionError
from cxr_explain.measures.faithfulness import deletion, insertion
from cxr_explain.measures.subject import baseline_of
from cxr_explain.models.base import Outputs
from cxr_explain.models.pooled_linear import PooledLinearClassifier
from cxr_explain.pathologies import ReferenceBox
from cxr_explain.reference.manifest import Manifest

SIDE, CELLS, CLASSES = 8, 4, 3


def softmax_of(weights: Tensor) -> Callable[[Tensor], NDArray[np.float64]]:
    return lambda frames: torch.einsum("nchw,kchw->nk", frames, weights).softmax(1).numpy()


def tiny(channels: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """An image, the weights of a linear softmax, and four maps, two of which have many zeros."""
    draw = torch.Generator().manual_seed(0)
    image = torch.rand(channels, SIDE, SIDE, dtype=torch.float64, generator=draw)
    weights = torch.randn(CLASSES, channels, SIDE, SIDE, dtype=torch.float64, generator=draw) / 4
    maps = torch.rand(4, CELLS, CELLS, dtype=torch.float64, generator=draw)
    maps[2] = maps[0].where(maps[0] > 0.5, 0)
    maps[3] = maps[1].where(maps[1] > 0.8, 0)
    return image, weights, maps


def shared(maps: Tensor, steps: int) -> Curves:
    image, weights, _ = tiny()
    baselines = {"deletion": torch.zeros_like(image), "insertion": image.mean() * torch.ones_like(image)}
    return curves(softmax_of(weights), image, baselines, maps, steps=steps, seed=3, batch_size=7)


def literal(
    image: Tensor, blank: Tensor, weights: Tensor, values: Tensor, of_class: int, steps: int, inserted: bool
) -> tuple[float, float]:
    """Area and correlation of one curve, step by step, with lists."""
    flat = values.flatten().tolist()
    luck = torch.randperm(len(flat), generator=torch.Generator().manual_seed(3)).tolist()
    order = sorted(luck, key=lambda cell: -flat[cell])  # sorted() is stable
    frame = (blank if inserted else image).clone()
    after = image if inserted else blank
    side = SIDE // CELLS
    scores = [float(softmax_of(weights)(frame[None])[0, of_class])]
    fractions, saliency = [0.0], []
    for step in range(steps):
        cells = [cell for place, cell in enumerate(order) if place * steps // len(flat) == step]
        for cell in cells:
            rows, columns = (slice(each * side, (each + 1) * side) for each in divmod(cell, CELLS))
            frame[:, rows, columns] = after[:, rows, columns]
        scores.append(float(softmax_of(weights)(frame[None])[0, of_class]))
        fractions.append(fractions[-1] + len(cells) / len(flat))
        saliency.append(sum(flat[cell] for cell in cells) / len(cells))
    area = float(np.trapezoid(scores, fractions))
    change = np.diff(scores) * (1 if inserted else -1)
    return area, float(np.corrcoef(saliency, change)[0, 1])


@pytest.mark.parametrize("steps", [16, 5])
def test_the_four_numbers_are_those_of_a_literal_reading(steps: int) -> None:
    image, weights, maps = tiny()
    found = shared(maps, steps).measures
    grey = image.mean() * torch.ones_like(image)
    for m, values in enumerate(maps):
        for k in range(CLASSES):
            gone = literal(image, torch.zeros_like(image), weights, values, k, steps, inserted=False)
            come = literal(image, grey, weights, values, k, steps, inserted=True)
            expected = dict(zip(("DAUC", "DC", "IAUC", "IC"), (*gone, *come), strict=True))
            assert {name: found[name][m, k] for name in expected} == pytest.approx(expected, abs=1e-10)


def test_shared_frames_give_what_each_map_gives_alone() -> None:
    _, _, maps = tiny()
    together = shared(maps, 16)
    alone = [shared(each[None], 16) for each in maps]
    for name, values in together.measures.items():
        np.testing.assert_array_equal(values, np.concatenate([each.measures[name] for each in alone]))
    assert together.passes < sum(each.passes for each in alone) < together.asked


def test_a_grey_image_gives_what_the_package_measures() -> None:
    image, weights, maps = tiny(channels=1)
    blurred = baseline_of(image[None], "blur")[0]
    found = curves(softmax_of(weights), image, {"deletion": blurred, "insertion": blurred}, maps, steps=16)

    def odds(frames: Tensor) -> Tensor:
        return torch.from_numpy(softmax_of(weights)(frames)).logit()

    classes = torch.tensor([[1] * len(maps)])
    for measure, curve in ((deletion, found.deletion), (insertion, found.insertion)):
        own = measure(odds, image[None], classes, maps[None], baseline="blur")
        np.testing.assert_allclose(curve.scores[:, 1], own.scores[0], atol=1e-12)
        np.testing.assert_allclose(curve.area[:, 1], own.area[0], atol=1e-12)
        np.testing.assert_allclose(curve.correlation[:, 1], own.correlation[0], atol=1e-9)


def test_cells_of_unequal_size_are_refused() -> None:
    image, weights, _ = tiny()
    with pytest.raises(OptionError, match=r"\(3, 3\) cells"):
        curves(softmax_of(weights), image, {}, torch.rand(1, 3, 3), steps=9)


def test_a_rank_keeps_its_own_part_and_per_class_norms_change_its_scale_alone() -> None:
    draw = torch.Generator().manual_seed(1)
    activations = torch.rand(1, 6, 7, 7, generator=draw)
    weights = torch.randn(1, K, 6, generator=draw)
    maps = maps_of(activations, weights, "table")
    raw = torch.einsum("kc,cij->kij", weights[0].double(), activations[0].double()) / 6
    strongest = raw.argmax(dim=0)
    for k in range(K):
        part = raw[k].where(strongest == k, 0)
        torch.testing.assert_close(maps[OWN][k], raw[k].clamp(min=0))
        norm = torch.linalg.vector_norm(raw.amax(dim=0))
        torch.testing.assert_close(maps[FUSED][k], (part / norm).clamp(min=0))
        own = torch.linalg.vector_norm(part)
        torch.testing.assert_close(maps["per-class"][k] * own, maps[FUSED][k] * norm)
    whole = maps_of(activations, weights, "whole")["whole, joint"]
    torch.testing.assert_close(whole[0], maps[FUSED].sum(dim=0))


class Net(nn.Module):
    """A network of 7 x 7 cells with a softmax of 8 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 6, 32, 32)
        self.head = nn.Linear(6, 8)
        nn.init.normal_(self.head.weight)

    def body(self, image: Tensor) -> Tensor:
        return self.convolution(image).relu()


@pytest.fixture(scope="module")
def classifier() -> PooledLinearClassifier:
    torch.manual_seed(0)
    net = Net()
    outputs = Outputs([f"thing {n}" for n in range(8)], kind="softmax-logits")
    return PooledLinearClassifier(
        net, net.body, net.head, outputs, input_size=224, name="net", target_layer="body"
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photographs of noise in the shared folder's layout."""
    found = tmp_path_factory.mktemp("photographs")
    (found / "images").mkdir()
    draw = np.random.default_rng(0)
    for name, shape in (("images/000000000007.jpg", (30, 50, 3)), ("both.png", (40, 40, 3))):
        Image.fromarray(draw.integers(0, 256, shape, np.uint8)).save(found / name)
    return found


def run(folder: Path, classifier: PooledLinearClassifier, into: Path, steps: int = 7) -> Any:
    def softmax(inputs: Tensor, classes: Sequence[int]) -> NDArray[np.float64]:
        return classifier.logits(inputs).double().softmax(1)[:, list(classes)].numpy()

    return measure_all(photographs_in(folder), classifier, softmax, into, part="table", steps=steps)  # type: ignore[arg-type]


def test_a_run_that_was_stopped_goes_on_where_it_was(
    folder: Path, classifier: PooledLinearClassifier, tmp_path: Path
) -> None:
    assert next(run(folder, classifier, tmp_path)) == ("000000000007", 1)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "table").iterdir()}
    assert list(run(folder, classifier, tmp_path)) == [("both", 0)]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    with pytest.raises(OptionError, match="steps=9 beside records of 7"):
        next(run(folder, classifier, tmp_path, steps=9))

    records = read_records(tmp_path, "table")
    for name, record in records.items():
        path = next(path for path in photographs_in(folder) if path.stem == name)
        probabilities = classifier.logits(read_photograph(path)[None])[0].double().softmax(0)
        best = probabilities.argsort(descending=True)[:K].tolist()
        assert record["classes"] == best  # the classes that were meant, not 0 to 4
        assert record["probabilities"] == pytest.approx(probabilities[best].tolist())
        assert record["passes"] < record["asked"]


def test_the_table_has_the_means_of_the_records(
    folder: Path, classifier: PooledLinearClassifier, tmp_path: Path
) -> None:
    list(run(folder, classifier, tmp_path))
    records = list(read_records(tmp_path, "table").values())
    records[1]["measures"][FUSED]["IC"][4][4] = None
    rows = [line.split(" | ") for line in table_three(records) if line.startswith("| ")]
    text = {(cells[0].strip("| "), cells[1]): [cell.strip("| ") for cell in cells[2:]] for cells in rows}
    for rank in range(K):
        for at, measure in enumerate(MEASURES):
            fused, own = (_numbers(records, name, measure, rank, rank) for name in (FUSED, OWN))
            first = _numbers(records, OWN, measure, 0, rank)
            wanted = {FUSED: fused, BEST: first, f"{FUSED} less {OWN} of the rank": fused - own}
            for label, values in wanted.items():
                there = values[~np.isnan(values)]
                shown = text[label, str(rank + 1)][at].split(" ")[0]
                if len(there):
                    assert float(shown) == pytest.approx(there.mean(), abs=5.1e-4)
                else:
                    assert shown == "–"
    assert np.isnan(own_values(records, FUSED)[4, "IC"][1])


def _numbers(records: Sequence[Any], name: str, measure: str, row: int, rank: int) -> NDArray[np.float64]:
    return np.array([record["measures"][name][measure][row][rank] for record in records], np.float64)


def test_the_square_is_the_centre() -> None:
    assert centred_square(30, 50) == (0, 10, 30, 40)


def test_each_class_is_of_one_category_and_dogs_are_dogs() -> None:
    names = class_names()
    found = category_of_class(names)
    of = {names[index]: category for index, category in found.items()}
    wanted = {
        "bull mastiff": "dog",
        "tiger cat": "cat",
        "crane bird": "bird",
        "zebra": "zebra",
        "stove": "oven",
        "cab": "car",
    }
    assert {name: of[name] for name in wanted} == wanted
    assert not {"timber wolf", "cougar", "scuba diver", "book jacket"} & set(of)
    assert sum(category == "dog" for category in of.values()) == 118


def test_outlines_are_polygons_or_run_lengths_and_may_be_texts(tmp_path: Path) -> None:
    square = [0, 0, 1, 0, 1, 1, 0, 1]
    outlines = [
        [square],
        {"size": [3, 4], "counts": [9, 3]},
        "[[3, 0, 3, 2]]",
        {"size": [3, 4], "counts": "93"},
    ]
    document = {
        "images": [{"id": "5", "file_name": "5.jpg", "height": 3, "width": 4}],
        "categories": [{"id": 1, "name": "cat"}, {"id": "2", "name": "dog"}, {"id": 3, "name": "cup"}],
        "annotations": [
            {"image_id": 5, "category_id": category, "segmentation": outline}
            for category, outline in zip(("1", 2, 1, 3), outlines, strict=True)
        ],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(document))
    masks = Instances(path).masks("5")
    assert Instances(path).photographs == ("5",)
    assert masks["cat"].astype(int).tolist() == [[1, 1, 0, 1], [1, 1, 0, 1], [0, 0, 0, 1]]
    assert masks["dog"].astype(int).tolist() == masks["cup"].astype(int).tolist() == [[0, 0, 0, 1]] * 3


def test_pointing_is_compared_where_both_maps_have_a_peak() -> None:
    def case(name: str, fused: float | None, own: float) -> Pointed:
        hits = {FUSED: fused, OWN: own, BEST: 1.0}
        return Pointed(name, 1, "cat", hits, hits, random=0.25, centre=0.0, first=True)

    lines = list(pointing_table([case("a", 1.0, 0.0), case("b", None, 1.0), case("c", 0.0, 0.0)]))
    cells = {line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ") for line in lines}
    assert cells[FUSED][1] == "2"
    assert cells[FUSED][2].startswith("0.500")
    assert cells[OWN][2].startswith("0.333")
    assert cells["FM-G-CAM less Grad-CAM"][2].startswith("0.500")


def test_labels_are_counted_without_devices_and_boxes_as_shares_of_the_image() -> None:
    boxes = {0: (ReferenceBox("Mass", 0, 0, 512, 1024),), 2: (ReferenceBox("Mass", 0, 0, 256, 1024),)}
    states = [[1, 1, 1], [0, -1, 1], [1, -1, 0], [0, -3, 1]]
    manifest = Manifest(
        "abcd",
        [f"{name}.png" for name in "abcd"],
        pathologies=("Mass", "Edema", "Support Devices"),
        states=states,
        boxes=boxes,
        box_spaces=dict.fromkeys(boxes, (1024, 1024)),
    )
    found = label_count("x", manifest)
    assert (found.images, found.of, found.mean, found.shares[1]) == (2, 4, 1.5, 0.5)
    unsure = label_count("x", manifest, uncertain=True)
    assert (unsure.images, unsure.mean) == (3, pytest.approx(5 / 3))
    assert [(each.name, each.boxes, each.mean) for each in areas(manifest)] == [
        ("Mass", 2, 0.375),
        ("all boxes", 2, 0.375),
    ]


@pytest.mark.slow  # torch's exporter takes seconds
def test_an_engine_gives_torchs_probabilities(classifier: PooledLinearClassifier, folder: Path) -> None:
    example = torch.stack([read_photograph(path) for path in photographs_in(folder)])
    softmax = Softmax(classifier, "onnxruntime", example)
    expected = classifier.logits(example).double().softmax(1)[:, [2, 0]]
    np.testing.assert_allclose(softmax(example, [2, 0]), expected, atol=1e-6)
    assert softmax.off < 1e-6
