"""What is asked of a radiograph, and how it is answered: the settings that every way in shares.

The command line, `Provenance`, the record of an audit and the MONAI transforms hold these objects; nothing
heavy is imported, so that help texts can be made from them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypedDict

from cxr_explain.cam.registry import Method
from cxr_explain.errors import OptionError
from cxr_explain.options import Activation, Dtype, Fit, Normalisation, RankBy, check_option


class RankingOptions(TypedDict, total=False):
    """The keyword arguments that say which pathologies are explained; see `RankingSettings`."""

    top_k: int
    rank_by: RankBy
    pathologies: Iterable[str] | None
    above_operating_point: bool


@dataclass(frozen=True)
class RankingSettings:
    """Which pathologies are explained.

    Args:
        top_k: K, how many pathologies; cut to those that the model has, with a note.
        rank_by: the score that ranks: "probability" (the sigmoid) or "calibrated" (relative to the operating
            point).
        pathologies: consider these alone; all that the model predicts by default.
        above_operating_point: consider only those that reach their operating point.

    Raises:
        OptionError: a value outside of its set.

    >>> RankingSettings.of(top_k=3, pathologies="Mass").pathologies
    ('Mass',)
    """

    top_k: int = 5
    rank_by: RankBy = "probability"
    pathologies: tuple[str, ...] | None = None
    above_operating_point: bool = False

    def __post_init__(self) -> None:
        check_option("rank_by", self.rank_by, RankBy)
        if self.top_k < 1:
            raise OptionError(f"top_k={self.top_k}", expected="1 or more")

    @classmethod
    def of(
        cls,
        *,
        top_k: int = 5,
        rank_by: RankBy = "probability",
        pathologies: Iterable[str] | None = None,
        above_operating_point: bool = False,
    ) -> RankingSettings:
        """The same from what people write: one name, or names in any order of things."""
        names = (pathologies,) if isinstance(pathologies, str) else pathologies
        return cls(top_k, rank_by, None if names is None else tuple(names), above_operating_point)


@dataclass(frozen=True)
class MapSettings:
    """How an explainer makes its maps; see `Explainer` for each.

    Args:
        method: the name of the rule that makes the class maps.
        target_layers: layers to explain, by their names; none is the classifier's own.
        fused: keep only the strongest pathology at each position.
        normalisation: of the fusion.
        activation: of the fusion.
        fit: the model's square in the radiograph.
        xrv_compatible: preprocess with TorchXRayVision's own transforms.
        dtype: arithmetic of the forward pass.
        allow_phantom_weights: let a model that has seen phantoms alone explain radiographs.

    Raises:
        OptionError: a value outside of its set.

    >>> MapSettings(fit="pad").normalisation
    'joint'
    """

    method: Method = "grad-cam"
    target_layers: tuple[str, ...] = ()
    fused: bool = True
    normalisation: Normalisation = "joint"
    activation: Activation = "relu"
    fit: Fit = "crop"
    xrv_compatible: bool = False
    dtype: Dtype = "float32"
    allow_phantom_weights: bool = False

    def __post_init__(self) -> None:
        check_option("normalisation", self.normalisation, Normalisation)
        check_option("activation", self.activation, Activation)
        check_option("fit", self.fit, Fit)
        check_option("dtype", self.dtype, Dtype)
