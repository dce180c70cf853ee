"""FM-G-CAM in the form of `monai.visualize.GradCAM`, for any network in two or three dimensions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from monai.data.meta_tensor import MetaTensor
from monai.visualize.visualizer import default_upsampler
from torch import Tensor, nn

from cxr_explain.cam.fusion import FusedMaps, fuse
from cxr_explain.cam.rules import maps_of_passes
from cxr_explain.errors import ModelError, OptionError
from cxr_explain.models.at_layers import AutogradPass, passes_at
from cxr_explain.models.base import Outputs
from cxr_explain.models.hooked import HookedClassifier
from cxr_explain.options import Activation, Normalisation, OutputKind, check_at_least, check_option

LayerMethod = Literal["grad-cam", "grad-cam++", "xgrad-cam", "hirescam", "layercam", "eigen-cam"]
"""The rules that look at a layer and its gradient alone; others make inputs of a range unknown here."""

ClassIndex = int | Sequence[int] | Tensor | None


class FMGCAM:
    """Fused multi-class Grad-CAM with the constructor and the calls of `monai.visualize.GradCAM`.

    Each position of the map belongs to the class that speaks loudest for it: the result has one channel for
    each of K classes, (B, K, *spatial), and at most one of them is not 0 at a position of the layer.

    It differs from MONAI's in what MONAI's gets wrong or leaves in place:

    - Hot is large. MONAI's default postprocessing turns maps over, so that 0 is the hottest; here nothing is
      done by default, and 0 means no evidence. `monai.visualize.class_activation_maps.default_normalizer`
      passed as `postprocessing` turns the map over as MONAI does.
    - Each sample has its own classes and its own gradient. MONAI's, with `class_idx=None` and a batch, takes
      the sum over the winners of all samples for each sample.
    - The network is left as it came: no hooks stay, the training flag of each submodule and `.grad` are as
      before, and in-place ReLUs work. `retain_graph` is taken and has no meaning, as no graph goes beyond
      the layer.

    Args:
        nn_module: a network that gives (B, N) scores. Behind a sigmoid or softmax, the logits before it are
            explained.
        target_layers: the name of a layer in `nn_module.named_modules()`, or several to choose from with
            `layer_idx`. Its output is (B, C, *spatial); name a layer behind its ReLU.
        upsampler: as MONAI's, from a spatial size to a function of maps.
        postprocessing: a function of the upsampled maps; by default none.
        top_k: classes per sample where `class_idx` is None, the highest scores first; cut to the N there are.
        method: the rule that makes the class maps.
        normalisation: what the fusion divides by; see `fm_g_cam`.
        activation: what the fusion ends with; see `fm_g_cam`.
        fused: False leaves the filter out: K class maps on one scale.
        kind: what the network gives, see `cxr_explain.options.OutputKind`; by default that is found out.

    Raises:
        ModelError: no layer of that name.
        OptionError: no layer, a value that an option does not take, or no module.

    Source:
        Silva and Bird, FM-G-CAM: A Holistic Approach for Explainable AI in Computer Vision, arXiv 2312.05975.

    >>> from monai.networks.nets import DenseNet121
    >>> network = DenseNet121(spatial_dims=2, in_channels=1, out_channels=3)
    >>> cam = FMGCAM(nn_module=network, target_layers="class_layers.relu", top_k=2)
    >>> cam(x=torch.rand((1, 1, 48, 64))).shape
    torch.Size([1, 2, 48, 64])
    """

    def __init__(
        self,
        nn_module: nn.Module,
        target_layers: str | Sequence[str],
        upsampler: Callable[[Sequence[int]], Callable[[Tensor], Tensor]] = default_upsampler,
        postprocessing: Callable[[Tensor], Tensor] | None = None,
        *,
        top_k: int = 5,
        method: LayerMethod = "grad-cam",
        normalisation: Normalisation = "joint",
        activation: Activation = "relu",
        fused: bool = True,
        kind: OutputKind | None = None,
    ) -> None:
        if not isinstance(nn_module, nn.Module):
            raise OptionError(f"a {type(nn_module).__name__}", expected="a torch.nn.Module")
        check_option("method", method, LayerMethod)
        check_option("normalisation", normalisation, Normalisation)
        check_option("activation", activation, Activation)
        check_at_least(1, top_k=top_k)
        self.nn_module = nn_module
        self.target_layers = (target_layers,) if isinstance(target_layers, str) else tuple(target_layers)
        if not self.target_layers:
            raise OptionError("no layer", expected="one or more")
        for name in self.target_layers:
            _Network(nn_module, name, {}, kind)  # which refuses a layer that is not there
        self.upsampler = upsampler
        self.postprocessing = postprocessing
        self.top_k = top_k
        self.method: LayerMethod = method
        self.normalisation: Normalisation = normalisation
        self.activation: Activation = activation
        self.fused = fused
        self.kind = kind

    def __call__(
        self,
        x: Tensor,
        class_idx: ClassIndex = None,
        layer_idx: int = -1,
        retain_graph: bool = False,
        img_size: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """The fused map by class, upsampled and postprocessed.

        Args:
            x: (B, C, *spatial), the network's input.
            class_idx: None for the `top_k` highest scores of each sample; an int for that class in each, one
                channel as MONAI gives; a sequence of K ints for those classes in each, in that order; a
                tensor (B, K) of int64 for others in each sample. Where two are equal at a position, it goes
                to the first.
            layer_idx: index of the target layer.
            retain_graph: without meaning here, as no graph is kept.
            img_size: spatial size of the result; by default that of `x`.
            **kwargs: keyword arguments of the network.

        Returns:
            (B, K, *img_size), at least float32, without a graph. Of a MetaTensor a MetaTensor with its
            metadata, so that `Invertd` takes the maps back; with `img_size` a plain tensor.

        Raises:
            OptionError: classes that the network does not have, or no such layer.
            ModelError: a layer or an output that is not as said above.
        """
        maps = self.compute_map(
            x, class_idx=class_idx, retain_graph=retain_graph, layer_idx=layer_idx, **kwargs
        )
        result = self.upsampler(tuple(img_size or x.shape[2:]))(maps)
        if self.postprocessing is not None:
            result = self.postprocessing(result)
        if isinstance(x, MetaTensor) and img_size is None:
            result = MetaTensor(result).copy_meta_from(x)
        return result

    def compute_map(
        self,
        x: Tensor,
        class_idx: ClassIndex = None,
        retain_graph: bool = False,  # noqa: ARG002 - MONAI's signature
        layer_idx: int = -1,
        **kwargs: Any,
    ) -> Tensor:
        """The fused map by class at the layer's own size, (B, K, *layer); see `__call__`."""
        return self.fused_maps(x, class_idx=class_idx, layer_idx=layer_idx, **kwargs)[0]

    def fused_maps(
        self, x: Tensor, class_idx: ClassIndex = None, *, layer_idx: int = -1, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """The maps, and which classes they are of.

        Returns:
            (B, K, *layer) maps and (B, K) int64 classes.
        """
        if not isinstance(x, Tensor):
            raise OptionError(
                f"an input of type {type(x).__name__}",
                expected="a tensor (B, C, *spatial)",
                remedy="Wrap a network of several inputs in a module whose forward takes one tensor, such as "
                "the inputs' channels together; further arguments go by keyword.",
            )
        network = _Network(self.nn_module, self._layer(layer_idx), kwargs, self.kind)
        forward = network.look(_plain(x))
        classes = _classes(class_idx, forward.logits, self.top_k)
        network.check_normalisation(self.normalisation)
        class_maps = maps_of_passes(network, x, classes, [forward], self.method)
        return network.in_space(self._fuse(class_maps).maps), classes

    def feature_map_size(
        self,
        input_size: Sequence[int],
        device: str | torch.device = "cpu",
        layer_idx: int = -1,
        **kwargs: Any,
    ) -> torch.Size:
        """The shape of `compute_map` for an input of that shape, by a pass of zeros."""
        return self.compute_map(torch.zeros(*input_size, device=device), layer_idx=layer_idx, **kwargs).shape

    def _layer(self, index: int) -> str:
        try:
            return self.target_layers[index]
        except IndexError:
            raise OptionError(
                f"layer_idx={index}", expected=f"one of the {len(self.target_layers)} target layers"
            ) from None

    def _fuse(self, class_maps: Tensor) -> FusedMaps:
        with torch.inference_mode(False), torch.no_grad():
            return fuse(
                class_maps, normalisation=self.normalisation, activation=self.activation, fused=self.fused
            )


class _Network(HookedClassifier):
    """Any network as a classifier whose outputs have no names.

    A layer's spatial dimensions beyond two are laid side by side as columns: what is computed position by
    position, or as a sum over all of them, is the same in any number of dimensions.
    """

    def __init__(
        self, module: nn.Module, layer: str, arguments: Mapping[str, Any], kind: OutputKind | None
    ) -> None:
        super().__init__(module, layer, Outputs(("unnamed",), kind=kind), grid=self._side_by_side)
        self._arguments = arguments
        self._space: torch.Size = torch.Size()

    def call(self, inputs: Tensor) -> object:
        """Whatever the module gives for the inputs and the arguments of this call."""
        return self.module(inputs, **self._arguments)

    def look(self, inputs: Tensor) -> AutogradPass:
        """One forward pass."""
        with self.undisturbed():
            return passes_at(self, self.suited(inputs), [self.target_layer], self._side_by_side)[0]

    def in_space(self, maps: Tensor) -> Tensor:
        """(B, K, I, J) -> (B, K, *the layer's own spatial dimensions)."""
        return maps.reshape(*maps.shape[:2], *self._space)

    def check_normalisation(self, normalisation: Normalisation) -> None:
        """Refuse what means something in two dimensions alone."""
        if normalisation == "released" and len(self._space) != 2:
            raise OptionError(
                f"normalisation='released' in {len(self._space)} dimensions",
                expected="joint or per-class",
                remedy="The released code divides by the norm of each column of a 2-D map.",
            )

    def _side_by_side(self, output: Tensor) -> Tensor:
        if not 3 <= output.ndim <= 5:
            raise ModelError(
                f"activations of shape {tuple(output.shape)}",
                expected="(B, C, *spatial) in one, two or three dimensions",
                source=self.target_layer,
            )
        self._space = output.shape[2:]
        return output[:, :, None] if output.ndim == 3 else output.flatten(3)


def _plain(x: Tensor) -> Tensor:
    """Without MONAI's metadata, which would be tracked through every layer."""
    return x.as_tensor() if isinstance(x, MetaTensor) else x


def _classes(class_idx: ClassIndex, logits: Tensor, top_k: int) -> Tensor:
    """(B, K) int64, each an output of the network."""
    count, outputs = logits.shape
    if class_idx is None:
        return logits.sort(dim=1, descending=True, stable=True).indices[:, :top_k]
    classes = torch.as_tensor(class_idx, device=logits.device)
    if classes.ndim < 2:
        classes = classes.reshape(1, -1).expand(count, -1)
    fits = classes.dtype == torch.int64 and classes.ndim == 2 and len(classes) == count and classes.numel()
    if not fits or not 0 <= int(classes.min()) <= int(classes.max()) < outputs:
        raise OptionError(
            f"class_idx={class_idx}",
            expected=f"one or more of 0 to {outputs - 1}, for each of {count} samples",
        )
    return classes
