"""Every message that heads a section of docs/troubleshooting.md is one that the package gives.

Each heading has a function here that does what a user did wrong, with real bad input where that can be made
in a test, and returns the message. A heading without such a function fails, and so does a function without a
heading, so that page and messages cannot drift apart.
"""

from __future__ import annotations

import io
import re
import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydicom import uid
from torch import nn

TESTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))

from radiograph_files import dataset, encode, phantom  # noqa: E402
from weights_server import serving  # noqa: E402

from cxr_explain import (  # noqa: E402
    AuditRun,
    Explainer,
    Explanation,
    HookedClassifier,
    Outputs,
    Radiograph,
    XRVDenseNet,
    ensure_torchvision_imports,
    explain,
    make_manifest,
    read_manifest,
    read_radiograph,
    run_audit,
    token_grid,
)
from cxr_explain.chest.segmentation import Segmenter  # noqa: E402
from cxr_explain.errors import CxrExplainWarning, ReferenceLabelError  # noqa: E402
from cxr_explain.figures.style import Style  # noqa: E402
from cxr_explain.weights import fetch, verify  # noqa: E402

PAGE = TESTS.parent / "docs" / "troubleshooting.md"
HEADING = re.compile(r"^### `(.+)`$", re.MULTILINE)

Provocation = Callable[[Path], object]
PROVOKED_BY: dict[str, Provocation] = {}


def heading(text: str) -> Callable[[Provocation], Provocation]:
    """Say which heading of the page a function provokes; `...` there stands for what differs."""

    def remember(provocation: Provocation) -> Provocation:
        assert text not in PROVOKED_BY
        PROVOKED_BY[text] = provocation
        return provocation

    return remember


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    torch.manual_seed(1)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("CXR_EXPLAIN_WEIGHTS_DIR", "CXR_EXPLAIN_WEIGHTS_URL", "CXR_EXPLAIN_DEBUG"):
        monkeypatch.delenv(name, raising=False)


def test_the_page_and_the_provocations_are_the_same_list() -> None:
    headings = HEADING.findall(PAGE.read_text(encoding="utf-8"))
    assert len(headings) == len(set(headings))
    assert set(headings) == set(PROVOKED_BY)


def said_by(provocation: Provocation, place: Path) -> str:
    """The message: what the function returns, or the text of what it raises."""
    try:
        returned = provocation(place)
    except Exception as error:
        return str(error)
    assert isinstance(returned, str), "nothing went wrong"
    return returned


# --- what the functions below are made of ---


def nobody(_id: int) -> None:
    """No passwd entry."""
    raise KeyError


class Net(nn.Module):
    """A small classifier; `shape` changes what it gives."""

    def __init__(self, outputs: int = 2, shape: Callable[[torch.Tensor], Any] | None = None) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3, 2), nn.ReLU())
        self.aside = nn.Conv2d(4, 1, 1)
        self.head = nn.Linear(4, outputs)
        self.shape = shape

    def forward(self, x: torch.Tensor) -> Any:
        maps = self.body(x / 1024)
        self.aside(maps)
        logits = self.head(maps.mean(dim=(2, 3)))
        return self.shape(logits) if self.shape else logits


def explain_with(module: nn.Module, layer: str = "body", **options: Any) -> Explanation:
    grid, kind = options.pop("grid", None), options.pop("kind", None)
    outputs = Outputs(("Mass", "Edema"), kind=kind)
    classifier = HookedClassifier(module, layer, outputs, input_size=32, grid=grid)
    return Explainer(classifier, **options).explain(grey())


def grey() -> Radiograph:
    return Radiograph.from_array(np.linspace(-900, 900, 40 * 48).reshape(40, 48))


def bundled(**options: Any) -> Explainer:
    return Explainer.from_pretrained("phantom", device="cpu", **options)


def read(place: Path, content: bytes, **options: Any) -> Radiograph:
    path = place / "study"
    path.write_bytes(content)
    return read_radiograph(path, **options)


def dicom(**attributes: Any) -> bytes:
    return encode(dataset(phantom(), **attributes))


def checkpoint(place: Path, content: object) -> Path:
    path = place / "model.pt"
    torch.save(content, path)
    return path


