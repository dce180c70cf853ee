"""The one path: radiographs -> model inputs -> one forward pass -> rankings -> fused maps -> explanations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Any, Self, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cxr_explain._version import __version__
from cxr_explain.cam.evidence import Track, silent, without_gradient
from cxr_explain.cam.fusion import FusedMaps, fuse
from cxr_explain.cam.layers import combine_layers
from cxr_explain.cam.registry import ATTENTION_RULES, EVERY_ATTENTION
from cxr_explain.cam.rules import forward_passes, maps_of_passes, named_rule
from cxr_explain.cam.views import View
from cxr_explain.engines.registry import ENGINES
from cxr_explain.errors import ModelError, OptionError, PhantomWeightsError
from cxr_explain.explaining.batch_maps import BatchMaps
from cxr_explain.explaining.calibration import Calibration
from cxr_explain.explaining.compared_maps import OtherMaps, stability_of, views_of
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.explaining.layer_notes import logit_distances, notes_on_attention, notes_on_layers
from cxr_explain.explaining.operating_points import OperatingPoints, tuning_warning
from cxr_explain.explaining.preprocessing import ModelInput, prepare
from cxr_explain.explaining.provenance import ExplainerFacts, LogitDistance
from cxr_explain.explaining.ranking import Ranking, rank
from cxr_explain.explaining.samples import Sample, inputs_of, radiograph_of, reference_of
from cxr_explain.explaining.settings import MapOptions, MapSettings, RankingOptions, RankingSettings
from cxr_explain.explaining.transfer import batch_on_cpu, in_one_copy, notes_on_precision
from cxr_explain.geometry import Geometry
from cxr_explain.loaders.read import read_radiograph
from cxr_explain.models.attention import encoder_of
from cxr_explain.models.base import Classifier, ForwardPass
from cxr_explain.models.coercion import OutputsLike, as_classifier
from cxr_explain.models.finer import FinerClassifier
from cxr_explain.models.survey import layers_that_do
from cxr_explain.models.wrappers import unwrapped
from cxr_explain.options import Engine
from cxr_explain.pathologies import canonical_pathology, readable
from cxr_explain.radiograph import Radiograph

RadiographLike = Radiograph | Sample | str | PathLike[str]
"""A radiograph, the path of its file, or a sample of a TorchXRayVision data set."""

OperatingPointsLike = OperatingPoints | str | PathLike[str] | None
"""Operating points that were fitted, or their file; None for the weights' own."""

PHANTOM_WEIGHTS_WARNING = (
    "The model was trained on phantoms only: its scores and maps for a radiograph have no meaning. "
    "It was run with allow_phantom_weights."
)
"""What stays on an explanation of a radiograph by such a model."""


OWN_FORWARD_NOTE = (
    "The model's own forward is explained, which gives other scores than the body and head of its family"
)
"""What stays on an explanation of such a model."""


class ExplainOptions(RankingOptions, MapOptions, total=False):
    """The keyword arguments of `explain`; see `RankingSettings` and `MapSettings`."""


@dataclass(frozen=True, eq=False)
class FurtherMaps:
    """Class maps of pathologies that were asked for by name, whatever their rank.

    Args:
        pathologies: the N names, the most probable first.
        class_maps: (N, I, J) float32, raw and signed.
    """

    pathologies: tuple[str, ...]
    class_maps: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Explained:
    """What one forward pass gives for one radiograph.

    Args:
        radiograph: the radiograph that was explained.
        explanation: what speaks for the K ranked pathologies.
        further: maps of the others that were asked for by name; None where none were.
    """

    radiograph: Radiograph
    explanation: Explanation
    further: FurtherMaps | None = None


