"""MONAI: dictionary transforms, a handler for its engines, and FM-G-CAM in the form of MONAI's Grad-CAM.

Importing this package imports MONAI; nothing else of cxr_explain does.
"""

from cxr_explain.integrations.monai.fm_g_cam import FMGCAM
from cxr_explain.integrations.monai.handler import SaveExplanations
from cxr_explain.integrations.monai.transforms import ExplainRadiographd, PrepareRadiographd, ReadRadiographd

__all__ = ["FMGCAM", "ExplainRadiographd", "PrepareRadiographd", "ReadRadiographd", "SaveExplanations"]
