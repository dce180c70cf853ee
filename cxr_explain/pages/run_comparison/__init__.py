"""The page of two audits of the same images: one file of text, tables and pictures, without a script."""

from cxr_explain.pages.run_comparison.page import write_comparison

__all__ = ["write_comparison"]