class Explainer:
    """Explains radiographs with one classifier.

    Args:
        classifier: the model to explain; TorchXRayVision's DenseNet or ResNet may come as it is.
        track: shows the progress of methods that run the model many times; takes a sequence and a word on
            what is done, and gives back the items.
        operating_points: operating points that were fitted for this model, and their calibrations, in place
            of the weights' own; the object or its file, as `cxr-explain thresholds` writes it.
        **options: how maps are made, such as `method="layercam"`; see `MapSettings`.

    Raises:
        OptionError: a value that an option does not take, or operating points of another model.
        OutputError: a file that holds no operating points, or was changed since it was written.
        ModelError: a module that is no classifier; see `as_classifier`.

    >>> from cxr_explain import ensure_torchvision_imports; ensure_torchvision_imports()
    >>> import torchxrayvision as xrv
    >>> explainer = Explainer(xrv.models.DenseNet(), fit="pad")
    >>> explanation = explainer.explain(Radiograph.from_array(np.zeros((256, 256), np.float32)), top_k=3)
    >>> explanation.maps.shape, explainer.settings.fit
    ((3, 7, 7), 'pad')
    """

    def __init__(
        self,
        classifier: Classifier | nn.Module,
        *,
        track: Track = silent,
        operating_points: OperatingPointsLike = None,
        **options: Unpack[MapOptions],
    ) -> None:
        self.settings = MapSettings.of(**options)
        if isinstance(classifier, nn.Module):
            classifier, layers = unwrapped(classifier, *self.settings.target_layers)
            self.settings = replace(self.settings, target_layers=layers)
        self.rule = named_rule(self.settings.method)
        self._asked_engine = self.settings.engine
        self.classifier, notes = self._on_engine(_native(as_classifier(classifier)))
        if self.settings.resolution != "native":
            from cxr_explain.engines.compiled import finer

            self.classifier = finer(self.classifier, self.settings.resolution)
        self.track = track
        self._checked: set[bool] = set()  # with one image, with several
        self._better_layers: str | None = None
        self._notes: tuple[str, ...] = notes
        self.fitted = None if operating_points is None else OperatingPoints.of(operating_points)
        if self.fitted is not None:
            maps = self.settings
            self.fitted.check_fits(self.classifier, fit=maps.fit, xrv_compatible=maps.xrv_compatible)

    @classmethod
    def from_pretrained(
        cls,
        weights: str | PathLike[str],
        *,
        weights_dir: str | PathLike[str] | None = None,
        fetch: bool = True,
        device: str | torch.device | None = None,
        track: Track = silent,
        operating_points: OperatingPointsLike = None,
        **options: Unpack[MapOptions],
    ) -> Self:
        """Build an explainer for weights with a name, or for a checkpoint file of the same architectures.

        Args:
            weights: name of weights, such as "densenet121-res224-all", or path of a checkpoint file;
                `cxr-explain weights list` has all names.
            weights_dir: folder that holds the weights; by default TorchXRayVision's own folder.
            fetch: download what is missing.
            device: device that computes; by default CUDA where present, else the CPU.
            track: shows the progress of methods that run the model many times.
            operating_points: those that were fitted for these weights, in place of the weights' own; the
                object or its file.
            **options: how maps are made, such as `method="layercam"`; see `MapSettings`.

        Raises:
            WeightsError: unknown, missing, unsafe, changed, or not of this architecture.
            OptionError: operating points of other weights.
            OutputError: a file that holds no operating points, or was changed since it was written.
        """
        from cxr_explain.models.pretrained import from_pretrained

        settings = MapSettings.of(**options)
        if device is None and settings.engine not in ("torch", "auto"):
            device = "cpu"  # where the other engines compute
        place = device_named(device)
        if settings.engine != "torch" and place.type == "cpu" and not settings.target_layers:
            from cxr_explain.engines.stored import compiled_from_pretrained

            classifier = compiled_from_pretrained(
                weights, weights_dir=weights_dir, fetch=fetch, engine=settings.engine, dtype=settings.dtype
            )
        else:
            classifier = from_pretrained(weights, weights_dir=weights_dir, fetch=fetch)
            classifier.module.to(place)
            if place.type == "cuda":
                # As inputs come, so that cuDNN rearranges nothing; torch's own types leave the argument out.
                classifier.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        explainer = cls(classifier, track=track, operating_points=operating_points, **options)
        if isinstance(explainer.classifier, FinerClassifier):
            explainer.classifier.taken_out(classifier.input_size, classifier.input_size)
        return explainer

    @property
    def chose_its_engine(self) -> bool:
        """Whether engine="auto" left it to the explainer which engine runs the model."""
        return self._asked_engine == "auto"

    def on_engine(self, engine: Engine) -> Explainer:
        """An explainer that is the same, on another engine.

        Args:
            engine: name of the engine.

        Raises:
            MissingExtraError: the engine is not installed.
            ModelError: a model that it cannot run.
            OptionError: it does not compute as the settings say.
        """
        options: dict[str, Any] = vars(self.settings) | {"engine": engine}
        return Explainer(self.classifier, track=self.track, operating_points=self.fitted, **options)

    @property
    def points(self) -> tuple[float | None, ...]:
        """The operating point of each of the model's outputs: as fitted, else the weights' own."""
        if self.fitted is None:
            return self.classifier.operating_points
        return self.fitted.of_outputs(self.classifier.pathologies)[0]

    @property
    def calibrations(self) -> tuple[Calibration | None, ...]:
        """The calibration of each of the model's outputs; () where there is none at all."""
        found = () if self.fitted is None else self.fitted.of_outputs(self.classifier.pathologies)[1]
        return found if any(found) else ()

    @property
    def facts(self) -> ExplainerFacts:
        """What stays the same for every radiograph that it explains."""
        if not self._checked:
            self._check_on_noise()
        classifier, settings = self.classifier, self.settings
        if not isinstance(settings.method, str):
            settings = replace(settings, method=self.rule.title)  # one's own
        return ExplainerFacts(
            package_version=__version__,
            torch_version=str(torch.__version__),
            model=classifier.name,
            weights_sha256=classifier.weights_sha256,
            training_sets=tuple(classifier.training_sets),
            target_layer=EVERY_ATTENTION
            if self.rule.attention
            else ", ".join(settings.target_layers) or classifier.target_layer,
            output_kind=classifier.outputs.kind or "logits",
            rule_title=self.rule.title,
            map_settings=settings,
            phantom_only=classifier.phantom_only,
            rule_settings=self.rule.settings,
            engine_version=ENGINES[settings.engine].version,
            tuning=self.fitted.tuning if self.fitted else None,
            operating_points_sha256=self.fitted.sha256 if self.fitted else None,
        )

    def prepare(self, radiograph: Radiograph) -> ModelInput:
        """Cut and resize one radiograph for this explainer's model.

        Raises:
            PhantomWeightsError: a model that knows phantoms alone, and a radiograph that is none.
            OptionError: a radiograph that was read with another `xrv_compatible`.
        """
        settings = self.settings
        if not radiograph.phantom:
            self._refuse_phantom_weights(f"radiograph {radiograph.id}, which is no phantom")
        settings.check_read_alike(radiograph.xrv_compatible)
        return prepare(
            radiograph,
            self.classifier.input_size,
            fit=settings.fit,
            xrv_compatible=settings.xrv_compatible,
        )

    def explain(
        self,
        radiograph: RadiographLike,
        *,
        data_set: Any = None,
        stability: bool = False,
        also: Sequence[Explainer] = (),
        **options: Unpack[RankingOptions],
    ) -> Explanation:
        """Explain one radiograph.

        Args:
            radiograph: a radiograph, as `read_radiograph` gives it; the path of a file, which is read; or a
                sample of a TorchXRayVision data set, as `dataset[i]` gives it.
            data_set: for a sample, the data set that it comes from, or that data set's `pathologies`; then
                the explanation's `reference` has the sample's labels and masks.
            stability: find how far each class map stays under small shifts and noise; see `with_stability`.
            also: explainers with other weights, whose class maps are compared with these.
            **options: which pathologies to explain, such as `top_k=3`; see `RankingSettings`.

        Raises:
            RadiographError: a file that gives no radiograph.
            OptionError: a value that an option does not take, or a radiograph that was read with another
                `xrv_compatible`.
            ModelError: a model that is not as declared.
            PhantomWeightsError: a model that knows phantoms alone, and a radiograph that is none.
        """
        asked = {"data_set": data_set, "stability": stability, "also": also}
        return self.explain_batch([radiograph], **asked, **options)[0]

    def explain_batch(
        self,
        radiographs: Sequence[RadiographLike],
        *,
        data_set: Any = None,
        stability: bool = False,
        also: Sequence[Explainer] = (),
        **options: Unpack[RankingOptions],
    ) -> list[Explanation]:
        """Explain several radiographs in one forward pass.

        Args:
            radiographs: B radiographs, paths of files, or samples of a TorchXRayVision data set, as
                `dataset[i]` gives them.
            data_set: as for `explain`.
            stability: as for `explain`.
            also: as for `explain`.
            **options: which pathologies to explain, such as `top_k=3`; see `RankingSettings`.

        Raises:
            OptionError: a value that an option does not take, or a radiograph that was read with another
                `xrv_compatible`.
            ModelError: a model that is not as declared.
            PhantomWeightsError: a model that knows phantoms alone, and a radiograph that is none.
        """
        if isinstance(radiographs, (str, PathLike, Radiograph, Mapping)):
            raise OptionError(f"one {type(radiographs).__name__}", expected="a sequence of radiographs")
        radiographs = list(radiographs)
        references = [reference_of(r, data_set) if isinstance(r, Mapping) else None for r in radiographs]
        prepared = [self.prepare(self._read(radiograph)) for radiograph in radiographs]
        found = self.explain_prepared(prepared, RankingSettings.of(**options))
        return [
            replace(
                self.with_stability(each.explanation, image, stability=stability, also=also),
                reference=reference,
            )
            for each, image, reference in zip(found, prepared, references, strict=True)
        ]

    def with_stability(
        self,
        explanation: Explanation,
        image: ModelInput,
        *,
        stability: bool = True,
        also: Sequence[Explainer] = (),
    ) -> Explanation:
        """The same with how far the class maps stay the same; see `cxr_explain.explaining.compared_maps`.

        The eight views of an image are one batch: they cost eight times what the explanation itself cost, and
        each other explainer costs once its own.

        Args:
            explanation: what this explainer said of the image.
            image: what it was shown.
            stability: compare with small shifts and noise.
            also: explainers with other weights, to compare with; what they do not predict is left out.

        Raises:
            OptionError: another explainer that sees another square of the radiograph.
            PhantomWeightsError: another explainer that knows phantoms alone, and a radiograph that is none.

        >>> from cxr_explain.phantom import render, sample_patient, to_radiograph
        >>> explainer = Explainer.from_pretrained("phantom", device="cpu")
        >>> radiograph = to_radiograph(render(sample_patient(42), size=96))
        >>> explanation = explainer.explain(radiograph, top_k=1, stability=True)
        >>> (name,) = explanation.ranking.pathologies
        >>> 0.5 < explanation.stability[name] < 1
        True
        """
        names = explanation.ranking.pathologies
        maps, size = torch.from_numpy(explanation.class_maps.copy()), explanation.geometry.model_size
        if stability:
            found = self._under_views(image, explanation.ranking)
            explanation = replace(explanation, stability=stability_of(names, maps, found, size))
        if also:
            found = [_maps_of_another(other, explanation.geometry, image.radiograph, names) for other in also]
            across = stability_of(names, maps, found, size)
            explanation = replace(explanation, stability_across_models=across)
        return explanation

    def _under_views(self, image: ModelInput, ranking: Ranking) -> list[OtherMaps]:
        """The class maps of all views of an image, in one forward pass."""
        views = views_of(image.geometry.model_size)
        if not ranking.k:
            return [(said, view, {}) for said, view in views.items()]
        inputs = torch.cat([view.of(image.tensor[None]) for view in views.values()])
        stacks = self.class_maps(inputs, [prediction.index for prediction in ranking.top])
        return [
            (said, view, dict(zip(ranking.pathologies, maps, strict=True)))
            for (said, view), maps in zip(views.items(), stacks, strict=True)
        ]

    def class_maps(self, inputs: Tensor, indices: Sequence[int]) -> Tensor:
        """The class maps of K outputs, the same for all inputs, in one forward pass.

        Args:
            inputs: (B, 1, S, S), as `prepare` gives them.
            indices: the K outputs of the model, by their place.

        Returns:
            (B, K, I, J) float32 on the CPU, signed.
        """
        with self._own_precision():
            passes = self._forward_passes(inputs)
            classes = torch.tensor([indices] * len(inputs), device=passes[0].logits.device)
            by_layer = self._maps_by_layer(inputs, classes, passes)
            with torch.inference_mode():
                return _combined(by_layer).float().cpu()

    def _maps_by_layer(self, inputs: Tensor, classes: Tensor, passes: Sequence[ForwardPass]) -> list[Tensor]:
        """The class maps of each layer that is explained."""
        each: list[tuple[str, ...]] = [(name,) for name in self.settings.target_layers] or [()]
        return [
            maps_of_passes(
                self.classifier, inputs, classes, [forward], self.settings.method, names, self.track
            )
            for forward, names in zip(passes, each, strict=True)
        ]

    def _read(self, given: RadiographLike) -> Radiograph:
        if isinstance(given, Radiograph):
            return given
        if isinstance(given, (str, PathLike)):
            return read_radiograph(given, xrv_compatible=self.settings.xrv_compatible)
        return radiograph_of(given)

    def explain_prepared(self, model_inputs: Sequence[ModelInput], asked: RankingSettings) -> list[Explained]:
        """Explain what `prepare` gave for several radiographs, in one forward pass.

        Args:
            model_inputs: B of them. The further pathologies that they name take no part in the fusion, and no
                rule works twice for one that is ranked, too.
            asked: which pathologies to explain.

        Raises:
            OptionError: a pathology that the model does not predict.
            ModelError: a model that is not as declared.
        """
        if not model_inputs:
            return []
        inputs = torch.stack([model_input.tensor for model_input in model_inputs])
        with self._own_precision():
            batch, others = self._explain_inputs(inputs, asked, [one.further for one in model_inputs])
            batch = batch_on_cpu(batch)
        return [
            Explained(one.radiograph, self._explanation(one, batch, image, asked), other)
            for image, (one, other) in enumerate(zip(model_inputs, others, strict=True))
        ]

    def explain_inputs(self, inputs: Tensor, **options: Unpack[RankingOptions]) -> BatchMaps:
        """Rank and fuse for model inputs: one forward pass and work on the last feature map.

        Args:
            inputs: (B, 1, S, S) in [-1024, 1024].
            **options: which pathologies to explain, such as `top_k=3`; see `RankingSettings`.

        Raises:
            OptionError: a value that an option does not take.
            PhantomWeightsError: a model that knows phantoms alone, as nothing says that these are some.
        """
        self._refuse_phantom_weights("bare tensors, which nothing says are phantoms")
        with self._own_precision():
            return self._explain_inputs(inputs, RankingSettings.of(**options))[0]

    def _refuse_phantom_weights(self, found: str) -> None:
        if self.classifier.phantom_only and not self.settings.allow_phantom_weights:
            raise PhantomWeightsError(
                found,
                expected=f"phantoms, because {self.classifier.name} has only seen phantoms",
                remedy="Choose published weights, such as densenet121-res224-all; or, for a demonstration, "
                "allow it with --allow-phantom-weights, allow_phantom_weights=True.",
            )

    def _explain_inputs(
        self, inputs: Tensor, asked: RankingSettings, further: Sequence[tuple[str, ...]] | None = None
    ) -> tuple[BatchMaps, list[FurtherMaps | None]]:
        if inputs.ndim != 4 or 0 in inputs.shape or not inputs.is_floating_point():
            raise OptionError(
                f"{inputs.dtype} inputs of shape {tuple(inputs.shape)}", expected="float (B, 1, S, S), B >= 1"
            )
        passes = self._forward_passes(inputs)
        rows = passes[0].logits.double().tolist()
        rankings = tuple(self._rank(row, asked) for row in rows)
        others = [
            self._rank(row, RankingSettings(len(names), pathologies=names)) if names else None
            for row, names in zip(rows, further or [()] * len(rows), strict=True)
        ]
        indices = [_indices(*each) for each in zip(rankings, others, strict=True)]
        classes = _filled_up(indices, passes[0].logits.device)
        by_layer = self._maps_by_layer(inputs, classes, passes)
        with torch.inference_mode():
            here = in_one_copy(by_layer) if any(others) and by_layer[0].device.type != "cpu" else by_layer
            return self._batch(inputs, rankings, passes, classes, by_layer), [
                None if other is None else _further(here, image, indices[image], other)
                for image, other in enumerate(others)
            ]

    def _forward_passes(self, inputs: Tensor) -> tuple[ForwardPass, ...]:
        """One forward pass; of the first batch, after a look whether its scores are the model's own."""
        layers = self.settings.target_layers
        with self._arithmetic():
            passes = forward_passes(self.classifier, inputs, layers)
        several = len(inputs) > 1
        if several in self._checked:
            return passes
        logits = passes[0].logits if self.settings.dtype == "float32" else None  # checked as the model is
        checked = self.classifier.as_called(inputs, logits)
        if checked is self.classifier:
            self._checked.add(several)
            return passes
        if self._asked_engine not in ("torch", "auto"):
            raise ModelError(
                f"engine={self._asked_engine!r} for a model whose own forward gives other scores",
                expected="a model whose scores are those of the body and head of its family",
                remedy="Choose engine='torch', which runs the model's own forward.",
                source=self.classifier.name,
            )
        self.classifier, self._notes = checked, (*self._notes, OWN_FORWARD_NOTE)
        self.settings = replace(self.settings, engine="torch")
        return self._forward_passes(inputs)

    def _on_engine(self, classifier: Classifier) -> tuple[Classifier, tuple[str, ...]]:
        """The classifier on the engine that is asked for, and notes; settings say which engine it is."""
        settings = self.settings
        if settings.engine == "torch":
            return _in_torch(classifier), ()
        if settings.target_layers:
            if settings.engine != "auto":
                raise OptionError(
                    f"engine={settings.engine!r} with target_layers={settings.target_layers!r}",
                    expected="the classifier's own target layer, which is all that an engine gives",
                    remedy="Choose engine='torch'.",
                )
            self.settings = replace(settings, engine="torch")
            return _in_torch(classifier), (
                "computed by torch, as other engines give the last feature map alone",
            )
        from cxr_explain.engines.compiled import on_engine

        classifier, engine, notes = on_engine(classifier, settings.engine, settings.dtype)
        self.settings = replace(settings, engine=engine)
        return classifier, notes

    def _check_on_noise(self) -> None:
        """Find out which path is taken where that is asked before there is any image."""
        side = self.classifier.input_size
        noise = torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(0)) * 2048 - 1024
        with suppress(RuntimeError, ModelError):  # other channels, for example: its first batch will tell
            self._forward_passes(noise)

    def _batch(
        self,
        inputs: Tensor,
        rankings: tuple[Ranking, ...],
        passes: Sequence[ForwardPass],
        classes: Tensor,
        by_layer: Sequence[Tensor],
    ) -> BatchMaps:
        """Fuse the maps of each layer, and say which of them are empty as no gradient reaches the layer."""
        if self.rule.attention:
            (maps,) = by_layer
            nowhere = (maps == 0).flatten(2).all(dim=2)
            notes = notes_on_attention(encoder_of(self.classifier, inputs), rankings, nowhere)
            fused = self._fuse(by_layer, rankings, passes, nowhere)
            distances = logit_distances(passes[0], rankings)
            return BatchMaps(rankings, fused, passes[0].gradient, notes, distances)
        unreached = [
            without_gradient(each, classes, maps) for each, maps in zip(passes, by_layer, strict=True)
        ]
        nowhere = unreached[0] if len(unreached) == 1 else torch.stack(unreached).all(dim=0)
        layers = self.settings.target_layers or (self.classifier.target_layer,)
        return BatchMaps(
            rankings,
            self._fuse(by_layer, rankings, passes, nowhere),
            "none" if self.rule.gradient_free else passes[0].gradient,
            notes_on_layers(layers, passes, inputs, rankings, unreached, lambda: self._way_out(inputs)),
            logit_distances(passes[0], rankings),
        )

    def _way_out(self, inputs: Tensor) -> str:
        """Layers that would do, and methods that need none, in words; the model is asked once."""
        if self._better_layers is None:
            attends = any("Attention" in type(part).__name__ for part in self.classifier.module.modules())
            rules = f"Or choose {' or '.join(ATTENTION_RULES)}, where every patch attends to every other."
            self._better_layers = " ".join(
                filter(None, (layers_that_do(self.classifier, inputs), rules if attends else ""))
            )
        return self._better_layers

    def _rank(self, logits: Sequence[float], asked: RankingSettings) -> Ranking:
        outputs = self.classifier.outputs
        return rank(
            logits,
            outputs.pathologies,
            self.points,
            kind=outputs.kind,
            calibrations=self.calibrations,
            **vars(asked),
        )

    def _fuse(
        self,
        by_layer: Sequence[Tensor],
        rankings: Sequence[Ranking],
        passes: Sequence[ForwardPass],
        nowhere: Tensor,
    ) -> tuple[FusedMaps, ...]:
        if len({ranking.k for ranking in rankings}) == 1 and (k := rankings[0].k):
            return _split(self._fuse_alike([maps[:, :k] for maps in by_layer], nowhere[:, :k]))
        # Where nothing is explained no rule says how fine its maps are: they are as fine as the layers.
        nothing = [forward.activations[:1, :0].float() for forward in passes]
        return tuple(
            self._fuse_alike(
                [maps[b : b + 1, : ranking.k] for maps in by_layer] if ranking.k else nothing,
                nowhere[b : b + 1, : ranking.k],
            )
            for b, ranking in enumerate(rankings)
        )

    def _fuse_alike(self, by_layer: Sequence[Tensor], nowhere: Tensor) -> FusedMaps:
        """Fuse maps of one number of classes; nowhere, (B, K): no gradient reaches any of the layers."""
        settings = self.settings
        fused = fuse(
            _combined(by_layer),
            normalisation=settings.normalisation,
            activation=settings.activation,
            fused=settings.fused,
        )
        return replace(fused, without_gradient=nowhere)

    def _own_precision(self) -> AbstractContextManager[Any]:
        """Without the autocast that may be around the call: what is recorded is what was computed."""
        return torch.autocast(self.classifier.device.type, enabled=False)

    def _arithmetic(self) -> AbstractContextManager[Any]:
        if self.settings.dtype == "bfloat16" and self.settings.engine == "torch":
            return torch.autocast(self.classifier.device.type, torch.bfloat16)
        return nullcontext()

    def _explanation(
        self,
        model_input: ModelInput,
        batch: BatchMaps,
        image: int,
        asked: RankingSettings,
    ) -> Explanation:
        radiograph, ranking, fused = model_input.radiograph, batch.rankings[image], batch.fused[image]
        maps = _to_numpy(fused.maps[0])
        return Explanation(
            id=radiograph.id,
            ranking=ranking,
            class_maps=_to_numpy(fused.class_maps[0]),
            maps=maps,
            geometry=model_input.geometry,
            provenance=self.facts.provenance(
                ranking.k,
                ranking_settings=asked,
                gradient=batch.gradient,
                device=self.classifier.device.type,
                radiograph_sha256=radiograph.sha256,
                steps=model_input.steps,
                warnings=(
                    *self._phantom_warnings(radiograph),
                    *self._tuning_warnings(model_input),
                    *radiograph.warnings,
                ),
                view=radiograph.view,
                laterality=radiograph.laterality,
                patient_orientation=radiograph.patient_orientation,
                notes=(
                    *self._notes,
                    *notes_on_precision(self.classifier.device, self.settings.dtype),
                    *self.classifier.notes,
                    *ranking.notes,
                    *batch.notes[image],
                    *_finer_notes(batch.finer[image]),
                    *_margin_notes(ranking, maps, model_input.geometry),
                ),
                phantom=radiograph.phantom,
                without_gradient=_named(ranking, fused.without_gradient),
                finer=batch.finer[image],
            ),
            radiograph=radiograph,
        )

    def _phantom_warnings(self, radiograph: Radiograph) -> tuple[str, ...]:
        out_of_place = self.classifier.phantom_only and not radiograph.phantom
        return (PHANTOM_WEIGHTS_WARNING,) if out_of_place else ()

    def _tuning_warnings(self, model_input: ModelInput) -> tuple[str, ...]:
        if self.fitted is None:
            return ()
        return tuning_warning(self.fitted, model_input.radiograph.sha256, model_input.sha256)


