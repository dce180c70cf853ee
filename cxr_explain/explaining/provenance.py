"""How an explanation came about: which software, which model, which settings, and what of the radiograph."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any

from cxr_explain.explaining.settings import MapSettings, RankingSettings
from cxr_explain.options import ONE_LABEL, CalibrationKind, OutputKind, ProbabilityKind

_SCHEMA = re.compile(r"[\w./ -]{1,60}")


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """How operating points were fitted, and on what.

    Args:
        goal: what for: "youden", "sensitivity=0.9", "specificity=0.9" or "cost=10".
        calibrate: how probabilities were calibrated.
        part: part of the audit's images, such as "split=valid" or "fraction=0.3, seed=0" of the patients.
        policy: what reference labels counted as, by the name of `LabelPolicy`.
        images: number of the tuning images.
        patients: number of their patients.
        outputs: number of pathologies of the model.
        fitted: number of those whose operating point was fitted; the others keep the weights' own.
        calibrated: number of those whose probabilities are calibrated; the others keep the model's own.
        manifest_source: the data set, in words.
        manifest_sha256: hexadecimal digest of the audit's manifest.
        run_sha256: hexadecimal digest of the audit's record.
        package_version: version of cxr_explain that fitted them.

    >>> counts = {"images": 30, "patients": 25, "outputs": 5, "fitted": 4, "calibrated": 0}
    >>> digests = {"manifest_sha256": "0" * 64, "run_sha256": "1" * 64}
    >>> said = {"policy": "strict", "manifest_source": "a table", "package_version": "0.1.0"}
    >>> Tuning(goal="youden", calibrate="none", part="split=valid", **counts, **digests, **said).basis
    'youden; split=valid'
    """

    goal: str
    calibrate: CalibrationKind
    part: str
    policy: str
    images: int
    patients: int
    outputs: int
    fitted: int
    calibrated: int
    manifest_source: str
    manifest_sha256: str
    run_sha256: str
    package_version: str

    @property
    def basis(self) -> str:
        """Of what and for what, in the words of the command line: the same in every language."""
        return f"{self.goal}; {self.part}"


MAY_LIE_APART = 0.5
"""In logits: how far those of finer maps may lie from the model's own. Beyond, the odds differ by a factor of
1.65 or more, and the maps are marked."""


@dataclass(frozen=True)
class LogitDistance:
    """How far the logits of finer maps lie from the model's own, over the K explained pathologies.

    Args:
        largest: the largest absolute difference.
        mean: the mean absolute difference.

    >>> LogitDistance(0.75, 0.25).note[:52]
    'The scores of the finer maps lie up to 0.75 from the'
    """

    largest: float
    mean: float

    @property
    def note(self) -> str:
        """What a reader should know of it; '' within `MAY_LIE_APART`."""
        if self.largest <= MAY_LIE_APART:
            return ""
        return (
            f"The scores of the finer maps lie up to {self.largest:.2g} from the model's own, in logits "
            f"(bound {MAY_LIE_APART:g}): they may show what the model does not see; compare them with native "
            "maps."
        )


@dataclass(frozen=True, kw_only=True)
class ExplainerFacts:
    """What an explainer is: the same for every radiograph that it explains.

    Args:
        package_version: version of cxr_explain.
        torch_version: version of torch.
        engine_version: name and version of the engine that ran the model; '' where that is torch.
        model: the classifier's name, for example "densenet121-res224-nih".
        weights_sha256: hexadecimal digest of the weights file; None for a model that came as an object.
        training_sets: data sets the weights were trained on, where known.
        phantom_only: the model has seen phantoms and no radiograph.
        target_layer: the layer whose activations carry the maps; several are separated by commas; "every
            attention" where the rule reads the attention of a transformer.
        rule_title: the rule that makes the class maps, as its paper writes it.
        rule_settings: options of that rule, as Python writes them; '' without any.
        output_kind: what calling the model gives, see `cxr_explain.options.OutputKind`.
        map_settings: how maps are made; the method of a rule of one's own is its title.
        tuning: how the operating points were fitted; None where they are the weights' own.
        operating_points_sha256: hexadecimal digest of these operating points.
    """

    package_version: str
    torch_version: str
    model: str
    weights_sha256: str | None
    training_sets: tuple[str, ...]
    target_layer: str
    rule_title: str
    map_settings: MapSettings
    phantom_only: bool = False
    rule_settings: str = ""
    output_kind: OutputKind = "logits"
    engine_version: str = ""
    tuning: Tuning | None = None
    operating_points_sha256: str | None = None

    @property
    def probability_kind(self) -> ProbabilityKind:
        """What its probabilities are."""
        if self.tuning is not None and self.tuning.calibrated:
            return "calibrated"
        return "softmax" if self.output_kind in ONE_LABEL else "sigmoid"

    def method_title(self, k: int) -> str:
        """What maps of k pathologies are called.

        >>> facts = ExplainerFacts(
        ...     package_version="1", torch_version="2", model="m", weights_sha256=None, training_sets=(),
        ...     target_layer="features", rule_title="LayerCAM", map_settings=MapSettings("layercam"),
        ... )
        >>> facts.method_title(3), facts.method_title(1)
        ('FM-G-CAM of LayerCAM', 'LayerCAM')
        """
        if k == 1 or not self.map_settings.fused:
            return self.rule_title
        return "FM-G-CAM" if self.map_settings.method == "grad-cam" else f"FM-G-CAM of {self.rule_title}"

    def provenance(self, k: int, **of_the_radiograph: Any) -> Provenance:
        """The provenance of one explanation.

        Args:
            k: how many pathologies it explains.
            **of_the_radiograph: the other fields of `Provenance`.
        """
        mine = {item.name: getattr(self, item.name) for item in fields(ExplainerFacts)}
        return Provenance(**mine, method=self.method_title(k), **of_the_radiograph)


@dataclass(frozen=True, kw_only=True)
class Provenance(ExplainerFacts):
    """Everything needed to make the same numbers again; see `ExplainerFacts` for the explainer's part.

    Args:
        method: "FM-G-CAM" (fused) or the rule's own title (K = 1, or not fused); "FM-G-CAM of LayerCAM" where
            the rule is not Grad-CAM.
        ranking_settings: which pathologies were asked for; the ranking has those that there were.
        gradient: "closed form", "autograd", or "none" where the method needs none.
        device: where it ran.
        radiograph_sha256: hexadecimal digest of the radiograph's file.
        steps: every preprocessing step, the reader's included.
        warnings: what the reader warned of.
        view: the projection as the header has it, or None.
        laterality: as the header has it, or None.
        patient_orientation: as the header has it, or None.
        notes: what else a reader should know (K cut, pathologies left out, how a layer's output was read).
        phantom: the radiograph is a computed phantom, nobody's chest.
        without_gradient: ranked pathologies that have no map because no gradient of their scores reaches the
            layer.
        finer: how far the logits of finer maps lie from the model's own; None for native maps, and without a
            pathology.
    """

    method: str
    ranking_settings: RankingSettings
    gradient: str
    device: str
    radiograph_sha256: str
    steps: tuple[str, ...]
    warnings: tuple[str, ...]
    view: str | None = None
    laterality: str | None = None
    patient_orientation: tuple[str, str] | None = None
    notes: tuple[str, ...] = ()
    phantom: bool = False
    without_gradient: tuple[str, ...] = ()
    finer: LogitDistance | None = None


def other_schema(document: Any) -> str:
    """What schema a document says it has, as a message ends with it; '' where it says none.

    >>> other_schema({"schema": "cxr-explain/explanation/2"}), other_schema([])
    (' of schema cxr-explain/explanation/2', '')
    """
    said = document.get("schema") if isinstance(document, dict) else None
    return f" of schema {said}" if isinstance(said, str) and _SCHEMA.fullmatch(said) else ""
