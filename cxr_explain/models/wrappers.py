"""What people put around a model, and take off again to look into it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from cxr_explain.errors import ModelError


def unwrapped(module: nn.Module, *layers: str) -> tuple[nn.Module, tuple[str, ...]]:
    """The model within DataParallel, DistributedDataParallel or `torch.compile`, which compute the same.

    A wrapper with hooks of the user stays, as they may change what it gives.

    Args:
        module: the model, wrapped or not.
        *layers: names of layers in the wrapper or in the model.

    Returns:
        The model, and the layers' names in it.

    >>> net = nn.Sequential(nn.Linear(2, 2))
    >>> unwrapped(nn.DataParallel(net), "module.0") == (net, ("0",))
    True
    """
    while (name := _inner_name(module)) and not any(hook_counts(module)):
        module = getattr(module, name)
        layers = tuple(layer.removeprefix(f"{name}.") for layer in layers)
    return module, layers


def check_not_scripted(module: nn.Module, layer: str) -> None:
    """Refuse a layer within TorchScript, or one that is TorchScript: neither takes a hook.

    Raises:
        ModelError: the layer is part of a scripted or traced module.
    """
    for name, part in module.named_modules():
        within = name in ("", layer) or layer.startswith(f"{name}.")
        if within and isinstance(part, torch.jit.ScriptModule):
            raise ModelError(
                f"the layer {layer} within TorchScript, which lets nobody look into it",
                expected="a model as it was before torch.jit.script, trace or freeze",
                remedy="Explain the module that was scripted, with the same weights.",
                source=type(module).__name__,
            )


@contextmanager
def uncompiled(module: nn.Module) -> Iterator[None]:
    """Run what `torch.compile` made of the module, or of parts of it, as it was before.

    Compiled code calls no hook that was added later.
    """
    if not any(_is_compiled(part) for part in module.modules()):
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def hook_counts(module: nn.Module) -> tuple[int, int]:
    """How many forward hooks and forward pre-hooks a module has."""
    return len(module._forward_hooks), len(module._forward_pre_hooks)  # noqa: SLF001 - torch has no other


def _inner_name(module: nn.Module) -> str | None:
    if type(module) in (nn.DataParallel, nn.parallel.DistributedDataParallel):
        return "module"
    return "_orig_mod" if _is_optimized(module) else None


def _is_optimized(module: nn.Module) -> bool:
    return type(module).__name__ == "OptimizedModule" and hasattr(module, "_orig_mod")


def _is_compiled(module: nn.Module) -> bool:
    return _is_optimized(module) or getattr(module, "_compiled_call_impl", None) is not None