def explain(
    model: Classifier | nn.Module,
    batch: Tensor | Sample,
    *,
    outputs: OutputsLike = None,
    target_layer: str | None = None,
    **options: Unpack[ExplainOptions],
) -> BatchMaps:
    """Explain a batch of a model's own inputs, in about one forward pass.

    For a training or validation loop of torch or Lightning, where inputs are tensors already; the model
    leaves as it came. For files, sizes and figures see `Explainer`.

    Args:
        model: a Classifier, TorchXRayVision's DenseNet or ResNet, a 2-D DenseNet of MONAI, or any module
            that gives (B, N) scores: logits, or probabilities behind a sigmoid or softmax.
        batch: (B, C, H, W), as the model takes it; or a sample or collated batch of a TorchXRayVision data
            set, with "img".
        outputs: names of the model's N outputs, '' where one was never trained; TorchXRayVision's models
            bring their own. `Outputs(names, kind="softmax")` says what they are, where that is not plain.
        target_layer: the layer to explain, by its name in `model.named_modules()`; a Classifier and the
            models of TorchXRayVision and MONAI have one of their own, which needs no gradient.
        **options: which pathologies and how, such as `top_k=3, method="layercam"`; see `RankingSettings` and
            `MapSettings`.

    Raises:
        ModelError: a module that says too little of itself.
        OptionError: inputs of another shape or, for TorchXRayVision's models, of another range.

    >>> head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), *head)
    >>> batch = explain(net, torch.rand(4, 3, 32, 32), outputs=list("abc"), target_layer="1", top_k=2)
    >>> batch.fused[0].maps.shape, batch.overlays(torch.rand(4, 3, 32, 32)).shape
    (torch.Size([1, 2, 15, 15]), (4, 32, 32, 3))
    """
    inputs = inputs_of(batch)
    if isinstance(model, nn.Module) and target_layer is not None:
        model, (target_layer,) = unwrapped(model, target_layer)
    classifier = as_classifier(model, outputs, target_layer=target_layer, inputs=inputs)
    classifier.check_inputs(inputs)
    layers = () if target_layer in (None, classifier.target_layer) else (str(target_layer),)
    asked, map_options = RankingSettings.apart_from(options)
    return Explainer(classifier, target_layers=layers, **map_options).explain_inputs(inputs, **vars(asked))


