"""Weights: the registry, the folder they lie in, their download, and reading them safely.

Importing this package does not import torch; reading a checkpoint does.
"""

from cxr_explain.models.weights.checkpoint import Checkpoint, load_into, read_checkpoint
from cxr_explain.models.weights.download import fetch
from cxr_explain.models.weights.folder import weights_folder
from cxr_explain.models.weights.registry import ENTRIES, Architecture, WeightsEntry, find_entry
from cxr_explain.models.weights.store import (
    Weights,
    WeightsRow,
    list_weights,
    locate,
    open_weights,
    resolve,
    verify,
)

__all__ = [
    "ENTRIES",
    "Architecture",
    "Checkpoint",
    "Weights",
    "WeightsEntry",
    "WeightsRow",
    "fetch",
    "find_entry",
    "list_weights",
    "load_into",
    "locate",
    "open_weights",
    "read_checkpoint",
    "resolve",
    "verify",
    "weights_folder",
]
