"""Small vision transformers of several libraries, and their attention as each library itself gives it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pytest
import torch
from networks import randomise
from torch import Tensor, nn
from torch.nn import functional as F

from cxr_explain import HookedClassifier, Outputs, imagenet_input

NAMES = ("Mass", "Edema", "Effusion", "Nodule")


@dataclass(frozen=True)
class Looked:
    """One image's pass as the library gives it: A of each block, (H, T, T); tokens (T, C); and the head."""

    weights: list[Tensor]
    tokens: list[Tensor]
    head: Callable[[Tensor], Tensor]
    scores: Tensor


@dataclass(frozen=True)
class Case:
    """A transformer.

    Args:
        build: the module, with random weights.
        look: from a copy of the module and (1, 3, S, S) to what its own code does with them.
        layer: a layer that the CAM family would explain.
        skip: how many leading tokens are no patches.
        rows: which rows of the relevance the map is: "class", "patches", or both.
        size: side of the images; patches are 4 x 4 of them.
        rtol: to which the library's own weights are exact: Hugging Face's ViT takes its softmax in float32.
    """

    build: Callable[[], nn.Module]
    look: Callable[[Any, Tensor], Looked]
    layer: str
    skip: int = 1
    rows: tuple[str, ...] = ("class",)
    size: int = 64
    rtol: float = 1e-8

    def classifier(self, module: nn.Module | None = None) -> HookedClassifier:
        module = self.module() if module is None else module
        return HookedClassifier(
            module, self.layer, Outputs(NAMES), input_size=self.size, prepare=imagenet_input
        )

    def module(self) -> nn.Module:
        torch.manual_seed(0)
        return randomise(self.build()).double().eval()

    def images(self, count: int = 2) -> Tensor:
        generator = torch.Generator().manual_seed(1)
        shape = (count, 1, self.size, self.size)
        return torch.rand(shape, generator=generator, dtype=torch.float64) * 2048 - 1024

    def looked(self, module: nn.Module, image: Tensor) -> Looked:
        return self.look(copy.deepcopy(module), imagenet_input(image))


def torchvision_vit(layers: int = 3) -> nn.Module:
    from torchvision.models import VisionTransformer

    return VisionTransformer(64, 16, layers, 2, 32, 64, num_classes=len(NAMES))


def look_at_torchvision(module: Any, image: Tensor) -> Looked:
    """The forward pass of torchvision's ViT, written out from its parameters."""
    patches = module.conv_proj(image).flatten(2).transpose(1, 2)
    x = torch.cat([module.class_token, patches], dim=1)[0] + module.encoder.pos_embedding[0]
    weights, tokens = [], []
    for block in module.encoder.layers:
        attention, y = block.self_attention, block.ln_1(x)
        matrices = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
        q, k, v = (y @ matrix.T + bias for matrix, bias in zip(*matrices, strict=True))
        d = q.shape[1] // attention.num_heads
        A = torch.stack(
            [
                torch.softmax(q[:, h * d : (h + 1) * d] @ k[:, h * d : (h + 1) * d].T / d**0.5, dim=1)
                for h in range(attention.num_heads)
            ]
        )
        mixed = [A[h] @ v[:, h * d : (h + 1) * d] for h in range(attention.num_heads)]
        x = x + attention.out_proj(torch.cat(mixed, dim=1))
        x = x + block.mlp(block.ln_2(x))
        weights.append(A)
        tokens.append(x)
    head = lambda z: module.heads(module.encoder.ln(z)[:1])[0]  # noqa: E731
    return Looked(weights, tokens, head, head(x))


def timm(name: str, **options: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        pytest.importorskip("timm", reason="needs timm (pip install 'cxr-explain[dev]')")
        return import_module("timm").create_model(name, num_classes=len(NAMES), embed_dim=48, **options)

    return build


def look_at_timm(module: Any, image: Tensor) -> Looked:
    """timm's own attention without its fused kernel; what goes into the dropout are the weights."""
    weights: list[Tensor] = []
    tokens: list[Tensor] = []
    for block in module.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda _, given, __: weights.append(given[0]))
        block.register_forward_hook(lambda _, __, output: tokens.append(output))
    scores = module(image)[0]
    head = lambda z: module.forward_head(module.norm(z[None]))[0]  # noqa: E731
    return Looked(weights, tokens, head, scores)


