"""The command that fits operating points and calibrations on a part of an audit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxr_explain.cli import console
from cxr_explain.cli.audits import LabelsPanel
from cxr_explain.cli.flatten import Panel
from cxr_explain.cli.panels import Natural, OutPath, named_path
from cxr_explain.options import CalibrationKind
from cxr_explain.support.prose import counted
from cxr_explain.support.shell import shell_word

if TYPE_CHECKING:
    from cxr_explain.explaining.operating_points import OperatingPoints, ShareWithInterval
    from cxr_explain.support.plain_table import PlainTable

_HEADS = ("Pathology", "Patients n⁺", "n⁻", "Operating point", "Sensitivity", "Specificity", "Calibration")


class TuningPanel(Panel):
    """On which images it is done.

    Args:
        split: split of the manifest to fit on, such as valid.
        fraction: where the manifest has no splits, share of the patients to fit on, drawn at random.
        seed: seed of that draw.
    """

    split: Annotated[str | None, typer.Option(show_default="none")] = None
    fraction: Annotated[float | None, typer.Option(show_default="none")] = None
    seed: Natural = 0


def thresholds(
    run: Annotated[str, typer.Argument(metavar="RUN")],
    *,
    tuning: TuningPanel,
    goal: Annotated[str, typer.Option("--for", metavar="GOAL", rich_help_panel="Statistics")],
    calibrate: Annotated[CalibrationKind, typer.Option(rich_help_panel="Statistics")] = "none",
    labels: LabelsPanel,
    output: OutPath = Path("operating_points.json"),
    rest: Annotated[
        Path | None,
        typer.Option(parser=named_path, metavar="PATH", show_default="none", rich_help_panel="Output"),
    ] = None,
) -> None:
    """Fit operating points on a part of an audit, and calibrate probabilities, for --operating-points.

    What is fitted on some patients is tested on others: statistics of an audit refuse images of the patients
    that its operating points were fitted on.

    Args:
        run: folder of the audit, or its URL, as `cxr-explain audit` wrote it.
        tuning: on which images it is done.
        goal: what the operating points are chosen for: youden (the largest sum of sensitivity and
            specificity), sensitivity=0.9 or specificity=0.9 (at least so much, and then as much as possible
            of the other), or cost=10 (the least cost, where a missed finding costs so many false alarms).
        calibrate: how probabilities are calibrated, for each pathology, by a temperature or an isotonic
            curve.
        labels: what reference labels count as.
        output: JSON file to write.
        rest: also write the manifest of all other patients, to audit with the operating points.

    Example:
        cxr-explain thresholds run --for youden --fraction 0.5 --out points.json
    """
    from cxr_explain.audit.operating_points.fitting import TuningSettings, fit_operating_points
    from cxr_explain.audit.operating_points.goals import Goal
    from cxr_explain.audit.operating_points.split import TuningPart, rest_of
    from cxr_explain.audit.store import AuditRun
    from cxr_explain.reference import write_manifest

    part = TuningPart(tuning.split, tuning.fraction, tuning.seed)
    aim = Goal.parse(goal)
    opened = AuditRun.open(run)
    settings = TuningSettings(aim, part, calibrate, labels.policy(opened.record.policy))
    points = fit_operating_points(opened, settings)
    others = None if rest is None else rest_of(opened, points.known)
    points.save(output)
    console.say(table_of(points).to_text(), lines=True)
    for line in points.lines():
        console.note(line)
    if others is not None and rest is not None:
        write_manifest(others, rest)
        console.say(f"{len(others)} images of other patients are in {rest}.")
    words = shell_word(rest if rest is not None else "MANIFEST")
    console.say(
        f"Go on with: cxr-explain audit {words} --operating-points {shell_word(output)} --images FOLDER "
        "--weights NAME --out RUN"
    )


def table_of(points: OperatingPoints) -> PlainTable:
    """What was fitted, as a table."""
    from cxr_explain.support.plain_table import PlainTable

    tuning = points.tuning
    basis = f"{counted(tuning.images, 'image')} of {counted(tuning.patients, 'patient')}"
    title = f"Operating points for {tuning.goal}, fitted on {basis}"
    note = (
        f"{tuning.part}; reference labels: {tuning.policy}. Intervals of 95 %, of the images that the points "
        "were fitted on: on other images sensitivity and specificity are likely a little lower. An operating "
        "point has an interval where it is a quantile, not where it is the best of many."
    )
    return PlainTable(title, _HEADS, list(_rows(points)), note)


def _rows(points: OperatingPoints) -> Iterator[list[str]]:
    from cxr_explain.figures.lettering import display_name
    from cxr_explain.figures.texts import format_probability

    for each in points.points:
        own = "none" if each.operating_point is None else format_probability(each.operating_point)
        point = f"{own} (own)" if each.not_fitted else own
        if each.interval is not None:
            ends = (each.interval.low or 0.0, each.interval.high or 0.0)
            point += f" ({' to '.join(map(format_probability, ends))})"
        calibration = each.calibration
        if calibration is None:
            how = "none"
        elif calibration.temperature is not None:
            how = f"T = {calibration.temperature:.3g}"
        else:
            how = f"{len(calibration.knots)} knots"
        counts = (f"{each.positive_patients:,}", f"{each.negative_patients:,}")
        shares = map(_text, (each.sensitivity, each.specificity))
        yield [display_name(each.pathology), *counts, point, *shares, how]


def _text(share: ShareWithInterval | None) -> str:
    return "not fitted" if share is None else str(share)
