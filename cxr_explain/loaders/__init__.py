"""Readers: from a file, by its content, to a Radiograph."""

from cxr_explain.loaders.limits import DEFAULT_MAX_PIXELS
from cxr_explain.loaders.read import read_radiograph

__all__ = ["DEFAULT_MAX_PIXELS", "read_radiograph"]
