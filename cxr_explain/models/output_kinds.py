"""What a model's output is, and the logits behind it.

A ranking compares probabilities, and a gradient starts at logits: a sigmoid's slope vanishes where the model
is sure. So the output of a model that ends in a sigmoid or a softmax is taken back to what these were given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from cxr_explain.errors import ModelError
from cxr_explain.models.base import Outputs
from cxr_explain.models.endings import Listener, behind_scaling, behind_shapes, ends_linear, stem
from cxr_explain.models.published import put_right
from cxr_explain.options import OutputKind

_KINDS_OF: Mapping[str, tuple[OutputKind, ...]] = {
    "sigmoid": ("sigmoids", "calibrated"),
    "special_expit": ("sigmoids", "calibrated"),
    "softmax": ("softmax",),
    "log_softmax": ("log-softmax",),
}
"""What a model may give whose last such function has this name."""

_NODES: Mapping[str, OutputKind] = {
    "SigmoidBackward0": "sigmoids",
    "SoftmaxBackward0": "softmax",
    "LogSoftmaxBackward0": "log-softmax",
}
_SQUASHING = frozenset(
    (
        "Sigmoid",
        "Softmax",
        "LogSoftmax",
        "LogSigmoid",
        "LogSigmoidForward",
        "Tanh",
        "Hardsigmoid",
        "Log",
        "Exp",
    )
)
_PROBABILITIES = ("Sigmoid", "Softmax", "Hardsigmoid")


def matrix_of(output: object, count: int, source: str) -> Tensor:
    """(B, N) of what a model gives: a tensor, the first one of a tuple, or "logits" of a mapping or object.

    (B,), as of a model of one pathology, becomes (B, 1), and (B, N, 1, 1) becomes (B, N). A model that takes
    away every dimension of length 1 gives (N,) for one image, or one number: (1, N).

    Args:
        output: what the model gave.
        count: number of images, B.
        source: the model's name, for the error message.

    Raises:
        ModelError: none of these.

    >>> matrix_of({"logits": torch.zeros(3), "loss": None}, 3, "a model").shape
    torch.Size([3, 1])
    """
    found = output
    if isinstance(found, Mapping):
        found = found.get("logits", found)
    elif not isinstance(found, (Tensor, tuple, list)):
        found = getattr(found, "logits", found)
    if isinstance(found, (tuple, list)) and found:
        found = found[0]
    if isinstance(found, Tensor) and found.is_floating_point():
        if found.ndim < 2 and (count == 1 or found.shape == (count,)):
            return found.reshape(count, -1)
        if found.ndim > 1 and all(length == 1 for length in found.shape[2:]):
            return found.flatten(1)
    raise ModelError(
        f"an output of {_described(output)}",
        expected='a (B, N) tensor of scores, a tuple that begins with it, or one under "logits"',
        remedy="Wrap the model in a module whose forward gives that tensor alone.",
        source=source,
    )


def as_called(logits: Tensor, kind: OutputKind, points: Sequence[float | None]) -> Tensor:
    """What a model of this kind gives, whose logits are (B, N); the inverse of `logits_behind`."""
    if kind == "softmax":
        return logits.softmax(1)
    if kind == "log-softmax":
        return logits.log_softmax(1)
    if kind == "sigmoids":
        return logits.sigmoid()
    return op_norm(logits.sigmoid(), points) if kind == "calibrated" else logits


def op_norm(probabilities: Tensor, points: Sequence[float | None]) -> Tensor:
    """TorchXRayVision's rescaling of (B, N) by operating point; 0.5 where there is none."""
    t = _tensor(points, probabilities)
    calibrated = torch.where(
        probabilities < t, probabilities / (2 * t), 1 - (1 - probabilities) / (2 * (1 - t))
    )
    return torch.where(t.isnan(), torch.full_like(calibrated, 0.5), calibrated)