def csv_file(place: Path, text: str, name: str = "table.csv") -> Path:
    path = place / name
    path.write_text(text, encoding="utf-8")
    return path


def images(place: Path) -> Path:
    folder = place / "images"
    folder.mkdir()
    Image.fromarray(phantom(bits=8)).save(folder / "a.png")
    return folder


def audit(place: Path, *, table: str = "image_id,path\na,a.png\n", **options: Any) -> AuditRun:
    folder = place / "images" if (place / "images").exists() else images(place)
    manifest = read_manifest(csv_file(place, table, "manifest.csv"))
    explainer = options.pop("explainer", None) or bundled(allow_phantom_weights=True)
    return run_audit(explainer, manifest, folder, place / "run", **options)


# --- installing ---


@heading("operator torchvision::nms does not exist")
def _(place: Path) -> object:
    """What torchvision's own code does while it is imported, under another name: it may be there already."""
    with pytest.raises(RuntimeError) as caught:
        torch.library.register_fake("nobody_declared::nms")(lambda *boxes: boxes)
    return str(caught.value).replace("nobody_declared", "torchvision")


@heading("found no module ...; expected the packages of the extra")
def _(place: Path) -> object:
    from cxr_explain.support.extras import require

    return require("ray_that_is_not_installed", "ray")


@heading("found device=...; expected cpu, or cuda where present")
def _(place: Path) -> object:
    return Explainer.from_pretrained("phantom", device="cuda:77")


# --- weights ---


@heading("found no file ...; expected the weights")
def _(place: Path) -> object:
    return Explainer.from_pretrained("densenet121-res224-all", weights_dir=place, fetch=False)


@heading("found weights named ...; expected one of")
def _(place: Path) -> object:
    return Explainer.from_pretrained("densenet-all")


@heading("no such checkpoint file")
def _(place: Path) -> object:
    return Explainer.from_pretrained(place / "not_there.pt")


@heading("an HTML page in place of a checkpoint while fetching")
def _(place: Path) -> object:
    with serving(b"<!DOCTYPE html><title>Please log in</title>") as server:
        return fetch("nih", weights_dir=place, url=f"{server.base}/nih.pt", progress=None, backoff=0)


@heading("a connection that failed or broke off, 5 times while fetching")
def _(place: Path) -> object:
    return fetch("nih", weights_dir=place, url="http://127.0.0.1:9/nih.pt", progress=None, backoff=0)


@heading("found SHA-256 ...; expected ... as recorded in")
def _(place: Path) -> object:
    path = checkpoint(place, {"a": torch.zeros(2)})
    verify(path)
    return verify(checkpoint(place, {"a": torch.ones(2)}))


@heading("found SHA-256 ...; expected ... as the package pins it")
def _(place: Path) -> object:
    from cxr_explain.weights.digests import check_pin
    from cxr_explain.weights.folder import place_of
    from cxr_explain.weights.registry import find_entry

    weights = place_of(find_entry("phantom"))
    for each in (weights, weights.with_name(f"{weights.name}.sha256")):
        shutil.copy(each, place)
    return check_pin(place / weights.name, "0" * 64)


@heading("a pickle that asks for")
def _(place: Path) -> object:
    path = place / "model.pt"
    torch.save({"a": Path("code of somebody's own")}, path)
    return Explainer.from_pretrained(path)


@heading("a TorchScript archive, which holds code")
def _(place: Path) -> object:
    path = place / "model.pt"
    torch.jit.script(nn.Linear(2, 2)).save(str(path))
    return Explainer.from_pretrained(path)


@heading("found a Git LFS pointer, not the file it points to; expected a checkpoint")
def _(place: Path) -> object:
    path = place / "model.pt"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    return Explainer.from_pretrained(path)


@heading("found no classification head among")
def _(place: Path) -> object:
    return Explainer.from_pretrained(checkpoint(place, {"head.weight": torch.zeros(2, 3)}))


@heading("found the weights of a segmentation network: masks of ...; expected those of a classifier")
def _(place: Path) -> object:
    return Explainer.from_pretrained("chestx-det", weights_dir=place)


