"""One forward pass of a transformer that keeps the weights of every attention, as nodes of a graph.

Fused kernels (`scaled_dot_product_attention`, the fast path of `nn.MultiheadAttention`) do not give these
weights. For the time of a pass they are computed by their definition, softmax(q k^T / sqrt(d)) v, in a torch
function mode: no module is replaced, and no setting of the model is touched. An attention that is written out
(timm without `fused_attn`, Hugging Face's "eager") is recognised by its softmax.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from weakref import ReferenceType, WeakKeyDictionary, ref

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from cxr_explain.errors import ModelError
from cxr_explain.models.at_layers import gradients_of_each, reading_at, seeds_of
from cxr_explain.models.base import Classifier
from cxr_explain.models.grids import TokenGrid

_MULTI_HEAD = inspect.signature(F.multi_head_attention_forward)

_encoders: WeakKeyDictionary[nn.Module, dict[Hashable, Encoder]] = WeakKeyDictionary()
"""The blocks of a network by the shape of an image: finding them takes a pass."""


@dataclass(frozen=True)
class Encoder:
    """The blocks of a transformer, each of which lets all tokens attend to all, once.

    Args:
        blocks: their names in the module, in the order in which they run.
        grid: how their tokens are patches.
        note: how the tokens are read, for people.
    """

    blocks: tuple[str, ...]
    grid: TokenGrid
    note: str


@dataclass(frozen=True, eq=False)
class AttentionPass:
    """The attention of one batch in each block, and the scores, in one graph.

    Args:
        encoder: the blocks.
        weights: A of each block, (B, H, T, T): how much each of T tokens (rows) takes from each (columns), in
            each of H heads; each row sums to 1.
        tokens: what each block gave, (B, T, C).
        logits: (B, N), of the last block's tokens.
        read: tokens that the head was given, a leaf of the graph, (L B, T, C): those of the L blocks, the
            last ones at the end; None where the graph goes on through the last block.
        scores: (L B, N), of these; as `logits` where there is no leaf.
        rounding: `torch.finfo(dtype).eps` of the coarsest numbers that the attention works with.
    """

    encoder: Encoder
    weights: tuple[Tensor, ...]
    tokens: tuple[Tensor, ...]
    logits: Tensor
    read: Tensor | None
    scores: Tensor
    rounding: float

    def attention_gradients(self, classes: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The gradients of K scores of (B, K) classes, at the last tokens and at the attention of each block.

        Returns:
            (K, B, T, C), and (K, B, H, T, T) of each block; zeros where nothing reaches.
        """
        nodes = (self.tokens[-1], *self.weights)
        found = gradients_of_each(self.logits, nodes, seeds_of(classes, self.logits))
        K = classes.shape[1]
        at_tokens, *at_weights = (
            node.new_zeros(K, *node.shape) if gradient is None else gradient
            for node, gradient in zip(nodes, found, strict=True)
        )
        return at_tokens, tuple(at_weights)

    def gradients_by_block(self, classes: Tensor) -> Iterator[Tensor]:
        """For each block, the gradients of the block's own scores at the attention in it: (K, B, H, T, T).

        A block's own scores are those of the head, if it were given this block's tokens. The gradient goes
        through the head and this block alone.
        """
        L = len(self.tokens)
        nodes = [] if self.read is None else [self.read]
        (at_read,) = gradients_of_each(self.scores, nodes, seeds_of(classes.repeat(L, 1), self.scores))
        for number, (tokens, weights) in enumerate(zip(self.tokens, self.weights, strict=True)):
            found = None
            if at_read is not None:
                (found,) = gradients_of_each(tokens, [weights], at_read.chunk(L, dim=1)[number])
            yield weights.new_zeros(classes.shape[1], *weights.shape) if found is None else found


def attention_pass(
    classifier: Classifier,
    inputs: Tensor,
    asking: str,
    *,
    by_block: bool = False,
    blocks: int | None = None,
    otherwise: str = "",
) -> AttentionPass:
    """Run a transformer once, and keep the weights of the attention; the module is left as it came.

    Args:
        classifier: the model.
        inputs: model inputs, (B, 1, S, S) in [-1024, 1024].
        asking: who wants it, for error messages.
        by_block: give the head the tokens of each block, not of the last one alone; see
            `AttentionPass.gradients_by_block`.
        blocks: keep so many blocks, from the last one; None for all.
        otherwise: a sentence on what to do with a model that has no such attention.

    Raises:
        ModelError: a model without such attention, of which the token grid cannot be known, or whose scores
            do not depend on it.
    """
    classifier = classifier.by_torch
    with classifier.undisturbed():
        suited = classifier.suited(inputs)
        encoder = _encoder_of(classifier, suited, asking, otherwise)
        result = _run(classifier, suited, encoder, asking, by_block, blocks)
    classifier.check_logits(result.logits, len(inputs))
    return result


