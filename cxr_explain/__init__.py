"""Where a chest radiograph classifier sees its top K pathologies: FM-G-CAM, from file to figure.

>>> import cxr_explain as cxr
>>> cxr.rank([0.0, 2.0], ["Mass", "Edema"]).pathologies
('Edema', 'Mass')

The public names are loaded when they are first used, so that importing the package costs next to nothing
and does not import torch.
"""

from __future__ import annotations

from cxr_explain._version import __version__ as __version__
from cxr_explain.support.lazy_names import lazy_names

TYPE_CHECKING = False  # to import it from typing takes as long as to start Python
if TYPE_CHECKING:
    from cxr_explain.audit.run import run_audit as run_audit
    from cxr_explain.audit.store import AuditRun as AuditRun
    from cxr_explain.cam.evidence import Evidence as Evidence
    from cxr_explain.cam.fusion import FusedMaps as FusedMaps
    from cxr_explain.cam.fusion import fm_g_cam as fm_g_cam
    from cxr_explain.cam.fusion import fuse as fuse
    from cxr_explain.cam.rules import class_maps as class_maps
    from cxr_explain.dicom.objects import DicomObjects as DicomObjects
    from cxr_explain.dicom.objects import dicom_objects as dicom_objects
    from cxr_explain.errors import CxrExplainError as CxrExplainError
    from cxr_explain.explaining.batch_maps import BatchMaps as BatchMaps
    from cxr_explain.explaining.explainer import Explainer as Explainer
    from cxr_explain.explaining.explainer import explain as explain
    from cxr_explain.explaining.explanation import Explanation as Explanation
    from cxr_explain.explaining.export import ExportedGraph as ExportedGraph
    from cxr_explain.explaining.export import export_graph as export_graph
    from cxr_explain.explaining.ranking import Prediction as Prediction
    from cxr_explain.explaining.ranking import Ranking as Ranking
    from cxr_explain.explaining.ranking import rank as rank
    from cxr_explain.figures.model_comparison import compare as compare
    from cxr_explain.figures.patient_panel import panel as panel
    from cxr_explain.figures.style import Style as Style
    from cxr_explain.geometry import Geometry as Geometry
    from cxr_explain.loaders import read_radiograph as read_radiograph
    from cxr_explain.models.base import Classifier as Classifier
    from cxr_explain.models.base import Outputs as Outputs
    from cxr_explain.models.grids import token_grid as token_grid
    from cxr_explain.models.hooked import HookedClassifier as HookedClassifier
    from cxr_explain.models.hooked import imagenet_input as imagenet_input
    from cxr_explain.models.monai import MonaiDenseNet as MonaiDenseNet
    from cxr_explain.models.survey import ModelLayer as ModelLayer
    from cxr_explain.models.survey import layers as layers
    from cxr_explain.models.xrv import XRVDenseNet as XRVDenseNet
    from cxr_explain.models.xrv import XRVResNet as XRVResNet
    from cxr_explain.pathologies import PATHOLOGIES as PATHOLOGIES
    from cxr_explain.pathologies import LabelState as LabelState
    from cxr_explain.pathologies import ReferenceBox as ReferenceBox
    from cxr_explain.pathologies import ReferenceLabels as ReferenceLabels
    from cxr_explain.radiograph import Radiograph as Radiograph
    from cxr_explain.reference.csv_file import read_manifest as read_manifest
    from cxr_explain.reference.data_sets.registry import make_manifest as make_manifest
    from cxr_explain.reference.manifest import Manifest as Manifest
    from cxr_explain.support.torchvision_repair import (
        ensure_torchvision_imports as ensure_torchvision_imports,
    )

_HOMES = {
    "audit.run": ("run_audit",),
    "audit.store": ("AuditRun",),
    "cam.evidence": ("Evidence",),
    "cam.fusion": ("FusedMaps", "fm_g_cam", "fuse"),
    "cam.rules": ("class_maps",),
    "dicom.objects": ("DicomObjects", "dicom_objects"),
    "errors": ("CxrExplainError",),
    "explaining.batch_maps": ("BatchMaps",),
    "explaining.explainer": ("Explainer", "explain"),
    "explaining.explanation": ("Explanation",),
    "explaining.export": ("ExportedGraph", "export_graph"),
    "explaining.ranking": ("Prediction", "Ranking", "rank"),
    "figures.model_comparison": ("compare",),
    "figures.patient_panel": ("panel",),
    "figures.style": ("Style",),
    "geometry": ("Geometry",),
    "loaders": ("read_radiograph",),
    "models.base": ("Classifier", "Outputs"),
    "models.grids": ("token_grid",),
    "models.hooked": ("HookedClassifier", "imagenet_input"),
    "models.monai": ("MonaiDenseNet",),
    "models.survey": ("ModelLayer", "layers"),
    "models.xrv": ("XRVDenseNet", "XRVResNet"),
    "pathologies": ("PATHOLOGIES", "LabelState", "ReferenceBox", "ReferenceLabels"),
    "radiograph": ("Radiograph",),
    "reference.csv_file": ("read_manifest",),
    "reference.data_sets.registry": ("make_manifest",),
    "reference.manifest": ("Manifest",),
    "support.torchvision_repair": ("ensure_torchvision_imports",),
}

__all__, __getattr__, __dir__ = lazy_names(__name__, _HOMES)
