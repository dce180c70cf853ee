"""An explanation to slide through in a notebook: opacity, K, and each pathology on or off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cxr_explain.cam.fusion import fuse
from cxr_explain.errors import MissingExtraError
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.figures.lettering import display_name
from cxr_explain.figures.overlay import MAX_OPACITY
from cxr_explain.figures.palette import class_styles
from cxr_explain.figures.texts import format_probability
from cxr_explain.pages.displays import explanation_card, explanation_png, swatch_png
from cxr_explain.pages.templating import image_url
from cxr_explain.radiograph import Radiograph
from cxr_explain.support.extras import require

_WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
_LONGEST = 560


class Explorer:
    """Widgets over the fused map, in a notebook with a kernel; the explanation's card elsewhere.

    K smaller than the explanation's fuses anew the class maps of the first K ranks: what a lower rank had won
    goes back to the others. Switching a pathology off hides its colour, and leaves the fusion as it is.

    Args:
        explanation: the explanation, with its class maps.
        radiograph: the radiograph below the map; plain grey without one.
        colours: colour of a pathology by name, where it is not the package's own.

    Attributes:
        opacity: slider of the opacity, 0 to 1; None without ipywidgets.
        top_k: slider of the number of pathologies, 1 to K; None without ipywidgets.
        shown: a checkbox for each rank; none without ipywidgets.
    """

    def __init__(
        self,
        explanation: Explanation,
        radiograph: Radiograph | None = None,
        *,
        colours: Mapping[str, str] | None = None,
    ) -> None:
        self.explanation = explanation
        self.styles = class_styles(explanation.ranking.pathologies, colours)
        self._colours = colours
        self.radiograph = radiograph or explanation.radiograph
        self.opacity: Any = None
        self.top_k: Any = None
        self.shown: list[Any] = []
        self._box: Any = None
        try:
            self._widgets: Any = require("ipywidgets", "notebook")
        except MissingExtraError:
            return
        if explanation.ranking.k:
            self._build()

    def maps(self, top_k: int) -> NDArray[np.float32]:
        """The fused map of the first `top_k` ranks by class, (top_k, I, J)."""
        if top_k == len(self.explanation.maps):
            return self.explanation.maps
        settings = self.explanation.provenance.map_settings
        fused = fuse(
            torch.from_numpy(self.explanation.class_maps[:top_k].copy())[None],
            normalisation=settings.normalisation,
            activation=settings.activation,
            fused=settings.fused,
        )
        return fused.maps[0].numpy()

    def png(self) -> bytes:
        """The picture as the controls have it."""
        if self.top_k is None:
            return explanation_png(self.explanation, self.radiograph, longest=_LONGEST, colours=self._colours)
        top_k = self.top_k.value
        return explanation_png(
            self.explanation,
            self.radiograph,
            maps=self.maps(top_k),
            shown=[rank for rank, box in enumerate(self.shown[:top_k], start=1) if box.value],
            max_opacity=self.opacity.value,
            longest=_LONGEST,
            colours=self._colours,
            compact=False,  # a picture for each step of a slider
        )

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        card = explanation_card(self.explanation, self.radiograph, colours=self._colours)
        bundle: dict[str, Any] = {"text/plain": repr(self.explanation), "text/html": card.to_html()}
        if self._box is not None:
            live = self._box._repr_mimebundle_()
            bundle[_WIDGET_VIEW] = live[_WIDGET_VIEW]
        return bundle

    def _build(self) -> None:
        widgets, k = self._widgets, self.explanation.ranking.k
        self.opacity = widgets.FloatSlider(
            MAX_OPACITY, min=0, max=1, step=0.05, description="opacity", continuous_update=True
        )
        self.top_k = widgets.IntSlider(k, min=1, max=k, description="top K")
        self.shown = [self._checkbox(rank) for rank in range(1, k + 1)]
        self._image = widgets.Image(value=self.png(), format="png")
        rows = [widgets.HBox([self._swatch(rank), box]) for rank, box in enumerate(self.shown, start=1)]
        self._box = widgets.HBox([self._image, widgets.VBox([self.opacity, self.top_k, *rows])])
        for control in (self.opacity, self.top_k, *self.shown):
            control.observe(self._redraw, names="value")

    def _checkbox(self, rank: int) -> Any:
        prediction = self.explanation.ranking.top[rank - 1]
        label = f"{display_name(prediction.pathology)} {format_probability(prediction.probability)}"
        return self._widgets.Checkbox(True, description=label, indent=False)

    def _swatch(self, rank: int) -> Any:
        png = swatch_png(self.styles[rank - 1])
        return self._widgets.HTML(f'<img src="{image_url(png)}" alt="" style="width:1em;height:1em">')

    def _redraw(self, _: object) -> None:
        for rank, box in enumerate(self.shown, start=1):
            box.disabled = rank > self.top_k.value
        self._image.value = self.png()
