"""The rules by name, one line each; a rule's own module is imported at its first use."""

from __future__ import annotations

from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Literal


@dataclass(frozen=True)
class RuleEntry:
    """A rule of this package, before it is imported.

    Args:
        title: the rule's name as its paper writes it.
        home: module in `cxr_explain.cam` and name in it, "module:name"; a function from `Evidence` to signed
            class maps (B, K, I, J), or a class of such functions, which is called without arguments.
        gradient_free: whether the rule asks for no gradient, whatever the model.
        attention: whether the rule reads the attention of a transformer, and no layer's activations.

    >>> RULES["cam"].load().__name__
    'cam'
    """

    title: str
    home: str
    gradient_free: bool = False
    attention: bool = False

    def load(self) -> Any:
        """The rule, with its default settings."""
        found = resolve_name(f"cxr_explain.cam.{self.home}")
        return found() if isinstance(found, type) else found


RULES: dict[str, RuleEntry] = {
    "cam": RuleEntry("CAM", "gradient:cam", gradient_free=True),
    "grad-cam": RuleEntry("Grad-CAM", "gradient:grad_cam"),
    "grad-cam++": RuleEntry("Grad-CAM++", "gradient:grad_cam_plus_plus"),
    "xgrad-cam": RuleEntry("XGrad-CAM", "gradient:xgrad_cam"),
    "hirescam": RuleEntry("HiResCAM", "gradient:hirescam"),
    "layercam": RuleEntry("LayerCAM", "gradient:layercam"),
    "smooth-grad-cam++": RuleEntry("Smooth Grad-CAM++", "sampled:SmoothGradCAMPlusPlus"),
    "integrated-grad-cam": RuleEntry("Integrated Grad-CAM", "sampled:IntegratedGradCAM"),
    "score-cam": RuleEntry("Score-CAM", "perturbation:ScoreCAM", gradient_free=True),
    "ablation-cam": RuleEntry("Ablation-CAM", "perturbation:ablation_cam", gradient_free=True),
    "recipro-cam": RuleEntry("Recipro-CAM", "perturbation:ReciproCAM", gradient_free=True),
    "eigen-cam": RuleEntry("Eigen-CAM", "eigen:eigen_cam", gradient_free=True),
    "seg-xres-cam": RuleEntry("Seg-XRes-CAM", "region:SegXResCAM"),
    "augmented-grad-cam": RuleEntry("Augmented Grad-CAM", "augmented:AugmentedGradCAM"),
    "legrad": RuleEntry("LeGrad", "attention:LeGrad", attention=True),
    "attention-relevance": RuleEntry("Attention relevance", "attention:AttentionRelevance", attention=True),
}
"""Every rule by its paper's name in small letters: choices and help texts."""

LAYER_RULES: tuple[str, ...] = tuple(name for name, entry in RULES.items() if not entry.attention)
"""The rules that read the activations of a layer, of any model: the study's contenders."""

EVERY_ATTENTION = "every attention"
"""What stands in the place of a layer where a rule reads the attention."""

ATTENTION_RULES: tuple[str, ...] = tuple(name for name, entry in RULES.items() if entry.attention)
"""The rules that read the attention of a transformer."""

if TYPE_CHECKING:
    Method = str
else:  # the command line and `check_option` read the choices off the type
    Method = Literal[tuple(RULES)]
"""The rule that makes the class maps: a key of `RULES`, checked where it is given."""