def agree(found: Tensor, wanted: Tensor, tolerance: float = 1e-5) -> bool:
    """Whether two (B, N) are the same, to this part of the largest value; less for short numbers."""
    coarsest = max(torch.finfo(tensor.dtype).eps for tensor in (found, wanted))
    found, wanted = found.detach().double(), wanted.detach().double().to(found.device)
    if found.shape != wanted.shape:
        return False
    largest = float(wanted.abs().nan_to_num(0, 0, 0).max()) if wanted.numel() else 0.0
    return torch.allclose(
        found, wanted, rtol=0, atol=max(tolerance, 8 * coarsest) * largest + 1e-12, equal_nan=True
    )


def settled(outputs: Outputs, output: Tensor, heard: Listener, module: nn.Module, source: str) -> Outputs:
    """The outputs with the kind that a first forward pass shows; or with the one declared, if it may be.

    Args:
        outputs: what is declared of the outputs.
        output: what the model gave, (B, N), with its graph.
        heard: what was heard during the pass.
        module: the model.
        source: the model's name, for the error message.

    Raises:
        ModelError: an output that is not what was declared; or, without a declaration, one that may be
            something else than logits.
    """
    proven = _proven(output, heard, calibrating_points(outputs, module))
    if proven and outputs.kind in ("logits", "softmax-logits"):
        raise ModelError(
            f"kind={outputs.kind!r} for a model that gives {proven}",
            expected=f"kind={proven!r}",
            source=source,
        )
    kind = outputs.kind or proven or _presumed(outputs, output, module, source)
    if kind == "calibrated" and not any(outputs.operating_points):
        held = replace(outputs, kind=kind, operating_points=calibrating_points(outputs, module))
        return put_right(held, module)
    return replace(outputs, kind=kind)


def calibrating_points(outputs: Outputs, module: nn.Module) -> tuple[float | None, ...]:
    """The operating points that a model calibrates with: those that it holds, else those declared."""
    held = points_in(module)
    if held is None or held.numel() != len(outputs.pathologies):
        return outputs.operating_points
    return tuple(None if math.isnan(point) else point for point in held.flatten().tolist())


def logits_behind(
    output: Tensor, kind: OutputKind, points: Sequence[float | None], heard: Listener, source: str
) -> Tensor:
    """The logits, (B, N), of what a model gave; with a graph where that has one.

    They are what the last sigmoid or softmax was given, if that was heard. Else the function is turned round:
    of a softmax, the logarithms less their mean, as that has the gradient of the logits less their mean,
    which does not vanish where the model is sure.

    Args:
        output: what the model gave, (B, N).
        kind: what it is.
        points: the N operating points that calibrated it, for that kind alone.
        heard: what was heard during the pass.
        source: the model's name, for the error message.

    Raises:
        ModelError: values that are not of this kind, or that were rounded to 0 or 1: their logits are lost.
    """
    if kind in ("logits", "softmax-logits"):
        return output
    given = heard_logits(heard, output, kind, points)
    if given is not None:
        return given
    values = output.to(torch.promote_types(output.dtype, torch.float32))
    _check_values(values, kind, source)
    logits = _inverted(values, kind, points)
    if not torch.isfinite(logits.detach()[~values.detach().isnan()]).all():
        raise ModelError(
            "a probability that was rounded to 0 or 1, or calibrated without an operating point, whose logit "
            "is lost",
            expected="probabilities between 0 and 1",
            remedy="Explain the model without the sigmoid or softmax at its end, and declare its kind.",
            source=source,
        )
    return logits


def heard_logits(
    heard: Listener, output: Tensor, kind: OutputKind, points: Sequence[float | None]
) -> Tensor | None:
    """What the last function was given, (B, N), if what the model gave is just this kind of it; else None."""
    given = heard.given
    if given is None or kind not in _KINDS_OF[heard.function] or given.numel() != output.numel():
        return None
    if kind == "calibrated" and len(points) != output.shape[1]:
        return None
    logits = given.reshape(output.shape)
    return logits if agree(as_called(logits.detach(), kind, points), output) else None


def _inverted(values: Tensor, kind: OutputKind, points: Sequence[float | None]) -> Tensor:
    if kind == "sigmoids":
        return values.logit()
    if kind == "calibrated":
        t = _tensor(points, values)
        return torch.where(values < 0.5, 2 * t * values, 1 - 2 * (1 - t) * (1 - values)).logit()
    logarithms = values if kind == "log-softmax" else values.log()
    return logarithms - logarithms.mean(1, keepdim=True)


