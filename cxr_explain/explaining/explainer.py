"""The one path: radiographs -> model inputs -> one forward pass -> rankings -> fused maps -> explanations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from cxr_explain._version import __version__
from cxr_explain.cam.evidence import Track, silent
from cxr_explain.cam.fusion import FusedMaps, fuse
from cxr_explain.cam.registry import Method
from cxr_explain.cam.rules import NamedRule, Rule, forward_passes, maps_of_passes, named_rule
from cxr_explain.errors import OptionError, PhantomWeightsError
from cxr_explain.explaining.batch_maps import BatchMaps
from cxr_explain.explaining.explanation import Explanation, Provenance
from cxr_explain.explaining.preprocessing import ModelInput, prepare
from cxr_explain.explaining.ranking import Ranking, rank
from cxr_explain.explaining.samples import Sample, inputs_of, radiograph_of
from cxr_explain.models.base import Classifier
from cxr_explain.models.coercion import OutputsLike, as_classifier
from cxr_explain.options import Activation, Dtype, Fit, Normalisation, RankBy, check_option
from cxr_explain.radiograph import Radiograph

PHANTOM_WEIGHTS_WARNING = (
    "The model was trained on phantoms only: its scores and maps for a radiograph have no meaning. "
    "It was run with allow_phantom_weights."
)
"""What stays on an explanation of a radiograph by such a model."""


class Explainer:
    """Explains radiographs with one classifier.

    Args:
        classifier: the model to explain; TorchXRayVision's DenseNet or ResNet may come as it is.
        method: the rule that makes the class maps: a name, or a function from `Evidence` to (B, K, I, J).
        target_layers: layers to explain, by their names in the classifier's module; several are combined as
            LayerCAM does. By default the classifier's own target layer.
        fused: False shows the K class maps as they are, scaled together, without the filter of equation 4.
        normalisation: of the fusion; see `fm_g_cam`.
        activation: of the fusion; see `fm_g_cam`.
        fit: "crop" is TorchXRayVision's centre crop; "pad" shows the model the whole radiograph.
        xrv_compatible: preprocess with TorchXRayVision's own transforms.
        dtype: "bfloat16" runs the forward pass under autocast; maps are always at least float32, and methods
            that run the model again, such as Score-CAM, do so in the model's own precision.
        allow_phantom_weights: let a model that was trained on phantoms alone explain radiographs, too.
            Without it, such a model is refused for whatever is not known to be a phantom.
        track: shows the progress of methods that run the model many times; takes a sequence and a word on
            what is done, and gives back the items.

    Raises:
        OptionError: an option outside of its closed set.
        ModelError: a module that is no classifier; see `as_classifier`.

    >>> from cxr_explain import ensure_torchvision_imports; ensure_torchvision_imports()
    >>> import torchxrayvision as xrv
    >>> explainer = Explainer(xrv.models.DenseNet())
    >>> explanation = explainer.explain(Radiograph.from_array(np.zeros((256, 256), np.float32)), top_k=3)
    >>> explanation.maps.shape
    (3, 7, 7)
    """

    def __init__(
        self,
        classifier: Classifier | nn.Module,
        *,
        method: Method | Rule = "grad-cam",
        target_layers: Sequence[str] = (),
        fused: bool = True,
        normalisation: Normalisation = "joint",
        activation: Activation = "relu",
        fit: Fit = "crop",
        xrv_compatible: bool = False,
        dtype: Dtype = "float32",
        allow_phantom_weights: bool = False,
        track: Track = silent,
    ) -> None:
        check_option("normalisation", normalisation, Normalisation)
        check_option("activation", activation, Activation)
        check_option("fit", fit, Fit)
        check_option("dtype", dtype, Dtype)
        self.classifier = as_classifier(classifier)
        self.method = method
        self.target_layers = _names(target_layers)
        self.fused = fused
        self.track = track
        self._rule = named_rule(method)
        self.normalisation = normalisation
        self.activation = activation
        self.fit = fit
        self.xrv_compatible = xrv_compatible
        self.dtype = dtype
        self.allow_phantom_weights = allow_phantom_weights

    @classmethod
    def from_pretrained(
        cls,
        weights: str | PathLike[str],
        *,
        weights_dir: str | PathLike[str] | None = None,
        fetch: bool = True,
        device: str | torch.device | None = None,
        **options: Any,
    ) -> Self:
        """Build an explainer for weights with a name, or for a checkpoint file of the same architectures.

        Args:
            weights: for example "densenet121-res224-all", or a path; `cxr-explain weights list` has them all.
            weights_dir: where weights lie; by default TorchXRayVision's own folder.
            fetch: download what is missing.
            device: by default CUDA where present, else the CPU.
            **options: see `Explainer`.

        Raises:
            WeightsError: unknown, missing, unsafe, changed, or not of this architecture.
        """
        from cxr_explain.models.pretrained import from_pretrained

        classifier = from_pretrained(weights, weights_dir=weights_dir, fetch=fetch)
        classifier.module.to(_device(device))
        return cls(classifier, **options)

    @property
    def rule(self) -> NamedRule:
        """The rule that makes the class maps, with its title and settings."""
        return self._rule

    def prepare(self, radiograph: Radiograph) -> ModelInput:
        """Cut and resize one radiograph for this explainer's model."""
        return prepare(
            radiograph, self.classifier.input_size, fit=self.fit, xrv_compatible=self.xrv_compatible
        )

    def explain(
        self,
        radiograph: Radiograph | Sample,
        *,
        top_k: int = 5,
        rank_by: RankBy = "probability",
        pathologies: Iterable[str] | None = None,
        above_operating_point: bool = False,
    ) -> Explanation:
        """Explain one radiograph.

        Args:
            radiograph: see `read_radiograph`; or a sample of a TorchXRayVision data set, as `dataset[i]`
                gives it.
            top_k: how many pathologies to explain; cut to those that the model has, with a note.
            rank_by: "probability" (sigmoid) or "calibrated" (relative to the operating point).
            pathologies: consider these alone.
            above_operating_point: consider only those that reach their operating point.

        Raises:
            OptionError: an option outside of its closed set.
            ModelError: a model that is not as declared.
            PhantomWeightsError: a model that knows phantoms alone, and a radiograph that is none.
        """
        return self.explain_batch(
            [radiograph],
            top_k=top_k,
            rank_by=rank_by,
            pathologies=pathologies,
            above_operating_point=above_operating_point,
        )[0]

    def explain_batch(
        self,
        radiographs: Sequence[Radiograph | Sample],
        *,
        top_k: int = 5,
        model_inputs: Sequence[ModelInput] | None = None,
        **ranking_options: Any,
    ) -> list[Explanation]:
        """Explain several radiographs in one forward pass; see `explain` for the options.

        Args:
            radiographs: B of them, or samples; see `explain`.
            top_k: see `explain`.
            model_inputs: what `prepare` gave for each of them, where that was done already.
            **ranking_options: see `explain`.
        """
        these = tuple(r if isinstance(r, Radiograph) else radiograph_of(r) for r in radiographs)
        if not these:
            return []
        for radiograph in these:
            self.check_suits(radiograph)
        if model_inputs is None:
            model_inputs = [self.prepare(radiograph) for radiograph in these]
        inputs = torch.stack([model_input.tensor for model_input in model_inputs])
        batch = self._explain_inputs(inputs, top_k=top_k, **ranking_options)
        return [
            self._explanation(radiograph, model_input, ranking, fused, batch.gradient, top_k)
            for radiograph, model_input, ranking, fused in zip(
                these, model_inputs, batch.rankings, batch.fused, strict=True
            )
        ]

    def explain_inputs(
        self,
        inputs: Tensor,
        *,
        top_k: int = 5,
        rank_by: RankBy = "probability",
        pathologies: Iterable[str] | None = None,
        above_operating_point: bool = False,
    ) -> BatchMaps:
        """Rank and fuse for model inputs: one forward pass and work on the last feature map.

        Args:
            inputs: (B, 1, S, S) in [-1024, 1024].
            top_k: see `explain`.
            rank_by: see `explain`.
            pathologies: see `explain`.
            above_operating_point: see `explain`.

        Raises:
            OptionError: an option outside of its closed set.
            PhantomWeightsError: a model that knows phantoms alone, as nothing says that these are some.
        """
        self._refuse_phantom_weights("bare tensors, which nothing says are phantoms")
        return self._explain_inputs(
            inputs,
            top_k=top_k,
            rank_by=rank_by,
            pathologies=pathologies,
            above_operating_point=above_operating_point,
        )

    def check_suits(self, radiograph: Radiograph) -> None:
        """Refuse what the model has no say in.

        Raises:
            PhantomWeightsError: a model that knows phantoms alone, and a radiograph that is none.
        """
        if not radiograph.phantom:
            self._refuse_phantom_weights(f"radiograph {radiograph.id}, which is no phantom")

    def _refuse_phantom_weights(self, found: str) -> None:
        if self.classifier.phantom_only and not self.allow_phantom_weights:
            raise PhantomWeightsError(
                found,
                expected=f"phantoms, because {self.classifier.name} has only seen phantoms",
                remedy="Choose published weights, such as densenet121-res224-all; or, for a demonstration, "
                "allow it with --allow-phantom-weights, allow_phantom_weights=True.",
            )

    def _explain_inputs(
        self,
        inputs: Tensor,
        *,
        top_k: int,
        rank_by: RankBy = "probability",
        pathologies: Iterable[str] | None = None,
        above_operating_point: bool = False,
    ) -> BatchMaps:
        if inputs.ndim != 4 or 0 in inputs.shape or not inputs.is_floating_point():
            raise OptionError(
                f"{inputs.dtype} inputs of shape {tuple(inputs.shape)}", expected="float (B, 1, S, S), B >= 1"
            )
        only = None if pathologies is None else _names(pathologies)
        with self._arithmetic():
            passes = forward_passes(self.classifier, inputs, self.target_layers)
        logits = passes[0].logits
        rankings = tuple(
            rank(
                row,
                self.classifier.pathologies,
                self.classifier.operating_points,
                top_k=top_k,
                by=rank_by,
                only=only,
                above_operating_point=above_operating_point,
            )
            for row in logits.double().tolist()
        )
        most = max(ranking.k for ranking in rankings)
        # Short rankings are filled up with class 0 for the batched gradient, and cut again before the fusion.
        classes = torch.tensor(
            [[p.index for p in ranking.top] + [0] * (most - ranking.k) for ranking in rankings],
            dtype=torch.int64,
            device=logits.device,
        ).reshape(len(rankings), most)
        class_maps = maps_of_passes(
            self.classifier, inputs, classes, passes, self.method, self.target_layers, self.track
        )
        gradient = "none" if self._rule.gradient_free else passes[0].gradient
        return BatchMaps(rankings, self._fuse(class_maps, rankings), gradient)

    def _fuse(self, class_maps: Tensor, rankings: Sequence[Ranking]) -> tuple[FusedMaps, ...]:
        with torch.inference_mode():
            if len({ranking.k for ranking in rankings}) == 1:
                return _split(self._fuse_alike(class_maps))
            return tuple(
                self._fuse_alike(class_maps[b : b + 1, : ranking.k]) for b, ranking in enumerate(rankings)
            )

    def _fuse_alike(self, class_maps: Tensor) -> FusedMaps:
        return fuse(
            class_maps, normalisation=self.normalisation, activation=self.activation, fused=self.fused
        )

    def _arithmetic(self) -> AbstractContextManager[Any]:
        if self.dtype == "bfloat16":
            return torch.autocast(self.classifier.device.type, torch.bfloat16)
        return nullcontext()

    def _explanation(
        self,
        radiograph: Radiograph,
        model_input: ModelInput,
        ranking: Ranking,
        fused: FusedMaps,
        gradient: str,
        top_k: int,
    ) -> Explanation:
        return Explanation(
            id=radiograph.id,
            ranking=ranking,
            class_maps=_to_numpy(fused.class_maps[0]),
            maps=_to_numpy(fused.maps[0]),
            geometry=model_input.geometry,
            provenance=Provenance(
                package_version=__version__,
                torch_version=torch.__version__,
                model=self.classifier.name,
                weights_sha256=self.classifier.weights_sha256,
                training_sets=self.classifier.training_sets,
                target_layer=", ".join(self.target_layers) or self.classifier.target_layer,
                method=self._method_title(ranking.k),
                gradient=gradient,
                normalisation=self.normalisation,
                activation=self.activation,
                top_k=top_k,
                device=self.classifier.device.type,
                dtype=self.dtype,
                radiograph_sha256=radiograph.sha256,
                steps=model_input.steps,
                warnings=(*self._phantom_warnings(radiograph), *radiograph.warnings),
                view=radiograph.view,
                laterality=radiograph.laterality,
                patient_orientation=radiograph.patient_orientation,
                notes=ranking.notes,
                phantom=radiograph.phantom,
                phantom_only=self.classifier.phantom_only,
                rule_settings=self._rule.settings,
                fused=self.fused,
            ),
            radiograph=radiograph,
        )

    def _method_title(self, k: int) -> str:
        if k == 1 or not self.fused:
            return self._rule.title
        return "FM-G-CAM" if self.method == "grad-cam" else f"FM-G-CAM of {self._rule.title}"

    def _phantom_warnings(self, radiograph: Radiograph) -> tuple[str, ...]:
        out_of_place = self.classifier.phantom_only and not radiograph.phantom
        return (PHANTOM_WEIGHTS_WARNING,) if out_of_place else ()


