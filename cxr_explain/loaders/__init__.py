"""Readers: from a file, by its content, to a Radiograph."""

from cxr_explain.loaders.read import DEFAULT_MAX_PIXELS, read_radiograph

__all__ = ["DEFAULT_MAX_PIXELS", "read_radiograph"]
