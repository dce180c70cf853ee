"""The rules by their papers' names, and class maps by any of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, is_dataclass

import torch
from torch import Tensor

from cxr_explain.cam.evidence import Evidence, Track, silent
from cxr_explain.cam.layers import combine_layers
from cxr_explain.cam.registry import RULES, Method
from cxr_explain.errors import ModelError, OptionError
from cxr_explain.models.at_layers import forward_at
from cxr_explain.models.base import Classifier, ForwardPass
from cxr_explain.options import check_option

Rule = Callable[[Evidence], Tensor]
"""From the evidence of a batch to its class maps, (B, K, I, J), signed: what speaks against is negative."""


@dataclass(frozen=True)
class NamedRule:
    """A rule and its paper's name.

    Args:
        title: as its paper writes it.
        rule: the function, or the object with its settings that is called like one.
        gradient_free: whether the rule asks for no gradient, whatever the model.
        attention: whether the rule reads the attention of a transformer, and no layer's activations.
    """

    title: str
    rule: Rule
    gradient_free: bool = False
    attention: bool = False

    @property
    def settings(self) -> str:
        """The rule's options, as Python writes them; '' where it has none."""
        return repr(self.rule) if is_dataclass(self.rule) else ""


def named_rule(method: Method | Rule) -> NamedRule:
    """A rule by its name, or a rule of one's own under the name that it gives itself.

    Args:
        method: a name of `cxr_explain.cam.registry.RULES`, or a function from `Evidence` to signed class maps
            (B, K, I, J). Results are labelled with the function's `title`, else with its name in Python.

    Raises:
        OptionError: neither.

    >>> named_rule("grad-cam++").title
    'Grad-CAM++'
    """
    if not isinstance(method, str) and callable(method):
        fallback = getattr(method, "__name__", type(method).__name__)
        attention = bool(getattr(method, "attention", False))
        return NamedRule(str(getattr(method, "title", fallback)), method, attention=attention)
    check_option("method", method, Method)
    entry = RULES[method]
    return NamedRule(entry.title, entry.load(), entry.gradient_free, entry.attention)


def class_maps(
    classifier: Classifier,
    inputs: Tensor,
    classes: Tensor,
    *,
    method: Method | Rule = "grad-cam",
    layers: Sequence[str] = (),
    track: Track = silent,
) -> Tensor:
    """Class maps by any rule, for B images and K classes at once.

    Args:
        classifier: the model; it is left as it came.
        inputs: (B, 1, S, S) in [-1024, 1024].
        classes: (B, K) int64, which outputs to explain; (K,) for the same in each image.
        method: a name, or a rule of one's own.
        layers: names in the classifier's module; by default its target layer. Several are combined.
        track: shows the progress of the rules that run the model many times.

    Returns:
        (B, K, I, J), signed, at least float32.

    Raises:
        OptionError: an unknown method, or shapes that do not fit.
        ModelError: a method that needs another head, an unknown layer, or a rule that gives no such maps.

    >>> from cxr_explain.models.hooked import HookedClassifier
    >>> from cxr_explain.models.base import Outputs
    >>> from torch import nn
    >>> head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), *head)
    >>> model = HookedClassifier(net, "1", Outputs(("Mass", "Edema")), input_size=16)
    >>> class_maps(model, torch.zeros(3, 1, 16, 16), torch.tensor([1, 0]), method="layercam").shape
    torch.Size([3, 2, 14, 14])
    >>> def absolute_grad_cam(evidence):
    ...     return torch.einsum("bkc,bcij->bkij", evidence.weights.abs(), evidence.activations)
    >>> class_maps(model, torch.zeros(3, 1, 16, 16), torch.tensor([1]), method=absolute_grad_cam).shape
    torch.Size([3, 1, 14, 14])
    """
    if inputs.ndim != 4 or 0 in inputs.shape or not inputs.is_floating_point():
        raise OptionError(
            f"{inputs.dtype} inputs of shape {tuple(inputs.shape)}", expected="float (B, 1, S, S), B >= 1"
        )
    passes = forward_passes(classifier, inputs, layers)
    return maps_of_passes(
        classifier, inputs, _each(classes, len(inputs), passes[0]), passes, method, layers, track
    )


def forward_passes(classifier: Classifier, inputs: Tensor, layers: Sequence[str]) -> tuple[ForwardPass, ...]:
    """One forward pass, at the target layer or at the layers named."""
    return forward_at(classifier, inputs, layers) if layers else (classifier.forward(inputs),)


def maps_of_passes(
    classifier: Classifier,
    inputs: Tensor,
    classes: Tensor,
    passes: Sequence[ForwardPass],
    method: Method | Rule,
    layers: Sequence[str] = (),
    track: Track = silent,
) -> Tensor:
    """The maps of a forward pass that is there already; see `class_maps`."""
    if classes.shape[1] == 0:  # nothing to explain: no rule is asked, as it might run the model for it
        finest = max((forward.activations for forward in passes), key=lambda a: a.shape[-2] * a.shape[-1])
        return finest.new_zeros(len(classes), 0, *finest.shape[-2:], dtype=torch.float32)
    named = named_rule(method)
    names = layers or (None,)
    maps = [
        _apply(named, Evidence(classifier, inputs, classes, forward, layer, track))
        for forward, layer in zip(passes, names, strict=True)
    ]
    return maps[0] if len(maps) == 1 else combine_layers(maps)


def _apply(named: NamedRule, evidence: Evidence) -> Tensor:
    maps = named.rule(evidence)
    wanted = tuple(evidence.classes.shape)
    if not isinstance(maps, Tensor) or maps.ndim != 4 or maps.shape[:2] != wanted or 0 in maps.shape[2:]:
        found = f"maps of shape {tuple(maps.shape)}" if isinstance(maps, Tensor) else type(maps).__name__
        raise ModelError(f"{found} from {named.title}", expected=f"a tensor ({wanted[0]}, {wanted[1]}, I, J)")
    if not torch.isfinite(maps).all():
        raise ModelError(f"maps with NaN or infinite values from {named.title}", expected="finite maps")
    return maps.detach().to(torch.promote_types(maps.dtype, torch.float32))


def _each(classes: Tensor, count: int, forward: ForwardPass) -> Tensor:
    classes = torch.as_tensor(classes, device=forward.logits.device)
    outputs = forward.logits.shape[1]
    if classes.ndim == 1:
        classes = classes.expand(count, -1)
    inside = classes.ndim == 2 and len(classes) == count and classes.dtype == torch.int64
    if not inside or (classes.numel() and not 0 <= int(classes.min()) <= int(classes.max()) < outputs):
        raise OptionError(
            f"{classes.dtype} classes of shape {tuple(classes.shape)}",
            expected=f"int64 (K,) or ({count}, K), each below {outputs}",
        )
    return classes