@heading("found the weights of a classifier; expected those of a segmentation network")
def _(place: Path) -> object:
    return Segmenter.from_pretrained("densenet121-res224-all", weights_dir=place)


@heading("found no segmentation network among")
def _(place: Path) -> object:
    return Segmenter.from_pretrained(checkpoint(place, {"head.weight": torch.zeros(2, 3)}))


@heading("tensors that do not fit")
def _(place: Path) -> object:
    state = bundled().classifier.module.state_dict()
    head = {"classifier.weight": torch.zeros(18, 5), "classifier.bias": torch.zeros(18)}
    return Explainer.from_pretrained(checkpoint(place, {**state, **head}))


@heading("outputs without names; expected TorchXRayVision's 18 outputs")
def _(place: Path) -> object:
    return Explainer.from_pretrained(checkpoint(place, bundled().classifier.module.state_dict()))


@heading("found radiograph ..., which is no phantom; expected phantoms")
def _(place: Path) -> object:
    return bundled().explain(grey())


# --- reading a radiograph ---


@heading("a Git LFS pointer; expected DICOM, PNG")
def _(place: Path) -> object:
    return read(place, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


@heading("found an image FOR PROCESSING")
def _(place: Path) -> object:
    return read(place, dicom(PresentationIntentType="FOR PROCESSING"))


@heading("a DICOM object without pixel data")
def _(place: Path) -> object:
    return read(place, dicom(PixelData=None))


@heading("; expected a radiograph (CR, DX, RG)")
def _(place: Path) -> object:
    return read(place, dicom(Modality="CT"))


@heading("frames; expected one frame")
def _(place: Path) -> object:
    return read(place, encode(dataset(np.stack([phantom()] * 3))))


@heading("pixel data in ...Convert the file to Explicit VR Little Endian")
def _(place: Path) -> object:
    import pydicom

    stored = pydicom.dcmread(io.BytesIO(encode(dataset(phantom()), uid.RLELossless)))
    stored.file_meta.TransferSyntaxUID = uid.MPEG2MPML
    stored.save_as(place / "study", implicit_vr=False, little_endian=True)
    return read_radiograph(place / "study")


@heading("bytes of pixel data, cut off at the end of the file; expected")
def _(place: Path) -> object:
    content = dicom()
    return read(place, content[: len(content) - 600])


@heading("found pixel data that is cut off after ... bytes; expected at least")
def _(place: Path) -> object:
    content = encode(dataset(phantom()), uid.JPEG2000Lossless)
    return read(place, content[: len(content) - 600])


@heading("bytes of pixel data; expected")
def _(place: Path) -> object:
    return read(place, dicom(Rows=49))


def relabelled(content: bytes, syntax: uid.UID) -> bytes:
    """A file whose transfer syntax was changed, and whose pixel data were not."""
    import pydicom

    stored = pydicom.dcmread(io.BytesIO(content))
    stored.file_meta.TransferSyntaxUID = syntax
    out = io.BytesIO()
    pydicom.dcmwrite(out, stored)
    return out.getvalue()


@heading("found compressed pixel data ...; expected uncompressed pixel data")
def _(place: Path) -> object:
    packed = encode(dataset(phantom()), uid.JPEG2000Lossless)
    return read(place, relabelled(packed, uid.ExplicitVRLittleEndian))


@heading("found a compressed frame that is ...; expected ..., as the transfer syntax says")
def _(place: Path) -> object:
    packed = encode(dataset(phantom()), uid.JPEG2000Lossless)
    return read(place, relabelled(packed, uid.JPEGBaseline8Bit))


@heading("a compressed frame with negative samples under a header that says unsigned")
def _(place: Path) -> object:
    signed = dataset(phantom().astype(np.int16) - 2048)
    packed = encode(signed, uid.JPEG2000Lossless)
    return read(place, packed.replace(b"\x28\x00\x03\x01US\x02\x00\x01", b"\x28\x00\x03\x01US\x02\x00\x00"))


@heading("found a colour image")
def _(place: Path) -> object:
    colour = np.zeros((20, 20, 3), np.uint8)
    return read(
        place,
        dicom(
            PhotometricInterpretation="RGB",
            SamplesPerPixel=3,
            PlanarConfiguration=0,
            Rows=20,
            Columns=20,
            BitsAllocated=8,
            BitsStored=8,
            HighBit=7,
            PixelData=colour.tobytes(),
        ),
    )


@heading("images in one file (animated or multi-page)")
def _(place: Path) -> object:
    pages = [Image.fromarray(phantom(bits=8, seed=seed)) for seed in range(2)]
    pages[0].save(place / "scan.tif", save_all=True, append_images=pages[1:])
    return read_radiograph(place / "scan.tif")


@heading("pixels; expected at most")
def _(place: Path) -> object:
    return read(place, dicom(), max_pixels=100)


@heading("which torchxrayvision's reader refuses")
def _(place: Path) -> object:
    Image.fromarray(phantom(bits=12)).save(place / "deep.png")
    return read_radiograph(place / "deep.png", xrv_compatible=True)


@heading("found a radiograph read with xrv_compatible=...; expected xrv_compatible=")
def _(place: Path) -> object:
    Image.fromarray(phantom(bits=8)).save(place / "a.png")
    explainer = bundled(allow_phantom_weights=True)
    return explainer.explain(read_radiograph(place / "a.png", xrv_compatible=True))


@heading("found values within [0, 1]; expected values in [-1024, 1024]")
def _(place: Path) -> object:
    return Radiograph.from_array(np.linspace(0, 1, 100).reshape(10, 10))


@heading("found values from ...; expected values in [-1024, 1024]")
def _(place: Path) -> object:
    return Radiograph.from_array(np.linspace(0, 4095, 100).reshape(10, 10))


# --- models and rules ---


@heading("of which no target layer is known; expected")
def _(place: Path) -> object:
    return explain(Net(), torch.zeros(1, 1, 32, 32), outputs=["Mass", "Edema"])


@heading("found torchxrayvision...; expected a classifier of pathologies")
def _(place: Path) -> object:
    ensure_torchvision_imports()
    from torchxrayvision.autoencoders import ResNetAE

    return Explainer(ResNetAE())


@heading("whose outputs have no names; expected a name for each output")
def _(place: Path) -> object:
    return explain(Net(), torch.zeros(1, 1, 32, 32), target_layer="body")


@heading("found an output of shape ...one logit for each pathology")
def _(place: Path) -> object:
    return explain_with(Net(outputs=3))


@heading("found outputs with the same name")
def _(place: Path) -> object:
    return Outputs(("Mass", "Mass"))


@heading("found a model on the device meta")
def _(place: Path) -> object:
    return explain_with(Net().to("meta"))


@heading("found an output of ...; expected a (B, N) tensor of scores")
def _(place: Path) -> object:
    return explain_with(Net(shape=lambda logits: {"pred": logits}))


@heading("; expected logits, or a declaration of what these are")
def _(place: Path) -> object:
    net = Net()
    net.op_threshs = torch.tensor([0.1, 0.2])
    return explain_with(net)


@heading("found kind=... for a model that gives")
def _(place: Path) -> object:
    return explain_with(Net(shape=torch.sigmoid), kind="logits")


@heading("; expected what kind=... says")
def _(place: Path) -> object:
    return explain_with(Net(shape=lambda logits: logits * 10), kind="sigmoids")


@heading("whose logit is lost; expected probabilities between 0 and 1")
def _(place: Path) -> object:
    return explain_with(Net(shape=lambda logits: logits * 0 + 1), kind="sigmoids")


def family(forward: Callable[[Any, torch.Tensor], torch.Tensor]) -> nn.Module:
    ensure_torchvision_imports()
    import torchxrayvision as xrv

    class Mine(xrv.models.DenseNet):
        pass

    Mine.forward = forward  # type: ignore[method-assign]
    return Mine(growth_rate=4, block_config=(1,), num_init_features=4)


@heading("from calling this ..., where its body and head give")
def _(place: Path) -> object:
    return explain(
        family(lambda self, x: self.classifier(self.features2(x)) - self.features(x).mean()), model_inputs()
    )


@heading("found outputs that differ from call to call")
def _(place: Path) -> object:
    return explain(family(lambda self, x: torch.rand(len(x), 18)), model_inputs())


@heading("found scores of an image that depend on the other images in the batch")
def _(place: Path) -> object:
    net = Net(shape=lambda logits: logits - logits.mean(0))
    return explain(net, 1024 * torch.rand(2, 1, 32, 32), outputs=["Mass", "Edema"], target_layer="body")


@heading("found a model that fails when it is called")
def _(place: Path) -> object:
    return explain(family(lambda self, x: self.head(x)), model_inputs())


def model_inputs() -> torch.Tensor:
    return torch.linspace(-900, 900, 64 * 64).reshape(1, 1, 64, 64)


@heading("found inputs of ... channels, where a convolution takes")
def _(place: Path) -> object:
    net = Net()
    net.body[0] = nn.Conv2d(3, 4, 3, 2)
    return explain_with(net)


@heading("within TorchScript, which lets nobody look into it")
def _(place: Path) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that TorchScript is deprecated
        scripted = torch.jit.script(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()))
    return explain_with(scripted, layer="1")