@dataclass(frozen=True)
class Pretrained:
    """How another process comes to an explainer: what `Explainer.from_pretrained` is told.

    Args:
        weights: a name or a file.
        options: keyword arguments of `Explainer.from_pretrained`.
    """

    weights: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def with_weights(self, weights: str) -> Pretrained:
        """The same with other weights, which have their own operating points.

        >>> Pretrained("phantom", {"fit": "pad", "operating_points": "mine.json"}).with_weights("other.pt")
        Pretrained(weights='other.pt', options={'fit': 'pad'})
        """
        kept = {name: value for name, value in self.options.items() if name != "operating_points"}
        return Pretrained(weights, kept)

    def load(self) -> Explainer:
        """An explainer of this process's own."""
        return Explainer.from_pretrained(self.weights, **self.options)


def _native(classifier: Classifier) -> Classifier:
    """The classifier that another explainer's comes from, where that has finer maps."""
    return classifier.plain if isinstance(classifier, FinerClassifier) else classifier


def _maps_of_another(
    other: Explainer, geometry: Geometry, radiograph: Radiograph, pathologies: Sequence[str]
) -> OtherMaps:
    """What another explainer shows of the same square, of the pathologies that it predicts, too."""
    image, name = other.prepare(radiograph), other.classifier.name
    if replace(image.geometry, model_size=geometry.model_size) != geometry:
        raise OptionError(
            f"another square of {radiograph.id} for {name}, with fit={other.settings.fit!r}",
            expected=f"fit={geometry.fit!r} for all explainers",
        )
    index = {canonical_pathology(each): at for at, each in enumerate(other.classifier.pathologies) if each}
    shared = [each for each in pathologies if canonical_pathology(each) in index]
    if not shared:
        return name, View(), {}
    stacks = other.class_maps(image.tensor[None], [index[canonical_pathology(each)] for each in shared])
    return name, View(), dict(zip(shared, stacks[0], strict=True))