def _config(name: str, **options: Any) -> Any:
    transformers = pytest.importorskip("transformers", reason="needs transformers (cxr-explain[dev])")
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 64}
    settings = {**sizes, "patch_size": 16, "num_labels": len(NAMES), **options}
    return getattr(transformers, f"{name}Config")(**settings)


def hugging_face(name: str, **options: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        config = _config(name, **options)
        return getattr(import_module("transformers"), f"{name}ForImageClassification")(config)

    return build


def _hidden(backbone: Any, image: Tensor) -> tuple[list[Tensor], list[Tensor], Any]:
    backbone.set_attn_implementation("eager")
    found = backbone(image, output_attentions=True, output_hidden_states=True)
    return list(found.attentions), list(found.hidden_states[1:]), found


def look_at_vit(module: Any, image: Tensor) -> Looked:
    weights, tokens, found = _hidden(module, image)
    head = lambda z: module.classifier(module.vit.layernorm(z)[0])  # noqa: E731
    return Looked(weights, tokens, head, found.logits[0])


def look_at_dinov2(registers: int) -> Callable[[Any, Tensor], Looked]:
    def look(module: Any, image: Tensor) -> Looked:
        weights, tokens, found = _hidden(module, image)
        body = module.base_model

        def head(z: Tensor) -> Tensor:
            z = body.layernorm(z)
            return module.classifier(torch.cat([z[0], z[1 + registers :].mean(dim=0)]))

        return Looked(weights, tokens, head, found.logits[0])

    return look


class RadDino(nn.Module):
    """RAD-DINO's layout: Hugging Face's Dinov2Model, and a linear layer of one's own behind it."""

    def __init__(self, *, patches: bool, frozen: bool = False) -> None:
        super().__init__()
        config = _config("Dinov2")
        self.backbone = import_module("transformers").Dinov2Model(config)
        self.patches, self.frozen = patches, frozen
        self.head = nn.Linear(config.hidden_size * (1 + patches), len(NAMES))

    def pooled(self, z: Tensor) -> Tensor:
        return torch.cat([z[:, 0], z[:, 1:].mean(dim=1)], dim=1) if self.patches else z[:, 0]

    def forward(self, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            z = self.backbone(x).last_hidden_state
        return self.head(self.pooled(z))


def look_at_rad_dino(module: Any, image: Tensor) -> Looked:
    weights, tokens, found = _hidden(module.backbone, image)
    head = lambda z: module.head(module.pooled(module.backbone.layernorm(z)[None]))[0]  # noqa: E731
    return Looked(weights, tokens, head, module.head(module.pooled(found.last_hidden_state))[0])


class MeanPooled(nn.Module):
    """Attention by the functional alone, no class token, and a head that is no linear layer."""

    def __init__(self, layers: int = 2) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 24, 16, 16)
        self.blocks = nn.ModuleList(nn.ModuleDict(_parts()) for _ in range(layers))
        self.steps = nn.ModuleList(Step(block) for block in self.blocks)
        self.head = nn.Sequential(nn.Linear(24, 20), nn.Tanh(), nn.Linear(20, len(NAMES)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2)
        for step in self.steps:
            x = step(x)
        return self.head(x.mean(dim=1))


def _parts() -> dict[str, nn.Module]:
    return {"norm": nn.LayerNorm(24), "qkv": nn.Linear(24, 72), "out": nn.Linear(24, 24)}


class Step(nn.Module):
    def __init__(self, parts: nn.ModuleDict) -> None:
        super().__init__()
        self.parts = parts

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.parts["qkv"](self.parts["norm"](x)).unflatten(2, (3, 2, 12)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return x + torch.tanh(self.parts["out"](mixed))


def look_at_mean_pooled(module: Any, image: Tensor) -> Looked:
    x = module.embed(image).flatten(2).transpose(1, 2)[0]
    weights, tokens = [], []
    for step in module.steps:
        q, k, v = step.parts["qkv"](step.parts["norm"](x)).chunk(3, dim=1)
        heads = [slice(0, 12), slice(12, 24)]
        A = torch.stack([torch.softmax(q[:, h] @ k[:, h].T / 12**0.5, dim=1) for h in heads])
        x = x + torch.tanh(step.parts["out"](torch.cat([A[n] @ v[:, h] for n, h in enumerate(heads)], dim=1)))
        weights.append(A)
        tokens.append(x)
    head = lambda z: module.head(z.mean(dim=0))  # noqa: E731
    return Looked(weights, tokens, head, head(x))


CASES: dict[str, Case] = {
    "torchvision": Case(torchvision_vit, look_at_torchvision, "encoder.ln"),
    "one block": Case(lambda: torchvision_vit(1), look_at_torchvision, "encoder.ln"),
    "mean pooled": Case(MeanPooled, look_at_mean_pooled, "steps.1", skip=0, rows=("patches",)),
    "timm": Case(timm("vit_tiny_patch16_224", img_size=64, depth=2), look_at_timm, "norm"),
    "timm, registers": Case(
        timm("vit_small_patch14_reg4_dinov2", img_size=56, depth=2), look_at_timm, "norm", skip=5, size=56
    ),
    "timm, mean": Case(
        timm("vit_tiny_patch16_224", img_size=64, depth=2, global_pool="avg", class_token=False),
        look_at_timm,
        "patch_embed",
        skip=0,
        rows=("patches",),
    ),
    "ViT": Case(hugging_face("ViT", intermediate_size=64), look_at_vit, "vit.layernorm", rtol=2e-4),
    "DINOv2": Case(hugging_face("Dinov2"), look_at_dinov2(0), "dinov2.layernorm", rows=("class", "patches")),
    "DINOv2, registers": Case(
        hugging_face("Dinov2WithRegisters"),
        look_at_dinov2(4),
        "dinov2_with_registers.layernorm",
        skip=5,
        rows=("class", "patches"),
    ),
    "RAD-DINO": Case(lambda: RadDino(patches=False), look_at_rad_dino, "backbone.layernorm"),
    "RAD-DINO, patches": Case(
        lambda: RadDino(patches=True), look_at_rad_dino, "backbone.layernorm", rows=("class", "patches")
    ),
}


def literal_legrad(looked: Looked, k: int, skip: int, *, blocks: int | None = None) -> Tensor:
    """Number by number: the mean over blocks, heads and tokens i of max(ds_l / dA_lhij, 0), patches alone."""
    every = list(zip(looked.weights, looked.tokens, strict=True))
    chosen = every if blocks is None else every[-blocks:]
    T = chosen[0][0].shape[-1]
    total = [0.0] * T
    for weights, tokens in chosen:
        score = looked.head(tokens.squeeze(0))[k]
        (gradient,) = torch.autograd.grad(score, weights, retain_graph=True)
        gradient = gradient.squeeze(0)
        H = len(gradient)
        for h in range(H):
            for i in range(T):
                for j, value in enumerate(gradient[h, i].tolist()):
                    total[j] += max(value, 0.0) / (H * T * len(chosen))
    return torch.tensor(total[skip:], dtype=torch.float64)


def literal_relevance(looked: Looked, k: int, skip: int, rows: Sequence[str]) -> Tensor:
    """Equations 5 and 6: R starts as the identity, and each block adds mean_h max(g * A, 0) R to it."""
    T = looked.weights[0].shape[-1]
    R = torch.eye(T, dtype=torch.float64)
    for weights in looked.weights:
        (gradient,) = torch.autograd.grad(looked.scores[k], weights, retain_graph=True)
        A, g = (each.reshape(-1, T, T).tolist() for each in (weights, gradient))
        mean = [[0.0] * T for _ in range(T)]
        for h in range(len(A)):
            for i in range(T):
                for j in range(T):
                    mean[i][j] += max(g[h][i][j] * A[h][i][j], 0.0) / len(A)
        R = R + torch.tensor(mean, dtype=torch.float64) @ R
    R = R - torch.eye(T, dtype=torch.float64)
    of_rows = {"class": R[0], "patches": R[skip:].mean(dim=0)}
    return torch.stack([of_rows[name] for name in rows]).mean(dim=0)[skip:]
