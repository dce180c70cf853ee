"""Where a chest radiograph classifier sees its top K pathologies: FM-G-CAM, from file to figure.

>>> import cxr_explain as cxr
>>> cxr.rank([0.0, 2.0], ["Mass", "Edema"]).pathologies
('Edema', 'Mass')

The public names are loaded when they are first used, so that importing the package costs next to nothing
and does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cxr_explain._version import __version__

if TYPE_CHECKING:
    from cxr_explain.audit.run import run_audit
    from cxr_explain.audit.store import AuditRun
    from cxr_explain.cam.evidence import Evidence
    from cxr_explain.cam.fusion import FusedMaps, fm_g_cam, fuse
    from cxr_explain.cam.rules import class_maps
    from cxr_explain.errors import CxrExplainError
    from cxr_explain.explaining.batch_maps import BatchMaps
    from cxr_explain.explaining.explainer import Explainer, explain
    from cxr_explain.explaining.explanation import Explanation
    from cxr_explain.explaining.ranking import Prediction, Ranking, rank
    from cxr_explain.geometry import Geometry
    from cxr_explain.loaders import read_radiograph
    from cxr_explain.models.base import Classifier, Outputs
    from cxr_explain.models.hooked import HookedClassifier, imagenet_input, token_grid
    from cxr_explain.models.monai import MonaiDenseNet
    from cxr_explain.models.xrv import XRVDenseNet, XRVResNet
    from cxr_explain.pathologies import PATHOLOGIES, LabelState, ReferenceBox, ReferenceLabels
    from cxr_explain.radiograph import Radiograph
    from cxr_explain.reference.csv_file import read_manifest
    from cxr_explain.reference.data_sets.registry import make_manifest
    from cxr_explain.reference.manifest import Manifest
    from cxr_explain.support.torchvision_repair import ensure_torchvision_imports

_HOMES = {
    "AuditRun": "audit.store",
    "BatchMaps": "explaining.batch_maps",
    "Classifier": "models.base",
    "CxrExplainError": "errors",
    "Evidence": "cam.evidence",
    "Explainer": "explaining.explainer",
    "Explanation": "explaining.explanation",
    "FusedMaps": "cam.fusion",
    "Geometry": "geometry",
    "HookedClassifier": "models.hooked",
    "LabelState": "pathologies",
    "Manifest": "reference.manifest",
    "MonaiDenseNet": "models.monai",
    "Outputs": "models.base",
    "PATHOLOGIES": "pathologies",
    "Prediction": "explaining.ranking",
    "Radiograph": "radiograph",
    "Ranking": "explaining.ranking",
    "ReferenceBox": "pathologies",
    "ReferenceLabels": "pathologies",
    "XRVDenseNet": "models.xrv",
    "XRVResNet": "models.xrv",
    "class_maps": "cam.rules",
    "ensure_torchvision_imports": "support.torchvision_repair",
    "explain": "explaining.explainer",
    "fm_g_cam": "cam.fusion",
    "fuse": "cam.fusion",
    "imagenet_input": "models.hooked",
    "make_manifest": "reference.data_sets.registry",
    "rank": "explaining.ranking",
    "read_manifest": "reference.csv_file",
    "read_radiograph": "loaders",
    "run_audit": "audit.run",
    "token_grid": "models.hooked",
}

__all__ = [
    "PATHOLOGIES",
    "AuditRun",
    "BatchMaps",
    "Classifier",
    "CxrExplainError",
    "Evidence",
    "Explainer",
    "Explanation",
    "FusedMaps",
    "Geometry",
    "HookedClassifier",
    "LabelState",
    "Manifest",
    "MonaiDenseNet",
    "Outputs",
    "Prediction",
    "Radiograph",
    "Ranking",
    "ReferenceBox",
    "ReferenceLabels",
    "XRVDenseNet",
    "XRVResNet",
    "__version__",
    "class_maps",
    "ensure_torchvision_imports",
    "explain",
    "fm_g_cam",
    "fuse",
    "imagenet_input",
    "make_manifest",
    "rank",
    "read_manifest",
    "read_radiograph",
    "run_audit",
    "token_grid",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