def _proven(output: Tensor, heard: Listener, points: Sequence[float | None]) -> OutputKind | None:
    """The kind that was heard, or that the graph ends in."""
    for kind in _KINDS_OF.get(heard.function, ()):
        if heard_logits(heard, output.detach(), kind, points) is not None:
            return kind
    node = behind_shapes(output.grad_fn)
    kind_of_node = None if node is None else _NODES.get(node.name())
    if kind_of_node in ("softmax", "log-softmax") and not _sums_to_one(output.detach(), kind_of_node):
        return None  # some of the probabilities alone
    return kind_of_node


def _presumed(outputs: Outputs, output: Tensor, module: nn.Module, source: str) -> OutputKind:
    """Logits, unless anything speaks against it."""
    values = output.detach()
    low, high = (float(value) for value in values.aminmax())
    node = behind_shapes(output.grad_fn)
    scaled = behind_scaling(output.grad_fn)
    if _calibrates(module):
        found = "outputs of a model that holds operating points, or applies a sigmoid"
        raise _unclear(found, source, outputs)
    if node is not None and stem(node) in _SQUASHING:
        raise _unclear(f"outputs behind {stem(node).lower()}", source, outputs)
    if scaled is not None and stem(scaled) in _PROBABILITIES:
        raise _unclear(f"outputs that are a multiple of {stem(scaled).lower()}", source, outputs)
    if ends_linear(output.grad_fn):
        return "logits"
    if low >= 0 and high <= 1:
        raise _unclear(f"outputs from {low:.3g} to {high:.3g}, all within [0, 1]", source, outputs)
    if _sums_to_one(values, "softmax") or _sums_to_one(values, "log-softmax"):
        raise _unclear("outputs whose probabilities sum to 1", source, outputs)
    return "logits"


def _unclear(found: str, source: str, outputs: Outputs) -> ModelError:
    names = ", ".join(repr(name) for name in outputs.pathologies[:2])
    more = ", ..." if len(outputs.pathologies) > 2 else ""
    return ModelError(
        found,
        expected="logits, or a declaration of what these are",
        remedy=f'Declare it: outputs=Outputs([{names}{more}], kind="sigmoids"), or "logits", "softmax", '
        '"log-softmax", "softmax-logits", "calibrated".',
        source=source,
    )


def _calibrates(module: nn.Module) -> bool:
    return points_in(module) is not None or any(
        getattr(part, "apply_sigmoid", False) is True for part in module.modules()
    )


def points_in(module: nn.Module) -> Tensor | None:
    """TorchXRayVision's operating points, of whatever part of a model holds them."""
    found = (getattr(part, "op_threshs", None) for part in module.modules())
    return next((points for points in found if isinstance(points, Tensor)), None)


def _check_values(values: Tensor, kind: OutputKind, source: str) -> None:
    low, high = (float(value) for value in values.detach().aminmax())
    within = high <= 1e-3 if kind == "log-softmax" else low >= -1e-3 and high <= 1 + 1e-3
    if kind in ("softmax", "log-softmax"):
        within = within and _sums_to_one(values.detach(), kind)
    if not within:
        raise ModelError(
            f"outputs from {low:.3g} to {high:.3g} that are no {kind}",
            expected=f"what kind={kind!r} says",
            source=source,
        )


def _sums_to_one(values: Tensor, kind: OutputKind) -> bool:
    sums = (values.double().exp() if kind == "log-softmax" else values.double()).sum(1)
    short = max(1e-5, 8 * torch.finfo(values.dtype).eps)
    return values.shape[1] > 1 and torch.allclose(sums, torch.ones_like(sums), rtol=0, atol=short)


def _tensor(points: Sequence[float | None], like: Tensor) -> Tensor:
    return like.new_tensor([float("nan") if point is None else point for point in points])


def _described(output: object) -> str:
    if isinstance(output, Tensor):
        numbers = "" if output.is_floating_point() else f" of {output.dtype}"
        return f"shape {tuple(output.shape)}{numbers}"
    keys = f" with {', '.join(map(str, output))}" if isinstance(output, Mapping) else ""
    return f"type {type(output).__name__}{keys}"
