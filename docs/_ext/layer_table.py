"""The table of docs/how_to/layers.md: which layer of which model to name, and what comes out.

`python docs/_ext/layer_table.py` builds every model as its library publishes it, with random weights, looks
at the layer, and writes the table anew. `tests/models/test_architectures.py` does the same with a small model
of the same class, and compares scores and maps.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

import cxr_explain as cxr

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how_to" / "layers.md"
NAMES = ("Effusion", "Mass", "Pneumothorax")

_TABLE = re.compile(r"<!-- table -->\n.*?<!-- /table -->", re.DOTALL)

Build = Callable[[], nn.Module]


@dataclass(frozen=True)
class Row:
    """A model, and the layer of it to explain.

    Args:
        library: the library's name.
        model: what the library calls the model.
        layer: the layer to name; None for a model that is passed as it is.
        published: builds the model as it is published, with random weights.
        small: builds a small one of the same class.
        small_layer: the same layer in the small one.
        remark: what else is to be known.
        size: side of the published model's input.
        small_size: side of the small one's.
        channels: how many the input has.
    """

    library: str
    model: str
    layer: str | None
    published: Build
    small: Build
    small_layer: str | None = None
    remark: str = ""
    size: int = 224
    small_size: int = 64
    channels: int = 3

    def __str__(self) -> str:
        return f"{self.library} {self.model}"

    def classifier(self, module: nn.Module, *, small: bool) -> cxr.Classifier:
        """The classifier of one of the two models."""
        layer = (self.small_layer or self.layer) if small else self.layer
        size = self.small_size if small else self.size
        outputs = cxr.Outputs(NAMES)
        if layer is None:
            adapter = {"monai": cxr.MonaiDenseNet}.get(type(module).__module__.partition(".")[0])
            adapter = adapter or (cxr.XRVResNet if hasattr(module, "fc") else cxr.XRVDenseNet)
            return adapter(module, outputs, input_size=size)
        prepare = cxr.imagenet_input if self.channels == 3 else None
        return cxr.HookedClassifier(module, layer, outputs, input_size=size, prepare=prepare)


def _made(path: str, **options: Any) -> Build:
    """A model of a library that is imported when it is built."""

    def build() -> nn.Module:
        cxr.ensure_torchvision_imports()
        module, _, name = path.rpartition(".")
        return getattr(import_module(module), name)(**options)

    return build


def _timm(name: str, **options: Any) -> Build:
    return _made("timm.create_model", model_name=name, num_classes=3, **options)


def _monai(name: str, **options: Any) -> Build:
    return _made(f"monai.networks.nets.{name}", spatial_dims=2, **options)


def _hugging_face(name: str, **options: Any) -> Build:
    """One of Hugging Face's classifiers, whose `forward` gives an object with logits."""

    def build() -> nn.Module:
        cxr.ensure_torchvision_imports()
        transformers = import_module("transformers")
        config = getattr(transformers, f"{name}Config")(num_labels=3, **options)
        return getattr(transformers, f"{name}ForImageClassification")(config)

    return build


def _torchvision_convnext() -> nn.Module:
    cxr.ensure_torchvision_imports()
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    return ConvNeXt([CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 1)], num_classes=3)


_TV = "torchvision.models"
_SMALL_DENSE = {"growth_rate": 8, "block_config": (2, 2), "num_init_features": 16}
_SMALL_SWIN = {
    "patch_size": [4, 4], "embed_dim": 12, "depths": [1, 1], "num_heads": [1, 2], "window_size": [4, 4],
    "num_classes": 3,
}  # fmt: skip
_SMALL_VIT = {
    "image_size": 64, "patch_size": 16, "num_layers": 2, "num_heads": 2, "hidden_dim": 32, "mlp_dim": 64,
    "num_classes": 3,
}  # fmt: skip
_GREY = {"in_channels": 1, "num_classes": 3}
_BEFORE = "the values before its ReLU"
_LAST = "behind it, no gradient reaches the patches"