@heading("no layer named")
def _(place: Path) -> object:
    return explain_with(Net(), layer="bdy")


@heading("found a layer that ran ... times in one forward pass")
def _(place: Path) -> object:
    relu = nn.ReLU()
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    return explain_with(nn.Sequential(nn.Conv2d(1, 4, 3, 2), relu, nn.Conv2d(4, 4, 3), relu, *head), "1")


@heading("found scores that do not depend on the target layer's output")
def _(place: Path) -> object:
    return explain_with(Net(), layer="aside")


@heading("found activations of shape ...; expected (B, C, I, J)")
def _(place: Path) -> object:
    return explain_with(Net(), layer="head")


@heading("whose channels may come first or last; expected")
def _(place: Path) -> object:
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    cube = nn.Sequential(nn.Conv2d(1, 4, 8, 8), nn.LayerNorm(4), *head)
    return explain_with(nn.Sequential(cube[:2], *cube[2:]), layer="0")


@heading("found the weights of an attention")
def _(place: Path) -> object:
    class Attention(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.einsum("bchw,bcij->bhi", x, x)[:, None].softmax(-1)

    net = nn.Sequential(nn.Conv2d(1, 4, 8, 8), Attention(), nn.Flatten(), nn.LayerNorm(16), nn.Linear(16, 2))
    return explain_with(net, layer="1")


@heading("for a batch of ...; expected (B, C, I, J), with the images first")
def _(place: Path) -> object:
    windows = nn.Sequential(nn.Conv2d(1, 4, 8, 8), nn.Unflatten(2, (2, 2)), nn.Flatten(0, 1), nn.Identity())
    return explain_with(nn.Sequential(windows, nn.Flatten(), nn.Linear(16, 2)), layer="0.3")


@heading("No gradient reaches")
def _(place: Path) -> object:
    net = Net()
    nn.init.zeros_(net.head.weight)
    return explain_with(net, "body").provenance.notes[-1]


@heading("gives one value for the whole image")
def _(place: Path) -> object:
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    return explain_with(nn.Sequential(nn.Conv2d(1, 4, 3, 2), *head), "1").provenance.notes[-1]


@heading("without an attention that can be seen")
def _(place: Path) -> object:
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    return explain_with(nn.Sequential(nn.Conv2d(1, 4, 3, 2), *head), "0", method="legrad")


@heading("whose attention has the shapes")
def _(place: Path) -> object:
    ensure_torchvision_imports()
    from torchvision.models import SwinTransformer

    swin = SwinTransformer([4, 4], 12, [1, 1], [1, 2], [4, 4], num_classes=2)
    return explain_with(nn.Sequential(nn.Conv2d(1, 3, 1), swin), "1.permute", method="attention-relevance")


class _ReadsTwoBlocks(nn.Module):
    """As linear probes of DINOv2 do."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(1, 20, 16, 16)
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(20, 2, 8, batch_first=True) for _ in range(2))
        self.head = nn.Linear(20, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.blocks[0](self.embed(x).flatten(2).transpose(1, 2))
        return self.head((first + self.blocks[1](first)).mean(dim=1))


@heading("found a head that does not take the tokens of several blocks")
def _(place: Path) -> object:
    return explain_with(_ReadsTwoBlocks(), "embed", method="legrad")


@heading("found tokens of shape")
def _(place: Path) -> object:
    tokens = nn.Sequential(nn.Conv2d(1, 4, 8, 8), nn.Flatten(2), nn.Flatten(1), nn.Linear(64, 2))
    return explain_with(tokens, layer="1", grid=token_grid(4, 4))


@heading("found a head of type ...; expected a linear layer behind global average pooling")
def _(place: Path) -> object:
    ensure_torchvision_imports()
    from torchxrayvision.models import DenseNet

    module = DenseNet(growth_rate=4, block_config=(1, 1), num_init_features=4)
    module.classifier = nn.Sequential(module.classifier, nn.Identity())
    return XRVDenseNet(module, Outputs(("Mass", "Edema")))


@heading("that is not known to be linear; expected global average pooling and one linear layer")
def _(place: Path) -> object:
    return explain_with(Net(), method="cam")


@heading("found scores that are NaN or infinite; expected finite logits")
def _(place: Path) -> object:
    return explain_with(Net(shape=lambda logits: logits * float("nan")))


@heading("found pathologies ...; expected pathologies that this model predicts")
def _(place: Path) -> object:
    return bundled(allow_phantom_weights=True).explain(grey(), pathologies=["Fracture"])


# --- reference labels and manifests ---


@heading("found the columns ...; expected a column")
def _(place: Path) -> object:
    return read_manifest(csv_file(place, "name,file\na,a.png\n"))


@heading("line ...:")
def _(place: Path) -> object:
    return read_manifest(csv_file(place, "image_id,path,age\na,../a.png,\nb,b.png,old\n"))


@heading("the unknown pathology ...; the nearest known is")
def _(place: Path) -> object:
    return make_manifest("csv", csv_file(place, "image,labels\na.png,Efusion\n"))


@heading("taken for columns to group by, and not for labels")
def _(place: Path) -> object:
    return make_manifest("csv", csv_file(place, "image,Mass,PTX\na.png,1,0\n")).notes[0]


@heading("images are in the table")
def _(place: Path) -> object:
    from cxr_explain.reference import coverage_notes, read_references

    standard = read_references(labels=csv_file(place, "image,labels\nb.png,Mass\n"))
    return "; ".join(coverage_notes(standard, [place / "a.png"]))


@heading("images in the image folder, which has")
def _(place: Path) -> object:
    from cxr_explain.reference import check_manifest

    manifest = read_manifest(csv_file(place, "image_id,path\na,b.png\n"))
    return check_manifest(manifest, images(place), []).raise_if_useless()


@heading("expected train/patient00001/study1/view1_frontal.jpg beside the tables")
def _(place: Path) -> object:
    (place / "pictures" / "patient00001").mkdir(parents=True)
    csv_file(place, "Path,Mass,Edema\ntrain/patient00001/study1/view1_frontal.jpg,,1\n", "train.csv")
    return make_manifest("chexpert", place)


@heading("expected NIH's list of that split")
def _(place: Path) -> object:
    source = place / "nih"
    shutil.copytree(TESTS.parent / "data_manifests" / "examples" / "nih", source)
    (source / "test_list.txt").unlink()
    return make_manifest("nih", source, split="test")


@heading("found none of the manifest's images")
def _(place: Path) -> object:
    from cxr_explain.reference import present

    return present(read_manifest(csv_file(place, "image_id,path\na,b.png\n")), images(place))


@heading("boxes in ... pixels for an image of")
def _(place: Path) -> object:
    from cxr_explain.reference import read_references

    table = csv_file(place, "Image Index,Finding Label,Bbox [x,y,w,h],,,\na.png,Mass,1,2,3,4\n")
    return read_references(boxes=table).labels_for("a.png", (300, 200))


@heading("Localisation leaves out")
def _(place: Path) -> object:
    from cxr_explain.audit.localisation import Localisation

    box = '[{""pathology"":""Mass"",""x"":1,""y"":1,""width"":900,""height"":2}]'
    entry = read_manifest(csv_file(place, f'image_id,path,boxes\na,a.png,"{box}"\n'))[0]
    with pytest.raises(ReferenceLabelError) as error:
        entry.boxes_in((300, 200))
    return Localisation((), (str(error.value),)).notes[0]


@heading("images of this name, such as those in lines")
def _(place: Path) -> object:
    from cxr_explain.reference import read_references

    table = csv_file(place, "image,labels\nx/a.png,Mass\ny/a.png,Edema\n")
    return read_references(labels=table).labels_for("a.png", (300, 200))


@heading("found no labels in the columns")
def _(place: Path) -> object:
    from cxr_explain.reference import read_references

    return read_references(labels=csv_file(place, "image,finding\na.png,Mass\n"))


@heading("a mask of ... for an image of")
def _(place: Path) -> object:
    from cxr_explain.reference import read_references

    Image.fromarray(phantom(bits=8)).save(place / "a-mass.png")
    return read_references(masks=place).masks("a.png", (300, 200))


# --- audits ---


@heading("found an audit that differs in")
def _(place: Path) -> object:
    audit(place)
    return audit(place, explainer=bundled(allow_phantom_weights=True, normalisation="per-class"))


@heading("found something else than a part of this audit")
def _(place: Path) -> object:
    audit(place)
    (part,) = (place / "run" / "parts").iterdir()
    part.write_bytes(part.read_bytes()[:-1])
    return audit(place)


@heading("found a file that was changed since it was written")
def _(place: Path) -> object:
    audit(place)
    with (place / "run" / "results.parquet").open("ab") as file:
        file.write(b"more")
    return AuditRun.open(place / "run")


@heading("found an audit that is under way")
def _(place: Path) -> object:
    said: list[str] = []

    def second() -> bool:
        said.append(said_by(audit, place))
        return True

    audit(place, stop=second)
    return said[0]


@heading("a link that leads out of the image folder")
def _(place: Path) -> object:
    Image.fromarray(phantom(bits=8)).save(place / "elsewhere.png")
    (images(place) / "b.png").symlink_to(place / "elsewhere.png")
    run = audit(place, table="image_id,path\nb,b.png\n")
    return run.failures["message"][0].as_py()


@heading("a link that leads out of the run's folder")
def _(place: Path) -> object:
    audit(place)
    (place / "run" / "results.parquet").rename(place / "elsewhere")
    (place / "run" / "results.parquet").symlink_to(place / "elsewhere")
    return AuditRun.open(place / "run").results


@heading("found a place that only place.json names")
def _(place: Path) -> object:
    audit(place)
    (place / "run" / "place.json").write_text('{"images": "s3://bucket/images"}')
    return AuditRun.open(place / "run").case(0).radiograph()


@heading("found a file:// URL of another machine")
def _(place: Path) -> object:
    return AuditRun.open("file://host/run")


@heading("a file that crashes its decoder")
def _(place: Path) -> object:
    from cxr_explain.audit.journal import try_apart

    return try_apart(_Crashing(), "a.png", {})  # type: ignore[arg-type]


class _Crashing:
    """Stands for a decoder's fault, which ends the process that reads the file."""

    def read(self, path: str, options: dict[str, Any]) -> None:
        import os

        os._exit(11)


@heading("an image that failed:")
def _(place: Path) -> object:
    from cxr_explain.audit.results import figure_of

    return figure_of(audit(place, table="image_id,path\na,a.png\ngone,gone.png\n"), "gone")


@heading("found SHA-256 ...; expected the image that was explained")
def _(place: Path) -> object:
    run = audit(place)
    Image.fromarray(phantom(bits=8, seed=1)).save(place / "images" / "a.png")
    return run.case(0).radiograph()


@heading("found no audit; expected a folder with run.json")
def _(place: Path) -> object:
    return AuditRun.open(place)


@heading("found a URL that neither pyarrow nor fsspec can reach")
def _(place: Path) -> object:
    from cxr_explain.audit.place import place_at

    return place_at("nowhere://bucket/run").exists("run.json")


# --- writing ---


@heading("found a file that cannot be written (No space left on device)")
def _(place: Path) -> object:
    """Linux has a device that is always full."""
    from cxr_explain.audit.place import as_output_error

    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    with as_output_error(full):
        full.write_bytes(b"a part of an audit")
    return None


@heading("found an output folder that cannot be written")
def _(place: Path) -> object:
    (place / "results").write_text("in the way")
    return explain_with(Net()).save(place / "results" / "one")


@heading("found a folder that is not empty; expected a new or an empty one")
def _(place: Path) -> object:
    from cxr_explain.phantom.dataset import write_dataset

    (place / "old.txt").write_text("in the way")
    return next(iter(write_dataset(place, n=1, size=64)))


@heading("No font has the letters")
def _(place: Path) -> object:
    explanation = replace(explain_with(Net()), id="\U0001fac1 of nobody's font")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPL_IGNORE_SYSTEM_FONTS", "1")
        with pytest.warns(CxrExplainWarning, match="the figure shows them by their numbers"):
            explanation.figure(missing_letters="number")
        return explanation.figure()


@heading("which is not installed")
def _(place: Path) -> object:
    return Style(fonts=("Tiems New Roman",))


@heading("an explanation that was loaded without its radiograph")
def _(place: Path) -> object:
    return Explanation.load(explain_with(Net()).save(place / "one")).figure()


@heading("found a radiograph with SHA-256 ...; expected the one that was explained")
def _(place: Path) -> object:
    other = Radiograph.from_array(np.zeros((40, 48), np.float32))
    return explain_with(Net()).figure(radiograph=other)


@heading("an unexpected ...Please report it")
def _(place: Path) -> object:
    from cxr_explain.explaining.files import explain_files

    explainer = bundled(allow_phantom_weights=True)

    def fault(radiograph: Radiograph) -> None:
        raise ZeroDivisionError

    explainer.prepare = fault  # type: ignore[method-assign,assignment]
    ((_, error),) = explain_files(explainer, [images(place) / "a.png"], place / "out")
    return str(error)


@heading("found no home folder for ~/.torchxrayvision/models_data")
def _(place: Path) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("HOME")
        patch.setattr("pwd.getpwuid", nobody)
        return fetch("nih")


@heading("The SHA-256 of ... could not be recorded")
def _(place: Path) -> object:
    (place / "state").write_text("in the way")
    with pytest.warns(CxrExplainWarning) as told:
        verify(checkpoint(place, {"a": torch.zeros(2)}))
    return str(told[0].message)


@heading("found a current folder that was deleted")
def _(place: Path) -> object:
    from cxr_explain.cli.surroundings import _check_current_folder

    (place / "gone").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place / "gone")
        (place / "gone").rmdir()
        return _check_current_folder()