def _in_torch(classifier: Classifier) -> Classifier:
    """The classifier that torch runs, of one that may be another explainer's, on an engine."""
    original: Classifier = getattr(classifier, "original", classifier)
    return original


def _indices(ranking: Ranking, other: Ranking | None) -> list[int]:
    """The model's outputs whose class maps are wanted of one image, each once, the ranked ones first."""
    wanted = (*ranking.top, *(() if other is None else other.top))
    return list(dict.fromkeys(prediction.index for prediction in wanted))


def _filled_up(indices: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """(B, most) int64: short rows are filled up for the batched gradient; nobody looks there.

    With a class that the image is explained for, or else one that another image is: never an unnamed output.
    """
    most = max(map(len, indices))
    spare = next((row[0] for row in indices if row), 0)
    rows = [[*row, *[row[0] if row else spare] * (most - len(row))] for row in indices]
    return torch.tensor(rows, dtype=torch.int64, device=device).reshape(len(rows), most)


def _combined(by_layer: Sequence[Tensor]) -> Tensor:
    """(B, K, I, J) of one layer or several, which are scaled by the strongest of these K classes alone."""
    return by_layer[0] if len(by_layer) == 1 else combine_layers(by_layer)


def _further(by_layer: Sequence[Tensor], image: int, indices: Sequence[int], other: Ranking) -> FurtherMaps:
    columns = [indices.index(prediction.index) for prediction in other.top]
    maps = _combined([maps[image : image + 1, columns] for maps in by_layer])
    return FurtherMaps(other.pathologies, _to_numpy(maps[0]))


def _finer_notes(distance: LogitDistance | None) -> tuple[str, ...]:
    return (distance.note,) if distance is not None and distance.note else ()


def _margin_notes(ranking: Ranking, maps: NDArray[np.float32], geometry: Geometry) -> tuple[str, ...]:
    """Pathologies whose evidence is strongest where there is no radiograph."""
    peaks = zip(ranking.pathologies, map(geometry.peak_of, maps), strict=True)
    beyond = [name for name, peak in peaks if peak is not None and not geometry.sees(peak)]
    if not beyond:
        return ()
    return (f"strongest in the black margin, outside of the radiograph: {', '.join(map(readable, beyond))}",)


def _split(fused: FusedMaps) -> tuple[FusedMaps, ...]:
    """The maps of each image by itself, with what is known of them."""
    if len(fused.maps) == 1:
        return (fused,)
    of_each = (
        tensor.split(1)
        for tensor in (fused.maps, fused.class_maps, fused.winner, fused.without_gradient)
        if tensor is not None
    )
    return tuple(
        replace(fused, maps=maps, class_maps=class_maps, winner=winner, without_gradient=nowhere)
        for maps, class_maps, winner, nowhere in zip(*of_each, strict=True)
    )


def _named(ranking: Ranking, states: Tensor | None) -> tuple[str, ...]:
    """The ranked pathologies of which a state, (1, K), is true."""
    true = [] if states is None else states[0].tolist()
    return tuple(name for name, state in zip(ranking.pathologies, true, strict=False) if state)


def _to_numpy(maps: Tensor) -> np.ndarray:
    return np.ascontiguousarray(maps.float().cpu().numpy())


def device_named(device: str | torch.device | None) -> torch.device:
    """The device that is asked for; None is CUDA where present, else the CPU.

    Raises:
        OptionError: a device that torch cannot use here.
    """
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
