"""Weights: the registry, the folder they lie in, their download, and reading them safely.

Importing this package does not import torch; reading a checkpoint does.
"""

from cxr_explain.weights.checkpoint import Checkpoint, check_fit, load_into, read_checkpoint
from cxr_explain.weights.download import fetch
from cxr_explain.weights.facts import CheckpointFacts
from cxr_explain.weights.folder import weights_folder
from cxr_explain.weights.registry import (
    BUNDLED,
    ENTRIES,
    SEGMENTATIONS,
    WeightsEntry,
    find_entry,
    known_entry,
)
from cxr_explain.weights.store import (
    Weights,
    identify,
    list_weights,
    open_weights,
    remember,
    resolve,
    verify,
)

__all__ = [
    "BUNDLED",
    "ENTRIES",
    "SEGMENTATIONS",
    "Checkpoint",
    "CheckpointFacts",
    "Weights",
    "WeightsEntry",
    "check_fit",
    "fetch",
    "find_entry",
    "identify",
    "known_entry",
    "list_weights",
    "load_into",
    "open_weights",
    "read_checkpoint",
    "remember",
    "resolve",
    "verify",
    "weights_folder",
]
