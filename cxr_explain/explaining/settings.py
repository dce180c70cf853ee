"""What is asked of a radiograph, and how it is answered: the settings that every way in shares.

The command line, `Provenance`, the record of an audit and the MONAI transforms hold these objects; nothing
heavy is imported, so that help texts can be made from them. The keyword arguments of `Explainer` and of
`Explainer.explain` are their fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack

from cxr_explain.cam.registry import RULES, Method
from cxr_explain.errors import OptionError
from cxr_explain.options import (
    Activation,
    Dtype,
    Engine,
    Fit,
    Normalisation,
    RankBy,
    Resolution,
    check_option,
    check_resolution,
)

if TYPE_CHECKING:
    from cxr_explain.cam.rules import Rule


_FINER_BY_ITSELF = RULES["augmented-grad-cam"].title


class RankingOptions(TypedDict, total=False):
    """The keyword arguments that say which pathologies are explained; see `RankingSettings`."""

    top_k: int
    rank_by: RankBy
    pathologies: Iterable[str] | None
    above_operating_point: bool


class MapOptions(TypedDict, total=False):
    """The keyword arguments that say how maps are made; see `MapSettings`."""

    method: Method | Rule
    target_layers: Iterable[str]
    fused: bool
    normalisation: Normalisation
    activation: Activation
    fit: Fit
    xrv_compatible: bool
    dtype: Dtype
    engine: Engine
    allow_phantom_weights: bool
    resolution: Resolution


@dataclass(frozen=True)
class RankingSettings:
    """Which pathologies are explained.

    Args:
        top_k: K, how many pathologies; cut to those that the model has, with a note.
        rank_by: the score that ranks: "probability" (the sigmoid; the softmax where exactly one output is
            true) or "calibrated" (relative to the operating point).
        pathologies: consider these alone, a name or several; all that the model predicts by default.
        above_operating_point: consider only those that reach their operating point; K may then become 0.

    Raises:
        OptionError: K below 1, or another `rank_by`.

    >>> RankingSettings.of(top_k=3, pathologies="Mass").pathologies
    ('Mass',)
    """

    top_k: int = 5
    rank_by: RankBy = "probability"
    pathologies: tuple[str, ...] | None = None
    above_operating_point: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.top_k, int) or self.top_k < 1:
            raise OptionError(f"top_k={self.top_k!r}", expected="an integer of at least 1")
        check_option("rank_by", self.rank_by, RankBy)
        if self.pathologies is not None:
            object.__setattr__(self, "pathologies", _names(self.pathologies))

    @classmethod
    def of(cls, **options: Unpack[RankingOptions]) -> Self:
        """The settings from what people write, which may name pathologies in any iterable."""
        return cls(**options)  # type: ignore[arg-type]  # names become a tuple

    @classmethod
    def apart_from(cls, options: Mapping[str, Any]) -> tuple[Self, dict[str, Any]]:
        """The settings among keyword arguments of several kinds, and the other arguments.

        >>> RankingSettings.apart_from({"top_k": 2, "fit": "pad"})[1]
        {'fit': 'pad'}
        """
        mine = {key: value for key, value in options.items() if key in RankingOptions.__annotations__}
        return cls(**mine), {key: value for key, value in options.items() if key not in mine}


@dataclass(frozen=True)
class MapSettings:
    """How an explainer makes its maps.

    Args:
        method: the rule that makes the class maps: a name, or a function from `Evidence` to (B, K, I, J).
        target_layers: layers to explain, by their names in the classifier's module; several are combined as
            LayerCAM does. By default the classifier's own target layer.
        fused: False shows the K class maps as they are, scaled together, without the filter of equation 4.
        normalisation: what the fusion divides by: "joint", "per-class" or "released"; see `fm_g_cam`.
        activation: what the fusion ends with: "relu", "elu" or "gelu"; see `fm_g_cam`.
        fit: "crop" is TorchXRayVision's centre crop; "pad" shows the model the whole radiograph.
        xrv_compatible: preprocess with TorchXRayVision's own transforms. A radiograph that `read_radiograph`
            read otherwise is refused.
        dtype: "bfloat16" runs the forward pass under autocast; maps are always at least float32, and methods
            that run the model again, such as Score-CAM, do so in the model's own precision with torch, and in
            bfloat16 with another engine.
        engine: what runs the model: "torch", "onnxruntime", "openvino", or "auto" for the fastest of these
            that is installed and can run it; see `cxr_explain.engines`.
        allow_phantom_weights: let a model that was trained on phantoms alone explain radiographs, too.
            Without it, such a model is refused for whatever is not known to be a phantom.
        resolution: how fine the maps are: "native", a number of cells along a side, such as 14 or 28, or
            "finest". Finer maps are made with the same weights, by dilation; the scores stay the model's own.
            See `cxr_explain.models.finer`.

    Raises:
        OptionError: a value that an option does not take, or a resolution together with target layers, or
            with a method that makes finer maps in its own way.

    >>> MapSettings(fit="pad").normalisation
    'joint'
    """

    method: Method | Rule = "grad-cam"
    target_layers: tuple[str, ...] = ()
    fused: bool = True
    normalisation: Normalisation = "joint"
    activation: Activation = "relu"
    fit: Fit = "crop"
    xrv_compatible: bool = False
    dtype: Dtype = "float32"
    engine: Engine = "torch"
    allow_phantom_weights: bool = False
    resolution: Resolution = "native"

    def __post_init__(self) -> None:
        check_option("normalisation", self.normalisation, Normalisation)
        check_option("activation", self.activation, Activation)
        check_option("fit", self.fit, Fit)
        check_option("dtype", self.dtype, Dtype)
        check_option("engine", self.engine, Engine)
        object.__setattr__(self, "target_layers", _names(self.target_layers))
        check_resolution(self.resolution)
        if self.resolution != "native":
            self._check_can_be_finer()

    @classmethod
    def of(cls, **options: Unpack[MapOptions]) -> Self:
        """The settings from what people write, which may name layers in any iterable."""
        return cls(**options)  # type: ignore[arg-type]  # names become a tuple

    def _check_can_be_finer(self) -> None:
        if self.target_layers:
            raise OptionError(
                f"resolution={self.resolution!r} with target_layers={self.target_layers!r}",
                expected="one of them: finer maps are those of the classifier's own last layer",
                remedy="Leave out the resolution: an earlier layer has finer maps of its own.",
            )
        known = RULES.get(self.method) if isinstance(self.method, str) else self.method
        title = getattr(known, "title", "")
        if title == _FINER_BY_ITSELF:
            raise OptionError(
                f"resolution={self.resolution!r} with {title}, which makes finer maps by views of the input",
                expected="a method that keeps the cells of the layer",
                remedy="Choose one of the two.",
            )

    def check_read_alike(self, read_xrv_compatible: bool | None) -> None:
        """Refuse pixels that were read in another way than they will be prepared in.

        Args:
            read_xrv_compatible: how `read_radiograph` was asked to read them; None where it did not.

        Raises:
            OptionError: half of the way from the file to the model would be TorchXRayVision's.
        """
        if read_xrv_compatible not in (None, self.xrv_compatible):
            raise OptionError(
                f"a radiograph read with xrv_compatible={read_xrv_compatible}",
                expected=f"xrv_compatible={self.xrv_compatible}, as the explainer prepares it",
                remedy="Give read_radiograph and Explainer the same; --xrv-compatible sets both.",
            )


def _names(given: Iterable[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)