def encoder_of(classifier: Classifier, inputs: Tensor) -> Encoder | None:
    """The blocks whose attention `attention_pass` reads; None of any other model.

    One image is run for it, and none where the blocks are known from an earlier pass.

    Args:
        classifier: the model.
        inputs: model inputs, (B, 1, S, S) in [-1024, 1024].
    """
    classifier = classifier.by_torch
    try:
        with classifier.undisturbed():
            return _encoder_of(classifier, classifier.suited(inputs), "", "")
    except ModelError:
        return None


class Attending(TorchFunctionMode):
    """Computes every attention by its definition, and keeps its weights.

    Args:
        images: B, the number of images in the pass.
        note: is told the shape of each attention's weights, (B, H, T, S), and nothing is kept.

    >>> q = torch.rand(1, 2, 5, 4)
    >>> with Attending(1) as seen:
    ...     out = F.scaled_dot_product_attention(q, q, q)
    >>> seen.weights[0].shape, torch.allclose(out, F.scaled_dot_product_attention(q, q, q), atol=1e-6)
    (torch.Size([1, 2, 5, 5]), True)
    """

    def __init__(self, images: int, note: Callable[[tuple[int, ...]], None] | None = None) -> None:
        super().__init__()
        self.weights: list[Tensor] = []
        self.rounding = 0.0
        self._images, self._note = images, note

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call the function, or compute what it is defined as; see `torch.overrides`."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "scaled_dot_product_attention" and not _drops(*args, **kwargs):
            return self._attention(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            given = _MULTI_HEAD.bind(*args, **kwargs)
            given.apply_defaults()
            if _among_the_same(given.arguments):
                return self._multi_head(given.arguments)
        result = func(*args, **kwargs)
        if name == "softmax" and isinstance(result, Tensor) and result.ndim == 4:
            return self._kept(result, args[0].dtype if args else result.dtype)
        return result

    def _attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,  # noqa: ARG002 - none, see `_drops`
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """As torch's documentation of `scaled_dot_product_attention` writes it, at least in float32."""
        if enable_gqa:
            key, value = (each.repeat_interleave(query.shape[1] // each.shape[1], 1) for each in (key, value))
        dtype = torch.promote_types(query.dtype, torch.float32)
        scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
        scores = (query.to(dtype) * scale) @ key.to(dtype).transpose(-2, -1)
        if is_causal:
            attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        if attn_mask is not None:
            masked = attn_mask.dtype == torch.bool
            scores = scores.masked_fill(~attn_mask, -math.inf) if masked else scores + attn_mask
        weights = self._kept(scores.softmax(dim=-1), value.dtype)
        return (weights @ value.to(dtype)).to(value.dtype)

    def _multi_head(self, given: dict[str, Any]) -> tuple[Tensor, Tensor | None]:
        """What `nn.MultiheadAttention` computes where query, key and value are the same (T, B, C)."""
        heads, x = given["num_heads"], given["query"]
        projected = F.linear(x, given["in_proj_weight"], given["in_proj_bias"])
        q, k, v = projected.unflatten(2, (3, heads, -1)).permute(2, 1, 3, 0, 4)  # each (B, H, T, C / H)
        mixed = self._attention(q, k, v, given["attn_mask"]).permute(2, 0, 1, 3).flatten(2)
        output = F.linear(mixed, given["out_proj_weight"], given["out_proj_bias"])
        if not given["need_weights"] or not self.weights:
            return output, None
        return output, self.weights[-1].mean(dim=1) if given["average_attn_weights"] else self.weights[-1]

    def _kept(self, weights: Tensor, worked_with: torch.dtype) -> Tensor:
        """A node of the graph, which starts at the first attention, even where the model switched it off."""
        if self._note is not None:
            self._note(tuple(weights.shape))
            return weights
        if len(weights) != self._images or weights.shape[2] != weights.shape[3]:
            return weights
        torch.set_grad_enabled(True)  # whoever switched it off, or `_run`, puts it back
        node = weights if weights.requires_grad else weights.detach().requires_grad_(True)
        self.weights.append(node)
        self.rounding = max(self.rounding, torch.finfo(worked_with).eps)
        return node


def _drops(*args: Any, **kwargs: Any) -> bool:
    """Whether an attention is called with dropout, which is in no definition."""
    return bool(args[4] if len(args) > 4 else kwargs.get("dropout_p"))


def _among_the_same(given: dict[str, Any]) -> bool:
    """Whether `nn.MultiheadAttention` is a plain one: of tokens among themselves, with nothing added."""
    plain = given["query"] is given["key"] is given["value"] and given["query"].ndim == 3
    added = ("bias_k", "bias_v", "add_zero_attn", "key_padding_mask", "use_separate_proj_weight", "static_k")
    mask = given["attn_mask"]
    floats = mask is None or (mask.ndim == 2 and mask.is_floating_point())  # its booleans mean the opposite
    dropped = given["training"] and given["dropout_p"]
    return (
        plain
        and floats
        and not dropped
        and not any(given[name] is not None and given[name] is not False for name in added)
    )


def _run(
    classifier: Classifier,
    inputs: Tensor,
    encoder: Encoder,
    asking: str,
    by_block: bool,
    blocks: int | None,
) -> AttentionPass:
    every = dict(classifier.module.named_modules())
    modules = [every[name] for name in encoder.blocks if name in every]
    first = max(0, len(modules) - (blocks or len(modules)))
    kept: list[Tensor] = []
    read: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Any) -> Any:
        kept.append(output if isinstance(output, Tensor) else output[0])
        given = kept[-1]
        if by_block and len(kept) == len(modules):
            given = torch.cat(kept[first:]).detach().requires_grad_(True)
            read.append(given)
        given = given.clone()  # the network may overwrite what it gets
        return given if isinstance(output, Tensor) else (given, *output[1:])

    handles = [module.register_forward_hook(keep) for module in modules]
    try:
        with torch.inference_mode(False), torch.enable_grad(), Attending(len(inputs)) as seen:
            scores = classifier.run(inputs.clone() if inputs.is_inference() else inputs)
            logits = scores[-len(inputs) :]
    except (RuntimeError, ModelError) as error:
        if not read or isinstance(error, torch.OutOfMemoryError):
            raise
        raise _of_one_block(classifier, asking) from error
    finally:
        for handle in handles:
            handle.remove()
    if not scores.requires_grad:
        raise ModelError(
            "scores that do not depend on the attention",
            expected=f"a model that can be differentiated, for {asking}",
            remedy="Take no_grad, inference mode and detach out of its forward pass.",
            source=classifier.name,
        )
    if not len(seen.weights) == len(kept) == len(encoder.blocks):
        _encoders.pop(classifier.module, None)
        raise ModelError(
            f"{len(seen.weights)} attentions that can be seen, where there were {len(encoder.blocks)} before",
            expected="the model as it was in the first pass",
            remedy="Ask again: it is looked at anew.",
            source=classifier.name,
        )
    if len(scores) != len(inputs) * (len(modules) - first if read else 1):
        raise _of_one_block(classifier, asking)
    if read and any(
        each is not None for each in gradients_of_each(scores, kept, torch.ones_like(scores)[None])
    ):
        raise _of_one_block(classifier, asking)  # a block's tokens reach the scores past the leaf
    weights, tokens = seen.weights[first:], kept[first:]
    leaf = read[0] if read else None
    return AttentionPass(encoder, tuple(weights), tuple(tokens), logits, leaf, scores, seen.rounding)


def _of_one_block(classifier: Classifier, asking: str) -> ModelError:
    return ModelError(
        "a head that does not take the tokens of several blocks, one after the other",
        expected=f"a head that reads the last block's tokens alone, and gives (B, N), for {asking}",
        remedy="Choose attention-relevance, which follows the gradient through the whole model.",
        source=classifier.name,
    )


def _encoder_of(classifier: Classifier, inputs: Tensor, asking: str, otherwise: str) -> Encoder:
    known = _encoders.setdefault(classifier.module, {})
    key = (tuple(inputs.shape[1:]), classifier.grid if isinstance(classifier.grid, TokenGrid) else None)
    if key not in known:
        known[key] = _found(classifier, inputs[:1], asking, otherwise)
    return known[key]


def _found(classifier: Classifier, inputs: Tensor, asking: str, otherwise: str) -> Encoder:
    """The outermost modules that give tokens and have one attention each, and how these are read."""
    shapes: list[tuple[int, ...]] = []
    around: list[tuple[str, ...]] = []
    outputs: dict[str, Tensor] = {}
    followed: set[tuple[str, str]] = set()
    with torch.no_grad(), _standing(classifier.module, outputs, followed) as stack:

        def note(shape: tuple[int, ...]) -> None:
            shapes.append(shape)
            around.append(tuple(stack))

        with Attending(len(inputs), note):
            classifier.run(inputs)
    T = shapes[0][-1] if shapes else 0
    if not shapes or any(len(shape) != 4 or (shape[0], *shape[2:]) != (1, T, T) for shape in shapes):
        raise _no_attention(classifier, shapes, asking, otherwise)
    tokens = {name: each for name, each in outputs.items() if each.ndim == 3 and each.shape[1] == T}
    counts = [name for stack_of in around for name in set(stack_of)]
    alone = [[name for name in each if name in tokens and counts.count(name) == 1] for each in around]
    blocks = tuple(each[0] for each in alone if each)
    if len(blocks) < len(alone) or not followed.issuperset(pairwise(blocks)):
        raise ModelError(
            "attention that is not in blocks of which each works on what the one before it gave",
            expected=f"blocks that run once, one after the other, each with one attention, for {asking}",
            remedy=otherwise,
            source=classifier.name,
        )
    last = blocks[-1]
    reading = reading_at(classifier, last, classifier.module.get_submodule(last), tokens[last], inputs)
    if not isinstance(reading.grid, TokenGrid):
        raise ModelError(
            f"tokens that {type(reading.grid).__name__} puts in places",
            expected=f"patches row by row, for {asking}",
            remedy="Pass HookedClassifier(..., grid=token_grid(rows, columns, skip=...)).",
            source=classifier.name,
        )
    grid = reading.grid
    told = f"{grid.skip} tokens left out, the others are {grid.rows} x {grid.columns} patches, row by row"
    return Encoder(blocks, grid, f"{last} {reading.note or told}")


@contextmanager
def _standing(
    module: nn.Module, outputs: dict[str, Tensor], followed: set[tuple[str, str]]
) -> Iterator[list[str]]:
    """The names of the modules that are running, outermost first; what each gave, and to which others."""
    stack: list[str] = []
    given: dict[str, ReferenceType[Tensor]] = {}
    handles = []

    def enter(name: str) -> Callable[..., None]:
        def entered(_module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
            stack.append(name)
            taken = next(iter((*args, *kwargs.values())), None)
            if taken is not None:
                followed.update((before, name) for before, output in given.items() if output() is taken)

        return entered

    def leave(name: str) -> Callable[..., None]:
        def left(_module: nn.Module, _inputs: object, output: object) -> None:
            stack.pop()
            if (tokens := _tokens_in(output)) is not None:
                given[name] = ref(tokens)
                outputs[name] = torch.empty_like(tokens, device="meta")  # its shape is enough

        return left

    try:
        for name, part in module.named_modules():
            if name and not isinstance(part, torch.jit.ScriptModule):
                handles.append(part.register_forward_pre_hook(enter(name), with_kwargs=True))
                handles.append(part.register_forward_hook(leave(name)))
        yield stack
    finally:
        for handle in handles:
            handle.remove()


def _tokens_in(output: object) -> Tensor | None:
    """The tensor that a block gives, alone or as the first of a tuple."""
    found = output[0] if isinstance(output, tuple) and output else output
    return found if isinstance(found, Tensor) else None


def _no_attention(
    classifier: Classifier, shapes: Sequence[tuple[int, ...]], asking: str, otherwise: str
) -> ModelError:
    kind = type(classifier.module).__name__
    if shapes:
        found = f"a {kind} whose attention has the shapes {', '.join(dict.fromkeys(map(str, shapes)))}"
    else:
        found = f"a {kind} without an attention that can be seen"
        if any("Attention" in type(part).__name__ for part in classifier.module.modules()):
            otherwise += (
                " Kernels of other libraries are not seen: of Hugging Face's models, call "
                "model.set_attn_implementation('sdpa') first."
            )
    return ModelError(
        found,
        expected=f"a transformer in which all tokens attend to all, (1, H, T, T) in each block, for {asking}",
        remedy=otherwise,
        source=classifier.name,
    )
