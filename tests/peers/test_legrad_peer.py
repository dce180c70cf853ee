"""LeGrad beside the authors' package, legrad-torch 1.1: CLIP's image tower, random weights, float64.

The package's map is upsampled, and its least value becomes 0, its largest 1; ours is the same, then. Each
block's score is there that of the mean of all tokens, where CLIP itself reads the class token: the model here
has that head, so that both are asked for the same. Of Chefer's rule no package was found: the authors'
repository is none, and captum 0.9 and pytorch-grad-cam 1.5 do not have it.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cxr_explain import HookedClassifier, Outputs, class_maps, ensure_torchvision_imports
from cxr_explain.cam.attention import LeGrad

ensure_torchvision_imports()
pytestmark = pytest.mark.peers
INSTALL = "(pip install legrad-torch==1.1)"
open_clip_model = pytest.importorskip("open_clip.model", reason=f"needs open_clip {INSTALL}")
legrad = pytest.importorskip("legrad", reason=f"needs legrad-torch {INSTALL}")

DEPTH = 4
PROMPTS = F.normalize(
    torch.randn(3, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2)), dim=1
)


class TokensSecond(nn.Module):
    """A block of OpenCLIP, which takes (T, B, C), for (B, T, C)."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x.transpose(0, 1)).transpose(0, 1)


class Tower(nn.Module):
    """CLIP's image tower, and the likeness to each prompt of the mean of all tokens."""

    def __init__(self, visual: Any) -> None:
        super().__init__()
        self.visual = visual
        self.blocks = nn.ModuleList(TokensSecond(block) for block in visual.transformer.resblocks)

    def forward(self, x: Tensor) -> Tensor:
        visual = self.visual
        x = visual.conv1(x).flatten(2).transpose(1, 2)
        x = torch.cat([visual.class_embedding.expand(len(x), 1, -1), x], dim=1)
        x = visual.ln_pre(x + visual.positional_embedding)
        for block in self.blocks:
            x = block(x)
        return F.normalize(visual.ln_post(x.mean(dim=1)) @ visual.proj, dim=-1) @ PROMPTS.T


@pytest.fixture(scope="module")
def clip() -> Any:
    torch.manual_seed(0)
    vision = {"layers": DEPTH, "width": 32, "head_width": 16, "patch_size": 16, "image_size": 64}
    text = {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1}
    model = open_clip_model.CLIP(embed_dim=16, vision_cfg=vision, text_cfg=text).double().eval()
    for part in model.modules():
        if isinstance(part, (nn.Linear, nn.Conv2d)):
            nn.init.normal_(part.weight, 0, 0.3)
        if isinstance(part, nn.MultiheadAttention):
            nn.init.normal_(part.in_proj_weight, 0, 0.5)
    return model


def as_clip_takes_it(inputs: Tensor) -> Tensor:
    return inputs.expand(-1, 3, -1, -1) / 1024


@pytest.mark.parametrize("blocks", [1, 2, DEPTH])
def test_the_maps_are_those_of_the_authors_package(clip: Any, blocks: int) -> None:
    outputs = Outputs(("a", "b", "c"), kind="logits")
    tower = Tower(copy.deepcopy(clip.visual))
    classifier = HookedClassifier(tower, "visual.conv1", outputs, input_size=64, prepare=as_clip_takes_it)
    inputs = torch.rand(1, 1, 64, 64, dtype=torch.float64) * 2048 - 1024
    ours = class_maps(classifier, inputs, torch.tensor([0, 1, 2]), method=LeGrad(blocks))
    theirs = legrad.LeWrapper(copy.deepcopy(clip), layer_index=DEPTH - blocks)
    for k, prompt in enumerate(PROMPTS):
        expected = theirs.compute_legrad(prompt[None], image=as_clip_takes_it(inputs))
        fine = F.interpolate(ours[:, k : k + 1], scale_factor=16, mode="bilinear")
        found = (fine - fine.min()) / (fine.max() - fine.min())
        torch.testing.assert_close(found, expected.reshape(found.shape), rtol=1e-9, atol=1e-12)