def explain(
    model: Classifier | nn.Module,
    batch: Tensor | Sample,
    *,
    outputs: OutputsLike = None,
    target_layer: str | None = None,
    top_k: int = 5,
    rank_by: RankBy = "probability",
    pathologies: Iterable[str] | None = None,
    above_operating_point: bool = False,
    **options: Any,
) -> BatchMaps:
    """Explain a batch of a model's own inputs, in about one forward pass.

    For a training or validation loop of torch or Lightning, where inputs are tensors already; the model
    leaves as it came. For files, sizes and figures see `Explainer`.

    Args:
        model: a Classifier, TorchXRayVision's DenseNet or ResNet, a 2-D DenseNet of MONAI, or any module
            that gives (B, N) logits.
        batch: (B, C, H, W), as the model takes it; or a sample or collated batch of a TorchXRayVision data
            set, with "img".
        outputs: names of the model's N outputs, '' where one was never trained; TorchXRayVision's models
            bring their own.
        target_layer: the layer to explain, by its name in `model.named_modules()`; a Classifier and the
            models of TorchXRayVision and MONAI have one of their own, which needs no gradient.
        top_k: see `Explainer.explain`.
        rank_by: see `Explainer.explain`.
        pathologies: see `Explainer.explain`.
        above_operating_point: see `Explainer.explain`.
        **options: of `Explainer`, such as `method`.

    Raises:
        ModelError: a module that says too little of itself.
        OptionError: inputs of another shape or, for TorchXRayVision's models, of another range.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> batch = explain(net, torch.rand(4, 3, 32, 32), outputs=list("abcdefgh"), target_layer="1", top_k=2)
    >>> batch.fused[0].maps.shape, batch.overlays(torch.rand(4, 3, 32, 32)).shape
    (torch.Size([1, 2, 15, 15]), (4, 32, 32, 3))
    """
    inputs = inputs_of(batch)
    classifier = as_classifier(model, outputs, target_layer=target_layer)
    classifier.check_inputs(inputs)
    layers = () if target_layer in (None, classifier.target_layer) else (str(target_layer),)
    explainer = Explainer(classifier, target_layers=layers, **options)
    return explainer.explain_inputs(
        inputs,
        top_k=top_k,
        rank_by=rank_by,
        pathologies=pathologies,
        above_operating_point=above_operating_point,
    )


@dataclass(frozen=True)
class Pretrained:
    """How another process comes to an explainer: what `Explainer.from_pretrained` is told.

    Args:
        weights: a name or a file.
        options: of `Explainer.from_pretrained`.
    """

    weights: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> Explainer:
        """An explainer of this process's own."""
        return Explainer.from_pretrained(self.weights, **self.options)


def _split(fused: FusedMaps) -> tuple[FusedMaps, ...]:
    return tuple(
        replace(fused, maps=maps[None], class_maps=class_maps[None], winner=winner[None])
        for maps, class_maps, winner in zip(fused.maps, fused.class_maps, fused.winner, strict=True)
    )


def _to_numpy(maps: Tensor) -> np.ndarray:
    return np.ascontiguousarray(maps.float().cpu().numpy())


def _names(pathologies: Iterable[str]) -> tuple[str, ...]:
    return (pathologies,) if isinstance(pathologies, str) else tuple(pathologies)


def _device(device: str | torch.device | None) -> torch.device:
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise OptionError(
            f"device={device!r}, which torch cannot use here", expected="cpu, or cuda where present"
        ) from error
    return chosen
