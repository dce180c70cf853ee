"""The command that measures whether class maps deserve trust."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxr_explain.cam.registry import Method
from cxr_explain.cli import console
from cxr_explain.cli.flatten import Panel
from cxr_explain.cli.panels import BoxPanel, EnginePanel, FusionPanel, Natural, OutPath, Positive, TopPanel
from cxr_explain.errors import CxrExplainError

if TYPE_CHECKING:
    from cxr_explain.explaining.explainer import Pretrained


class ReferencePanel(BoxPanel):
    """What maps are measured against.

    Args:
        masks: folder of reference masks, each named IMAGE-pathology.png.
        segmentations: JSON file of CheXlocalize with reference outlines, either its segmentations or its
            annotations.
        n: number of images to evaluate, at most.
        seed: seed of the first phantom that is rendered; from the default on, no phantom was trained on.
    """

    masks: Path | None = None
    segmentations: Path | None = None
    n: Annotated[
        int | None,
        typer.Option(
            "--n", min=1, show_default="all files; without files, 160 phantoms, or 1000 with --validity"
        ),
    ] = None
    seed: Natural = 10_000_000


Several = Annotated[list[str] | None, typer.Option(show_default="phantom")]


class EvaluatedPanel(EnginePanel):
    """Which models are evaluated.

    Args:
        weights: model to evaluate: a name from `cxr-explain weights list`, or a checkpoint file; several are
            measured on the same cases, and set side by side.
    """

    weights: Several = None  # type: ignore[assignment]  # every other command takes one

    def models(self, **options: Any) -> tuple[Pretrained, ...]:
        """How to come to the explainer of each model; `load` gives it.

        Args:
            **options: options of the explainers.
        """
        from cxr_explain.explaining.explainer import Pretrained

        names = dict.fromkeys(self.weights or ["phantom"])
        return tuple(Pretrained(name, self._where | options) for name in names)


class StudyPanel(Panel, title="Run"):
    """What is compared, and how.

    Args:
        study: compare rules, numbers K, normalisations and activations, and randomise the weights; --top-k,
            --normalisation and --activation are then not used.
        validity: measure the model and its maps on phantoms with and without each finding; several --weights
            are compared side by side.
        quick: take fewer images and steps: to see that it runs, not to judge by.
        jobs: number of processes, each of one thread.
    """

    study: bool = False
    validity: bool = False
    quick: bool = False
    jobs: Positive = 1


def evaluate(
    inputs: Annotated[
        list[str] | None, typer.Argument(metavar="INPUT", show_default="phantoms, rendered for the purpose")
    ] = None,
    *,
    reference: ReferencePanel,
    model: EvaluatedPanel,
    ranking: TopPanel,
    method: Annotated[
        list[str] | None,
        typer.Option(show_default="grad-cam; with --study, all", rich_help_panel="Map"),
        Method,
    ] = None,
    fusion: FusionPanel,
    resamples: Annotated[
        int | None,
        typer.Option(min=1, show_default="1000, or 200 with --quick", rich_help_panel="Statistics"),
    ] = None,
    output: OutPath = Path("evaluation"),
    run: StudyPanel,
) -> None:
    """Measure whether class maps deserve trust: on phantoms, or on images with reference boxes or masks.

    Writes a report, a table of estimates, and all rows behind them; of several models each in a folder, and
    one report that sets them side by side. What is there already is not measured again.

    Exit code 0: all well; 1: some inputs failed, the others are done; 2: usage.

    Args:
        inputs: image files, folders that are searched for images, or globs.
        reference: what maps are measured against.
        model: which models are evaluated.
        ranking: how many pathologies are explained.
        method: rule that makes the class maps.
        fusion: how class maps become one map.
        resamples: number of times that the bootstrap draws patients at random, for confidence intervals.
        output: folder for the report and its tables.
        run: what is compared, and how.

    Example:
        cxr-explain evaluate phantoms/images --masks phantoms/masks --quick
    """
    from cxr_explain.study.session import (
        CaseSource,
        EvaluationSettings,
        checked_methods,
        evaluate_models,
        references_of,
    )

    given = {"boxes": reference.boxes, "masks": reference.masks, "segmentations": reference.segmentations}
    source = CaseSource(seed=reference.seed)
    models = model.models(fit=fusion.fit, engine=model.engine, dtype=model.dtype)
    if inputs or any(given.values()):
        files = tuple(console.files_of(inputs or []))
        known = model.models()[0].load().classifier.pathologies if any(given.values()) else ()
        source = CaseSource(files, references_of(**given, pathologies=known))
    settings = EvaluationSettings(
        source,
        models[0],
        methods=checked_methods(method or ()),
        study=run.study,
        validity=run.validity,
        quick=run.quick,
        n=reference.n,
        top_k=ranking.top_k,
        normalisation=fusion.normalisation,
        activation=fusion.activation,
        resamples=resamples,
    )
    for each in dict.fromkeys(note for one in models for note in replace(settings, model=one).notes()):
        console.note(each)
    failures: list[CxrExplainError] = []

    def fail(error: CxrExplainError) -> None:
        failures.append(error)
        console.failed(str(error))

    with console.progress("evaluating", len(models) * settings.most) as advance:
        findings = evaluate_models(settings, models, output, jobs=run.jobs, failed=fail, advance=advance)
    console.say(findings.to_text(), lines=True)
    console.say(f"Read {output / 'report.md'}.")
    if failures:
        raise typer.Exit(console.EXIT_SOME_FAILED)
