"""Small networks for tests, and a record of everything about a module that must not change."""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import Tensor, nn

from cxr_explain import PATHOLOGIES
from cxr_explain.support.torchvision_repair import ensure_torchvision_imports

ensure_torchvision_imports()
import torchxrayvision as xrv  # noqa: E402

NAMES = PATHOLOGIES[:5]


def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give heads and batch norms values, so that nothing cancels by chance."""
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0, 0.5, generator=generator)
            if layer.bias is not None:
                nn.init.normal_(layer.bias, 0, 0.5, generator=generator)
    return randomise_norms(module, seed)


def randomise_norms(module: Any, seed: int = 0) -> Any:
    """Give running statistics and scales of batch norms values."""
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.3, generator=generator)
            layer.running_var.uniform_(0.5, 1.5, generator=generator)
            nn.init.uniform_(layer.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(layer.bias, 0, 0.3, generator=generator)
    return module


def small_xrv(outputs: int = 18, seed: int = 0, **options: Any) -> nn.Module:
    """TorchXRayVision's own DenseNet class with few layers: 64 x 64 -> 24 channels of 8 x 8."""
    torch.manual_seed(seed)
    module = xrv.models.DenseNet(
        growth_rate=8,
        block_config=(2, 2),
        num_init_features=16,
        bn_size=2,
        num_classes=outputs,
        **options,
    )
    module.pathologies = list(PATHOLOGIES[:outputs])
    with torch.no_grad():
        module.features.conv0.weight /= 500  # from [-1024, 1024] to moderate logits
    return randomise(module, seed)


def small_monai(outputs: int = 5, seed: int = 0) -> nn.Module:
    """MONAI's DenseNet class with few layers."""
    from monai.networks.nets import DenseNet

    torch.manual_seed(seed)
    module = DenseNet(2, 1, outputs, init_features=8, growth_rate=4, block_config=(2, 2), bn_size=2)
    return randomise(module, seed)


def small_net(outputs: int = 5, seed: int = 0) -> nn.Sequential:
    """Convolution, batch norm, in-place ReLU, dropout, and a head that is not linear."""
    torch.manual_seed(seed)
    module = nn.Sequential(
        nn.Conv2d(1, 6, 5, stride=4),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.Conv2d(6, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d((2, 3)),
        nn.Flatten(),
        nn.Linear(48, 16),
        nn.Tanh(),
        nn.Linear(16, outputs),
    )
    with torch.no_grad():
        module[0].weight /= 500  # from [-1024, 1024] to where the tanh is not flat
        module[9].weight /= 4
    return randomise_norms(module, seed)


def images(count: int = 2, size: int = 64, seed: int = 0) -> Tensor:
    """(B, 1, S, S) in [-1024, 1024]."""
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(seed)) * 2048 - 1024


def unsettle(module: nn.Module, seed: int = 0) -> None:
    """Leave nothing at its default: mixed training flags, gradients, memory formats, hooks of the user."""
    chance = random.Random(seed)
    for layer in module.modules():
        layer.training = chance.random() < 0.5
    for index, parameter in enumerate(module.parameters()):
        parameter.requires_grad_(index % 3 != 0)
        if index % 2:
            parameter.grad = torch.full_like(parameter, 0.25)
    for layer in list(module.modules())[::2]:
        if isinstance(layer, nn.Conv2d):
            layer.to(memory_format=torch.channels_last)
        layer.register_forward_hook(_look)
        layer.register_forward_pre_hook(_look_before)


def _look(*_: object) -> None:
    """A user's hook that only looks."""


def _look_before(*_: object) -> None:
    """A user's hook that only looks."""


def snapshot(module: nn.Module) -> dict[str, Any]:
    """Everything about a module that a caller may rely on, in a form that compares equal."""
    state: dict[str, Any] = {
        "gradient mode": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
    }
    for name, layer in module.named_modules():
        state[f"{name} training"] = layer.training
        state[f"{name} attributes"] = sorted(vars(layer))
        for attribute, value in vars(layer).items():
            if "hooks" in attribute and isinstance(value, dict):
                state[f"{name} {attribute}"] = dict(value)
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        state[f"{name} identity"] = id(tensor)
        state[f"{name} tensor"] = (
            tensor.requires_grad,
            tensor.dtype,
            tensor.device,
            tuple(tensor.stride()),
            tensor.is_inference(),
            tensor._version,
            tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes(),
            None if tensor.grad is None else tensor.grad.numpy().tobytes(),
            list((tensor._backward_hooks or {}).values()),
        )
    return state


def whole_network_gradients(module: Any, activations: Tensor, logits: Tensor, classes: Tensor) -> Tensor:
    """Plain autograd: one backward pass through everything for each class; (B, K, C, I, J)."""
    activations.retain_grad()
    result = []
    for rank in range(classes.shape[1]):
        module.zero_grad()
        activations.grad = None
        logits.gather(1, classes[:, rank : rank + 1]).sum().backward(retain_graph=True)
        assert activations.grad is not None
        result.append(activations.grad.clone())
    assert any(parameter.grad is not None for parameter in module.parameters())
    return torch.stack(result, dim=1)