@heading("passed over")
def _(place: Path) -> object:
    from cxr_explain.explaining.files import expand_inputs

    folder = images(place)
    (folder / "more").symlink_to(place)
    _, (note,) = expand_inputs([str(folder)])
    return note


@heading("where its figure would replace it")
def _(place: Path) -> object:
    from cxr_explain.explaining.files import explain_files

    path = place / "a.png"
    path.write_bytes(b"a radiograph")
    return list(explain_files(Explainer.from_pretrained("phantom"), [path], place))


@heading("without a name")
def _(place: Path) -> object:
    from cxr_explain.explaining.files import expand_inputs

    return expand_inputs([""])


@heading("no such file")
def _(place: Path) -> object:
    return read_radiograph(place / "not_there.png")


@heading("a file that cannot be read")
def _(place: Path) -> object:
    (place / "a.png").symlink_to("a.png")
    return read_radiograph(place / "a.png")


SLOW = {"a file that crashes its decoder"}  # a process of its own, which imports torch
ALL = [pytest.param(text, marks=pytest.mark.slow if text in SLOW else ()) for text in PROVOKED_BY]


@pytest.mark.parametrize("text", ALL)
def test_the_package_says_what_the_page_quotes(text: str, tmp_path: Path) -> None:
    said = said_by(PROVOKED_BY[text], tmp_path)
    at = 0
    for piece in filter(None, (piece.strip() for piece in text.split("..."))):
        assert piece in said[at:], f"{piece!r} is not in {said!r}"
        at = said.index(piece, at) + len(piece)
