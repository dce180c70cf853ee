"""Figures for review: the radiograph, the fused overlay, the predictions and where they come from."""

from cxr_explain.figures.figure import ExplanationFigure, draw_explanation

__all__ = ["ExplanationFigure", "draw_explanation"]
