"""The commands that write and score CheXlocalize's files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cxr_explain.cli import console
from cxr_explain.cli.audits import RunImages
from cxr_explain.cli.flatten import Panel
from cxr_explain.cli.panels import Natural, OutPath
from cxr_explain.errors import CxrExplainError, OptionError, naming
from cxr_explain.support.prose import counted
from cxr_explain.support.shell import shell_word

if TYPE_CHECKING:
    from cxr_explain.audit.store import AuditRun
    from cxr_explain.measures.chexlocalize_eval import EvalTables, Metric
    from cxr_explain.measures.chexlocalize_scores import Scores
    from cxr_explain.measures.chexlocalize_writing import CaseToWrite
    from cxr_explain.reference.chexlocalize import OutlineSet
    from cxr_explain.reference.saliency_maps import SaliencyMap
    from cxr_explain.reference.standard import ReferenceStandard
    from cxr_explain.support.plain_table import PlainTable

_TITLES = {"iou": "IoU", "hitmiss": "Hit rate"}
_HEADS = ("Pathology", "Cases", "Mean", "eval.py's mean", "By patient")


class PredictedPanel(Panel):
    """What is scored.

    Args:
        maps: folder of saliency maps, files ID_PATHOLOGY_map.pkl; their masks are scored by IoU, and their
            peaks by hits.
        predictions: JSON file of predicted segmentations, to be scored by IoU in place of the maps' masks.
        points: JSON file of readers' most representative points, to be scored by hits.
    """

    maps: Annotated[Path | None, typer.Option(metavar="DIR", show_default="none")] = None
    predictions: Annotated[Path | None, typer.Option(show_default="none")] = None
    points: Annotated[Path | None, typer.Option(show_default="none")] = None

    def check(self) -> None:
        """Refuse nothing at all, and two sources of hits."""
        if not (self.maps or self.predictions or self.points):
            raise OptionError("nothing to score", expected="--maps, --predictions or --points")
        if self.maps and self.points:
            raise OptionError(
                "--maps together with --points", expected="one of them", remedy="Score them into two folders."
            )


class MaskingPanel(Panel, title="Map"):
    """How a saliency map becomes a mask and a point.

    Args:
        thresholds: CSV table with the columns threshold and task: the mask is what lies above the
            pathology's threshold in the map, scaled from 0 to 1.
        cutoffs: CSV table with the columns prob_threshold, mIoU and task: the mask is empty where the model's
            probability is below the pathology's best cutoff.
        peak_of: where the point of a hit is, at the largest value of the map, or at the mask's first pixel,
            as in the last eval.py.
    """

    thresholds: Annotated[
        Path | None, typer.Option(show_default="Otsu's threshold, with contours filled")
    ] = None
    cutoffs: Annotated[Path | None, typer.Option(show_default="none")] = None
    peak_of: Literal["map", "mask"] = "map"

    def check_unused(self) -> None:
        """Refuse tables for masks that are not made of maps."""
        if self.thresholds or self.cutoffs:
            raise OptionError(
                "--thresholds or --cutoffs together with --predictions",
                expected="them for the masks of --maps",
            )

    def masks_of(self, maps: Iterable[SaliencyMap]) -> OutlineSet:
        """The masks of saliency maps."""
        from cxr_explain.measures.chexlocalize_eval import predicted_outlines, read_cutoffs, read_thresholds

        return predicted_outlines(
            maps,
            thresholds=None if self.thresholds is None else read_thresholds(self.thresholds),
            cutoffs=None if self.cutoffs is None else read_cutoffs(self.cutoffs),
        )


class ProtocolPanel(Panel, title="Statistics"):
    """Which cases count, and how they are drawn.

    Args:
        true_pos_only: whether the IoU is of cases with a reference mask and a predicted one alone, or of all
            cases with either; hits are of cases with a reference mask.
        seed: seed of the bootstrap.
    """

    true_pos_only: Annotated[bool, typer.Option("--true-pos-only/--all-cases")] = True
    seed: Natural = 0


class OutlinedPanel(Panel):
    """What is known of the images.

    Args:
        masks: folder of reference masks, each named IMAGE-pathology.png.
    """

    masks: Annotated[
        Path | None, typer.Option(show_default="the masks of the audit's manifest, where it has any")
    ] = None


def write(
    explained: Annotated[str, typer.Argument(metavar="INPUT")],
    *,
    images: RunImages = None,
    outlined: OutlinedPanel,
    longest: Annotated[int, typer.Option(min=1, rich_help_panel="Map")] = 512,
    output: OutPath = Path("chexlocalize"),
) -> None:
    """Write explanations as CheXlocalize's files: saliency maps, their masks, and the reference masks.

    Its own scripts read them, and so does `cxr-explain chexlocalize score`. They hold no pixel of a
    radiograph and no path. Only pathologies that were explained have a map: explain with a --top-k of all.

    Exit code 0: all well; 1: some inputs failed, the others are done; 2: usage.

    Args:
        explained: folder of an audit, or its URL; or folder of explanations, as `cxr-explain explain` wrote
            it.
        images: folder of the audit's images, or its URL.
        outlined: what is known of the images.
        longest: samples of a map along the longer side of the radiograph, at most.
        output: folder for the files, in which nothing of another run may be.

    Example:
        cxr-explain chexlocalize write run --masks phantoms/masks
    """
    from cxr_explain.measures.chexlocalize_writing import MAPS, write_for_chexlocalize
    from cxr_explain.reference.standard import read_references

    standard = None if outlined.masks is None else read_references(masks=outlined.masks)
    cases = list(_cases_of(explained, images, standard))
    failures: list[CxrExplainError] = []

    def fail(error: CxrExplainError) -> None:
        failures.append(error)
        console.failed(str(error))

    written = write_for_chexlocalize(output, _read(cases, fail), longest=longest)
    for each in written.notes():
        console.note(each)
    maps = output / MAPS
    found = counted(sum(written.maps.values()), "saliency map")
    console.say(f"{found} of {counted(written.radiographs, 'radiograph')} in {maps}")
    if written.references is None:
        console.note("no reference masks: none are known")
    references = "REFERENCES" if written.references is None else shell_word(written.references)
    console.say(f"Go on with: cxr-explain chexlocalize score {references} --maps {shell_word(maps)}")
    if failures:
        raise typer.Exit(console.EXIT_SOME_FAILED)


def score(
    references: Annotated[Path, typer.Argument(metavar="REFERENCES")],
    *,
    predicted: PredictedPanel,
    masking: MaskingPanel,
    protocol: ProtocolPanel,
    output: OutPath = Path("chexlocalize-scores"),
) -> None:
    """Score saliency maps or masks by CheXlocalize's protocol: the numbers of eval.py, and its tables.

    The tables have eval.py's names: all cases, the means of 1000 draws of the radiographs, and their summary.
    Beside eval.py's interval stands one that draws patients, since radiographs of one patient belong
    together. Pickles are read without being executed.

    Args:
        references: JSON file of CheXlocalize with reference outlines, either its segmentations or its
            annotations.
        predicted: what is scored.
        masking: how a saliency map becomes a mask and a point.
        protocol: which cases count, and how they are drawn.
        output: folder for the tables.

    Example:
        cxr-explain chexlocalize score chexlocalize/gt_segmentations.json --maps chexlocalize/maps
    """
    from cxr_explain.measures.chexlocalize_eval import EvalTables
    from cxr_explain.reference.masks import outline_kind, read_outlines

    predicted.check()
    there = read_outlines(references, outline_kind(references))
    for metric, scores in _scores(predicted, masking, protocol, there):
        is_human = metric == "hitmiss" and predicted.points is not None
        tables = EvalTables(metric, scores, protocol.seed, is_human)
        for each in scores.notes:
            console.note(each)
        console.say(table_of(tables).to_text(), lines=True)
        *_, summary = tables.save(output)
        console.say(f"{shell_word(summary)}, with its cases and draws beside it")


def table_of(tables: EvalTables) -> PlainTable:
    """The summary as a table, beside this package's own intervals.

    Args:
        tables: what `eval.py` makes of the scores.
    """
    from cxr_explain.measures.statistics.bootstrap import mean_estimate
    from cxr_explain.support.plain_table import PlainTable

    rows, scores = [], tables.scores
    for name, each in tables.summary.items():
        mean = scores.means[name]
        ours = mean_estimate(mean.values, groups=scores.patients, seed=tables.seed)
        rows.append(
            [
                name,
                str(mean.cases),
                "none" if mean.value is None else f"{mean.value:.3f}",
                str(each),
                "none" if ours.low is None else f"{ours.low:.3f} to {ours.high:.3f}",
            ]
        )
    note = (
        "eval.py's mean and interval draw radiographs one by one; an end is none where too many draws have "
        "no case. By patient: this package's interval of the mean."
    )
    return PlainTable(_TITLES[tables.metric], _HEADS, rows, note)


def _scores(
    predicted: PredictedPanel, masking: MaskingPanel, protocol: ProtocolPanel, there: OutlineSet
) -> Iterator[tuple[Metric, Scores]]:
    from cxr_explain.measures.chexlocalize_eval import eval_hits, eval_ious, eval_points
    from cxr_explain.reference.chexlocalize import read_points, read_segmentations
    from cxr_explain.reference.saliency_maps import find_saliency_maps

    maps = None if predicted.maps is None else find_saliency_maps(predicted.maps)
    for each in () if maps is None else maps.notes():
        console.note(each)
    found = None
    if predicted.predictions is not None:
        masking.check_unused()
        found = read_segmentations(predicted.predictions)
    elif maps is not None:
        found = masking.masks_of(console.track(maps.maps(), "drawing masks", total=len(maps)))
    if found is not None:
        yield "iou", eval_ious(found, there, true_pos_only=protocol.true_pos_only)
    if maps is not None:
        tracked = console.track(maps.maps(), "looking for peaks", total=len(maps))
        yield "hitmiss", eval_hits(tracked, there, peak_of=masking.peak_of)
    if predicted.points is not None:
        yield "hitmiss", eval_points(read_points(predicted.points), there)


def _cases_of(
    source: str, images: str | None, standard: ReferenceStandard | None
) -> Iterator[Callable[[], CaseToWrite]]:
    """What reads each case."""
    from cxr_explain.cli.dicom import is_audit

    if is_audit(source):
        from cxr_explain.audit.store import AuditRun

        run = AuditRun.open(source, images=images)
        yield from (partial(_audited, run, at, standard) for at in run.position.values())
        return
    files = sorted(Path(source).glob("*.json"))
    if not files:
        raise OptionError(
            "no explanation", expected="an audit, or a folder that `cxr-explain explain` wrote", source=source
        )
    yield from (partial(_saved, path, standard) for path in files)


def _audited(run: AuditRun, at: int, standard: ReferenceStandard | None) -> CaseToWrite:
    from cxr_explain.measures.chexlocalize_writing import CaseToWrite

    case = run.case(at)
    with naming(case.row["image_id"]):
        found = tuple(each for each in (case.explanation, case.reference_explanation) if each is not None)
        shape = case.explanation.geometry.radiograph_shape
        own = case.reference_masks if run.manifest.masks else None
        masks = own if standard is None else standard.masks(case.explanation.id, shape)
        return CaseToWrite(found, case.reference_labels, masks)


def _saved(path: Path, standard: ReferenceStandard | None) -> CaseToWrite:
    from cxr_explain.explaining.explanation import Explanation
    from cxr_explain.measures.chexlocalize_writing import CaseToWrite

    found = Explanation.load(path)
    shape = found.geometry.radiograph_shape
    with naming(path):
        return CaseToWrite((found,), masks=None if standard is None else standard.masks(found.id, shape))


def _read(
    cases: Sequence[Callable[[], CaseToWrite]], fail: Callable[[CxrExplainError], None]
) -> Iterator[CaseToWrite]:
    for each in console.track(cases, "writing"):
        try:
            case = each()
        except CxrExplainError as error:
            fail(error)
        else:
            yield case