ROWS = (
    Row("torchvision", "resnet50", "layer4",
        _made(f"{_TV}.resnet50", num_classes=3), _made(f"{_TV}.resnet18", num_classes=3)),
    Row("torchvision", "densenet121", "features", _made(f"{_TV}.densenet121", num_classes=3),
        _made(f"{_TV}.DenseNet", num_classes=3, **_SMALL_DENSE), remark=_BEFORE),
    Row("torchvision", "efficientnet_b0", "features",
        _made(f"{_TV}.efficientnet_b0", num_classes=3), _made(f"{_TV}.efficientnet_b0", num_classes=3)),
    Row("torchvision", "mobilenet_v3_small", "features",
        _made(f"{_TV}.mobilenet_v3_small", num_classes=3), _made(f"{_TV}.mobilenet_v3_small", num_classes=3)),
    Row("torchvision", "convnext_tiny", "features",
        _made(f"{_TV}.convnext_tiny", num_classes=3), _torchvision_convnext),
    Row("torchvision", "swin_t", "permute", _made(f"{_TV}.swin_t", num_classes=3),
        _made(f"{_TV}.SwinTransformer", **_SMALL_SWIN)),
    Row("torchvision", "swin_v2_t", "norm", _made(f"{_TV}.swin_v2_t", num_classes=3),
        _made(f"{_TV}.SwinTransformer", **_SMALL_SWIN)),
    Row("torchvision", "vit_b_16", "encoder.layers.encoder_layer_11.ln_1",
        _made(f"{_TV}.vit_b_16", num_classes=3), _made(f"{_TV}.VisionTransformer", **_SMALL_VIT),
        "encoder.layers.encoder_layer_1.ln_1", _LAST),
    Row("timm", "resnet50", "layer4", _timm("resnet50"), _timm("resnet10t")),
    Row("timm", "densenet121", "features", _timm("densenet121"),
        _timm("densenet121", growth_rate=8, block_config=(2, 2))),
    Row("timm", "efficientnet_b0", "bn2", _timm("efficientnet_b0"), _timm("efficientnet_b0")),
    Row("timm", "mobilenetv3_large_100", "blocks", _timm("mobilenetv3_large_100"),
        _timm("mobilenetv3_small_050")),
    Row("timm", "convnext_tiny", "stages", _timm("convnext_tiny"),
        _timm("convnext_atto", depths=(1, 1, 1, 1))),
    Row("timm", "swin_tiny_patch4_window7_224", "norm", _timm("swin_tiny_patch4_window7_224"),
        _timm("swin_tiny_patch4_window7_224", img_size=64, window_size=4, embed_dim=12, depths=(1, 1),
              num_heads=(1, 2))),
    Row("timm", "vit_base_patch16_224", "blocks.11.norm1", _timm("vit_base_patch16_224"),
        _timm("vit_tiny_patch16_224", img_size=64, depth=2, embed_dim=48), "blocks.1.norm1", _LAST),
    Row("timm", "vit_small_patch14_reg4_dinov2", "blocks.11.norm1", _timm("vit_small_patch14_reg4_dinov2"),
        _timm("vit_small_patch14_reg4_dinov2", img_size=56, depth=2, embed_dim=48), "blocks.1.norm1", _LAST,
        size=518, small_size=56),
    Row("MONAI", "DenseNet121", None, _monai("DenseNet121", in_channels=1, out_channels=3),
        _monai("DenseNet", in_channels=1, out_channels=3, init_features=8, growth_rate=4,
               block_config=(2, 2)), channels=1),
    Row("MONAI", "resnet18", "layer4", _monai("resnet18", n_input_channels=1, num_classes=3),
        _monai("resnet10", n_input_channels=1, num_classes=3), channels=1),
    Row("MONAI", "SEResNet50", "layer4", _monai("SEResNet50", **_GREY),
        _monai("SEResNet50", layers=(1, 1, 1, 1), **_GREY), channels=1),
    Row("MONAI", "EfficientNetBN", "_bn1",
        _monai("EfficientNetBN", model_name="efficientnet-b0", pretrained=False, **_GREY),
        _monai("EfficientNetBN", model_name="efficientnet-b0", pretrained=False, **_GREY),
        remark="the values before its Swish", channels=1),
    Row("Hugging Face", "ViTForImageClassification", "vit.layers.11.layernorm_before", _hugging_face("ViT"),
        _hugging_face("ViT", hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
                      image_size=64), "vit.layers.1.layernorm_before", _LAST),
    Row("Hugging Face", "SwinForImageClassification", "swin.layernorm", _hugging_face("Swin"),
        _hugging_face("Swin", embed_dim=12, depths=[1, 1], num_heads=[1, 2], window_size=4, image_size=64)),
    Row("Hugging Face", "ConvNextForImageClassification", "convnext.encoder.stages.3",
        _hugging_face("ConvNext"),
        _hugging_face("ConvNext", hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1])),
    Row("TorchXRayVision", "DenseNet", None, _made("torchxrayvision.models.DenseNet", num_classes=3),
        _made("torchxrayvision.models.DenseNet", num_classes=3, **_SMALL_DENSE), channels=1),
    Row("TorchXRayVision", "ResNet", None, lambda: cxr.XRVResNet.empty(num_classes=3),
        lambda: cxr.XRVResNet.empty(num_classes=3), size=512, channels=1),
)  # fmt: skip
"""The models, in the order of the table."""


def line_of(row: Row) -> str:
    """The row as the table has it: what the published model gives at the layer."""
    torch.manual_seed(0)
    classifier = row.classifier(row.published().eval(), small=False)
    forward = classifier.forward(torch.rand(1, 1, row.size, row.size) * 2048 - 1024)
    _, channels, rows, columns = forward.activations.shape
    read = "; ".join((*map(_read, forward.notes), row.remark)).strip("; ") or "the same"
    layer = f"`{row.layer}`" if row.layer else f"none to name: `{classifier.target_layer}`"
    maps = f"{channels} x {rows} x {columns}"
    return f"| {row.library} | `{row.model}` | {layer} | {row.size} | {maps} | {read} |"


def _read(note: str) -> str:
    """What was done, without the name of the layer."""
    return re.sub(r"^\S+ gives ", "", note)


def table() -> str:
    """The whole table."""
    head = "| library | model | layer | input | maps (C x I x J) | what the layer gives |"
    return "\n".join((head, "|---|---|---|---|---|---|", *map(line_of, ROWS)))


def written(text: str) -> str:
    """The page with the table put in."""
    return _TABLE.sub(lambda _: f"<!-- table -->\n{table()}\n<!-- /table -->", text)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
