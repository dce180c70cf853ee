"""The options that several commands have, by the panel of the help in which they stand.

What only one command has stands beside that command. The objects that the rest of the package takes are made
from these options here, and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxr_explain.cam.registry import Method
from cxr_explain.cli.flatten import Panel
from cxr_explain.errors import OptionError
from cxr_explain.explaining.settings import MapSettings, RankingSettings
from cxr_explain.options import (
    Activation,
    Dtype,
    Engine,
    Fit,
    Normalisation,
    RankBy,
    Rendering,
    Resolution,
    StyleName,
    check_resolution,
)

if TYPE_CHECKING:
    from cxr_explain.chest.segmentation import PretrainedSegmenter
    from cxr_explain.explaining.explainer import Pretrained
    from cxr_explain.explaining.operating_points import OperatingPoints
    from cxr_explain.figures.style import Style
    from cxr_explain.loaders.settings import ReadSettings

Natural = Annotated[int, typer.Option(min=0)]
Positive = Annotated[int, typer.Option(min=1)]


def named_path(text: str | Path) -> Path:
    """A path that has a name: '' would be the current folder, as of an empty variable of the shell."""
    if not str(text):
        raise typer.BadParameter("a path without a name")
    return Path(text)


def resolution_of(text: str) -> Resolution:
    """A resolution as it is typed: a word, or a number of cells.

    >>> resolution_of("14"), resolution_of("finest")
    (14, 'finest')
    """
    value: Any = int(text) if re.fullmatch(r"[0-9]{1,5}", text) else text
    try:
        check_resolution(value)
    except OptionError as error:
        raise typer.BadParameter(str(error)) from error
    return value  # type: ignore[no-any-return]  # which was checked


OutPath = Annotated[
    Path, typer.Option("--out", "-o", rich_help_panel="Output", parser=named_path, metavar="PATH")
]
WeightsDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder that holds the weights.",
        show_default="$CXR_EXPLAIN_WEIGHTS_DIR, else torchxrayvision's own cache",
        rich_help_panel="Model",
    ),
]


class BoxPanel(Panel):
    """What is known of the images.

    Args:
        boxes: CSV table of reference boxes, in the format of NIH's BBox_List_2017.csv.
    """

    boxes: Path | None = None


class LookPanel(Panel, title="Figure"):
    """How figures look.

    Args:
        style: colours of the figures.
        language: language of the figures' words, such as en, de or zh, or a TOML file with a translation.
    """

    style: Annotated[StyleName | None, typer.Option(show_default="light")] = None
    language: str = "en"

    def look(self, otherwise: StyleName = "light") -> Style:
        """The style of the figures.

        Args:
            otherwise: the style where none was asked for.

        Raises:
            OptionError: a language that there is not.
        """
        from cxr_explain.figures.style import style_of

        return style_of(self.style or otherwise, language=self.language)


class SingleLookPanel(LookPanel, title="Figure"):
    """How one figure, or an animation, looks."""

    style: Annotated[StyleName | None, typer.Option(show_default="light, and dark for an animation")] = None


class ReadingPanel(Panel):
    """How image files are read.

    Args:
        voi: window of a DICOM image: auto, none, its index in the file, or CENTER/WIDTH.
        xrv_compatible: read and resize images exactly as torchxrayvision does.
        rendering: grey levels that the model sees: those that a viewer shows (plain), or, after histogram
            equalisation, those of the JPEGs of MIMIC-CXR-JPG and CheXpert (equalised).
        max_pixels: refuse an image that has more pixels than this.
    """

    voi: str = "auto"
    xrv_compatible: bool = False
    rendering: Rendering = "plain"
    max_pixels: Annotated[int | None, typer.Option(min=1, show_default="50 million")] = None

    def settings(self, *, frame: int | None = None) -> ReadSettings:
        """The same for a reader.

        Args:
            frame: index of the frame of a multi-frame object.

        >>> ReadingPanel(voi="1").settings(frame=2)
        ReadSettings(voi=1, xrv_compatible=False, frame=2, max_pixels=50000000, rendering='plain')
        """
        from cxr_explain.loaders.settings import ReadSettings

        voi = int(self.voi) if self.voi.lstrip("-").isdigit() else self.voi
        limit = {"max_pixels": self.max_pixels} if self.max_pixels else {}
        return ReadSettings(voi, self.xrv_compatible, frame, **limit, rendering=self.rendering)


class WeightsPanel(Panel, title="Model"):
    """Which model.

    Args:
        weights: model to use: a name from `cxr-explain weights list`, or a checkpoint file.
        offline: never download weights.
    """

    weights: str = "densenet121-res224-all"
    weights_dir: WeightsDir = None
    offline: bool = False


class DevicePanel(WeightsPanel):
    """Which model, and where it computes.

    Args:
        device: device that computes: cpu, cuda, cuda:1 and so on.
    """

    device: Annotated[str | None, typer.Option(show_default="cuda where present, else cpu")] = None

    def pretrained(self, **options: Any) -> Pretrained:
        """How to come to the explainer; `load` gives it.

        Args:
            **options: options of the explainer.
        """
        from cxr_explain.explaining.explainer import Pretrained

        return Pretrained(self.weights, self._where | options)

    def segmentation(self, weights: str) -> PretrainedSegmenter:
        """How to come to a segmentation network, by its name or a file; `load` gives it."""
        from cxr_explain.chest.segmentation import PretrainedSegmenter

        return PretrainedSegmenter(weights, self._where)

    @property
    def _where(self) -> dict[str, Any]:
        return {"weights_dir": self.weights_dir, "fetch": not self.offline, "device": self.device}


class EnginePanel(DevicePanel):
    """Which model, and how it computes.

    Args:
        engine: what runs the model: torch, an engine of the extras onnxruntime and openvino, or the fastest
            of these that is installed and can run it (auto).
        dtype: arithmetic of the model's forward pass.
    """

    engine: Engine = "torch"
    dtype: Dtype = "float32"


class ModelPanel(EnginePanel):
    """Which model, and how it computes.

    Args:
        allow_phantom_weights: let a model that was trained on phantoms only explain radiographs, as a
            demonstration.
    """

    allow_phantom_weights: bool = False


class TopPanel(Panel, title="Ranking"):
    """How many pathologies are explained.

    Args:
        top_k: K, the number of pathologies that are explained.
    """

    top_k: Positive = 5


class RankingPanel(TopPanel):
    """Which pathologies are explained.

    Args:
        pathologies: choose among these pathologies only, for example 'Effusion|Mass'.
        rank_by: score that ranks the pathologies: the model's probability, or the probability rescaled so
            that each operating point becomes 0.5 (calibrated).
        above_operating_point: explain only pathologies whose probability reaches their operating point.
    """

    pathologies: Annotated[str | None, typer.Option(show_default="all that the model predicts")] = None
    rank_by: RankBy = "probability"
    above_operating_point: bool = False

    def settings(self) -> RankingSettings:
        """The same for an explainer.

        >>> RankingPanel(pathologies="Effusion | Mass").settings().pathologies
        ('Effusion', 'Mass')
        """
        names = None if self.pathologies is None else tuple(map(str.strip, self.pathologies.split("|")))
        return RankingSettings(self.top_k, self.rank_by, names, self.above_operating_point)


class PointsPanel(Panel, title="Ranking"):
    """From which probability on a pathology is called positive.

    Args:
        operating_points: JSON file of operating points that `cxr-explain thresholds` fitted for these
            weights; where it has calibrations, calibrated probabilities are shown.
    """

    operating_points: Annotated[Path | None, typer.Option(show_default="those of the weights")] = None

    def read(self, reading: ReadSettings) -> OperatingPoints | None:
        """The operating points of the file; None for the weights' own.

        Args:
            reading: how image files are read, which must be as they were fitted.

        Raises:
            OutputError: a file that holds none, or that was changed since it was written.
            OptionError: images that are read in another way.
        """
        if self.operating_points is None:
            return None
        from cxr_explain.explaining.operating_points import OperatingPoints

        found = OperatingPoints.load(self.operating_points)
        found.check_read_alike(reading)
        return found


class RulePanel(Panel, title="Map"):
    """How class maps are made.

    Args:
        method: rule that makes the class maps.
        fused: whether each position of the map keeps only the strongest pathology.
        resolution: how fine maps are: as the network makes them (native), a number of cells along a side,
            such as 14 or 28, or as fine as can be had (finest). Weights and scores stay the model's own.
    """

    method: Method = "grad-cam"
    fused: Annotated[bool, typer.Option("--fused/--not-fused")] = True
    resolution: Annotated[Any, typer.Option(parser=resolution_of, metavar="NAME|CELLS")] = "native"


class FusionPanel(Panel, title="Map"):
    """How class maps become one map.

    Args:
        normalisation: L2 norm that divides the class maps before the activation function is applied: of all K
            maps together (joint), of each map (per-class), or of each column of each map, as in the code that
            the method's authors released (released).
        activation: activation function that is applied to the fused map.
        fit: square of the radiograph that the model sees: the largest one inside the image, as in training
            (crop), or the smallest one around the image (pad).
    """

    normalisation: Normalisation = "joint"
    activation: Activation = "relu"
    fit: Fit = "crop"


class BatchPanel(Panel, title="Run"):
    """How the work is done.

    Args:
        batch_size: number of images in one forward pass of the model.
    """

    batch_size: Positive = 8


class ExplainingPanels(Panel):
    """All that says how a radiograph is explained, from the file to the map."""

    reading: ReadingPanel
    model: ModelPanel
    ranking: RankingPanel
    points: PointsPanel
    rule: RulePanel
    fusion: FusionPanel

    def pretrained(self, *, layers: Sequence[str] = (), **options: Any) -> Pretrained:
        """How to come to the explainer; `load` gives it.

        Args:
            layers: names of the layers to explain; none is the classifier's own.
            **options: further options of the explainer.
        """
        settings = MapSettings(
            **vars(self.rule),
            **vars(self.fusion),
            target_layers=tuple(layers),
            xrv_compatible=self.reading.xrv_compatible,
            engine=self.model.engine,
            dtype=self.model.dtype,
            allow_phantom_weights=self.model.allow_phantom_weights,
        )
        if (points := self.points.read(self.reading.settings())) is not None:
            options["operating_points"] = points
        return self.model.pretrained(**vars(settings), **options)
