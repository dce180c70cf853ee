"""Many images through one explainer: batches, failures as values, and whole files.

What explains files, audits and MONAI's batches is here once. Nothing here keeps pixels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from cxr_explain.errors import CxrExplainError, OptionError, fault
from cxr_explain.explaining.drawing import FigureFile, draw_file
from cxr_explain.explaining.explainer import Explained, Explainer
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.explaining.preprocessing import ModelInput
from cxr_explain.explaining.settings import RankingSettings
from cxr_explain.options import FigureFormat, StyleName
from cxr_explain.pathologies import ReferenceLabels
from cxr_explain.radiograph import Radiograph
from cxr_explain.support.whole_file import output_errors, tidy, write_output

if TYPE_CHECKING:
    from cxr_explain.display import Style

T = TypeVar("T")
Item = TypeVar("Item")

_MOST_PIXELS = (
    100_000_000  # of a batch: eight detectors of twelve megapixels, or two of the largest images read
)


@dataclass(frozen=True, eq=False)
class Outcome(Generic[Item]):
    """What became of one image.

    Args:
        item: where it comes from, such as its path.
        image: what the model was shown; None where it was not read or prepared.
        found: its explanation, or why there is none.
        milliseconds: its share of the time in which its batch was explained.
    """

    item: Item
    image: ModelInput | None
    found: Explained | CxrExplainError
    milliseconds: float = 0.0


@dataclass(frozen=True, eq=False)
class Saved:
    """An explanation whose files are written; without pixels.

    Args:
        explanation: the result; its radiograph is None.
        radiograph: what is known of the radiograph, its pixels black.
        labels: the reference labels of the figure; None where none were given.
        json: the explanation's file.
        figure: the figure's file; None where none was asked for.
        figure_size: width and height of the figure in pixels.
        html: the file of the page with controls; None where none was asked for.
    """

    explanation: Explanation
    radiograph: Radiograph
    labels: ReferenceLabels | None
    json: Path
    figure: Path | None
    figure_size: tuple[int, int] | None
    html: Path | None = None


def attempt(work: Callable[[], T]) -> T | CxrExplainError:
    """Do the work of one image; an error comes back as a value, a fault under its type's name alone.

    With CXR_EXPLAIN_DEBUG in the environment a fault is raised. Its cause stays with the error.

    >>> str(attempt(lambda: 1 / 0))[:30]
    'an unexpected ZeroDivisionErro'
    """
    try:
        return work()
    except CxrExplainError as error:
        return error
    except Exception as error:
        return fault(error)


def explain_each(
    explainer: Explainer, images: Sequence[ModelInput], asked: RankingSettings
) -> list[Explained | CxrExplainError]:
    """Explain images in one forward pass; where it fails, one by one, so that only the culprit does.

    Raises:
        OptionError: an option that fits no image.
    """
    try:
        return [*explainer.explain_prepared(images, asked)]
    except OptionError:
        raise
    except Exception:
        alone = (partial(explainer.explain_prepared, [image], asked) for image in images)
        found = [attempt(work) for work in alone]
        return [one if isinstance(one, CxrExplainError) else one[0] for one in found]


def explain_in_batches(
    explainer: Explainer,
    images: Iterable[tuple[Item, ModelInput | CxrExplainError]],
    asked: RankingSettings,
    batch_size: int,
) -> Iterator[list[Outcome[Item]]]:
    """Explain images as they come, so many in one forward pass; what could not be read stays in its place.

    Args:
        explainer: the model, with its preprocessing and its rule.
        images: each with where it comes from, or with why it could not be read.
        asked: which pathologies to explain.
        batch_size: images of one forward pass. A batch ends early once its images have a hundred million
            pixels, which wait in memory until the batch is explained.

    Yields:
        What became of each image of a batch, in order. The list belongs to the caller, who may empty it to
        let pixels go.

    Raises:
        OptionError: an option that fits no image.
    """
    coming = iter(images)
    while outcomes := _of_a_batch(explainer, _next_batch(coming, batch_size), asked):
        yield outcomes


def _next_batch(
    coming: Iterator[tuple[Item, ModelInput | CxrExplainError]], batch_size: int
) -> list[tuple[Item, ModelInput | CxrExplainError]]:
    batch, pixels = [], 0
    for item, image in islice(coming, batch_size):
        batch.append((item, image))
        pixels += _pixels_held(image)
        if pixels > _MOST_PIXELS:
            break
    return batch


def _pixels_held(image: ModelInput | CxrExplainError) -> int:
    """How many pixels an image keeps in memory; those of `Radiograph.without_pixels` are all one."""
    if not isinstance(image, ModelInput) or not any(image.radiograph.pixels.strides):
        return 0
    return image.radiograph.pixels.size


def _of_a_batch(
    explainer: Explainer, batch: Sequence[tuple[Item, ModelInput | CxrExplainError]], asked: RankingSettings
) -> list[Outcome[Item]]:
    began = time.perf_counter()
    ready = [image for _, image in batch if isinstance(image, ModelInput)]
    found = iter(explain_each(explainer, ready, asked))
    share = (time.perf_counter() - began) * 1000 / max(len(ready), 1)
    return [
        Outcome(item, image, next(found), share)
        if isinstance(image, ModelInput)
        else Outcome(item, None, image)
        for item, image in batch
    ]


def make_output_folder(folder: Path) -> None:
    """Make a folder for outputs, unless it is there; what a killed process left half-written there goes.

    Raises:
        OutputError: it cannot be made.
    """
    with output_errors("an output folder", folder):
        folder.mkdir(parents=True, exist_ok=True)
    tidy(folder)


def save_outputs(
    explained: Explained,
    folder: Path,
    *,
    labels: ReferenceLabels | None = None,
    figure_format: FigureFormat | None = "png",
    html: bool = False,
    style: Style | StyleName = "light",
    drawing: Callable[[], FigureFile] | None = None,
) -> Saved:
    """Write the figure first, the JSON last: where a JSON file is, everything is.

    Args:
        explained: a radiograph and its explanation.
        folder: folder for `<id>.png`, `<id>.json` and `<id>.npz`.
        labels: reference labels to show in the figure.
        figure_format: None writes no figure.
        html: also write `<id>.html`, the page with controls.
        style: how the figure looks.
        drawing: gives the figure; by default it is drawn here, in the style.

    Raises:
        OutputError: a folder that cannot be written to.
    """
    explanation, radiograph = explained.explanation, explained.radiograph
    figure = size = None
    if figure_format is not None:
        drawn = drawing() if drawing else draw_file(explanation, radiograph, labels, figure_format, style)
        figure = write_output(folder / f"{explanation.id}.{figure_format}", drawn.content, "a figure")
        size = drawn.size
    page = folder / f"{explanation.id}.html" if html else None
    if page is not None:
        explanation.to_html(page, labels, radiograph=radiograph)
    json = explanation.save(folder / f"{explanation.id}.json")
    bare = replace(explanation, radiograph=None)
    return Saved(bare, radiograph.without_pixels(), labels, json, figure, size, page)
