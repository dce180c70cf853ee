"""An evaluation from its settings to its report: which cases, which plan, and where the results go."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path

from cxr_explain.cam.registry import Method
from cxr_explain.engines.registry import ENGINES
from cxr_explain.errors import CxrExplainError, OptionError
from cxr_explain.explaining.explainer import Explainer, Pretrained
from cxr_explain.models.base import Classifier
from cxr_explain.models.xrv import XRVDenseNet
from cxr_explain.options import Activation, Normalisation, check_option
from cxr_explain.reference.coverage import coverage_notes, unpredicted_notes
from cxr_explain.reference.standard import ReferenceStandard, read_references
from cxr_explain.study.across import Across
from cxr_explain.study.cases import Case, file_cases, phantom_cases
from cxr_explain.study.plan import Plan, full_plan, plain_plan, validity_plan
from cxr_explain.study.plots import draw_plots
from cxr_explain.study.report import Findings
from cxr_explain.study.run import run_study
from cxr_explain.study.summary import as_csv
from cxr_explain.study.validity import beside, validity_of
from cxr_explain.support.whole_file import safe_stem, write_output
from cxr_explain.weights.registry import known_entry

_FULL, _QUICK, _VALIDITY = 160, 4, 1000  # phantoms

UNSEEN = 10_000_000
"""The seed of the first phantom of a study; the bundled model was trained on others."""

_TRANSITION = re.compile(r"features\.transition\d+\.relu")


@dataclass(frozen=True)
class CaseSource:
    """Where cases come from.

    Args:
        files: images; none for phantoms that are rendered.
        references: reference standard of the files; None for phantoms, whose findings are known.
        seed: seed of the first phantom; the others follow.
        size: pixels a side of a phantom.
    """

    files: tuple[Path, ...] = ()
    references: ReferenceStandard | None = None
    seed: int = UNSEEN
    size: int = 256

    def covered(self) -> tuple[Path, ...]:
        """The files whose findings are outlined.

        Raises:
            OptionError: none of them is.
        """
        found = tuple(path for path in self.files if self.references and self.references.covers(path))
        if not found:
            notes = coverage_notes(self.references, self.files) if self.references else ()
            raise OptionError(
                f"{len(self.files)} images, none of which has a reference box or mask",
                expected="images that the reference file names",
                remedy=f"{'; '.join(notes)}." if notes else None,
            )
        return found

    def cases(
        self, n: int, failed: Callable[[CxrExplainError], None], *, counterfactuals: bool = False
    ) -> Iterator[Case]:
        """The first n cases; a file that cannot be read is reported, and is none."""
        if self.references is None:
            return phantom_cases(n, seed=self.seed, size=self.size, counterfactuals=counterfactuals)
        return islice(_readable(file_cases(self.files, self.references), failed), n)

    def __str__(self) -> str:
        if self.references is None:
            return f"phantoms of {self.size} x {self.size} pixels from seed {self.seed}"
        return f"radiographs with {self.references.kind}"


def _readable(
    cases: Iterable[Case | CxrExplainError], failed: Callable[[CxrExplainError], None]
) -> Iterator[Case]:
    for case in cases:
        if isinstance(case, CxrExplainError):
            failed(case)
        else:
            yield case


def references_of(
    *,
    boxes: Path | None = None,
    masks: Path | None = None,
    segmentations: Path | None = None,
    pathologies: Sequence[str] = (),
) -> ReferenceStandard:
    """Read the one kind of reference that was given.

    Args:
        boxes: NIH's BBox_List_2017.csv.
        masks: a folder of masks, `IMAGE-pathology.png` each.
        segmentations: either of CheXlocalize's two kinds of JSON.
        pathologies: names of pathologies that are known besides this package's, such as those of a model.

    Raises:
        OptionError: none, or several.
        ManifestError: a table of boxes that cannot be read.
        ReferenceLabelError: masks or outlines that cannot be read.
    """
    given = sum(option is not None for option in (boxes, masks, segmentations))
    if given != 1:
        raise OptionError(
            f"{given} kinds of reference for the images",
            expected="--boxes, --masks or --segmentations",
            remedy="Without images, phantoms are rendered, and their findings are known.",
        )
    return read_references(boxes=boxes, masks=masks, segmentations=segmentations, pathologies=pathologies)


def checked_methods(names: Sequence[str]) -> tuple[Method, ...]:
    """The rules of these names.

    Raises:
        OptionError: an unknown one.
    """
    for name in names:
        check_option("method", name, Method)
    return tuple(dict.fromkeys(names))


@dataclass(frozen=True)
class EvaluationSettings:
    """What an evaluation measures, with which model, rules and fusion.

    Args:
        source: where the cases come from.
        model: the classifier whose maps are measured, as it is loaded.
        methods: rules; none for Grad-CAM, or for all of them in a study.
        study: compare every fusion, and randomise the weights.
        validity: measure the model and its maps on phantoms with and without each finding, instead.
        quick: fewer cases and steps.
        n: cases at most; by default 160 phantoms (1000 for the validity, 4 quick ones), or all files.
        top_k: K of the fusion; a study tries several.
        normalisation: normalisation of the fusion; a study and the validity try all of them.
        activation: activation of the fusion; a study tries all of them.
        resamples: number of the bootstrap's resamples; by default the plan's.
    """

    source: CaseSource
    model: Pretrained
    methods: tuple[Method, ...] = ()
    study: bool = False
    validity: bool = False
    quick: bool = False
    n: int | None = None
    top_k: int = 5
    normalisation: Normalisation = "joint"
    activation: Activation = "relu"
    resamples: int | None = None

    @cached_property
    def explainer(self) -> Explainer:
        """The model, loaded once, on the engine that it is asked for.

        Raises:
            WeightsError: the model cannot be had.
            ModelError: an engine that cannot run it.
            OptionError: reduced precision with torch, which would reduce one pass of many.
        """
        explainer = self.model.load()
        settings = explainer.settings
        if settings.engine == "torch" and settings.dtype != "float32":
            raise OptionError(
                f"dtype={settings.dtype!r} with torch",
                expected="dtype='float32', or engine='openvino', which makes every pass in that precision",
            )
        return explainer

    @property
    def most(self) -> int:
        """Cases at most."""
        if self.source.references is not None:
            covered = len(self.source.covered())
            return min(self.n or covered, covered)
        return self.n or (_QUICK if self.quick else _VALIDITY if self.validity else _FULL)

    def notes(self) -> tuple[str, ...]:
        """What a person should know before: images without a reference, findings without an output.

        Raises:
            OptionError: no image with a reference.
            WeightsError: the model cannot be had.
        """
        references = self.source.references
        if references is None:
            return ()
        outputs = self.explainer.classifier.pathologies
        covered = self.source.covered()
        coverage = coverage_notes(references, self.source.files)
        return (*coverage, *unpredicted_notes(references, covered, outputs))

    def plan(self) -> Plan:
        """What is compared.

        Raises:
            OptionError: a study and the validity at once, or the validity without phantoms.
            WeightsError: the model cannot be had; it is asked for the layers that it has.
        """
        plan = self._plan()
        plan = plan.quick if self.quick else plan
        return replace(plan, resamples=self.resamples or plan.resamples)

    def _plan(self) -> Plan:
        methods: tuple[Method, ...] = self.methods or ("grad-cam",)
        if self.validity and (self.study or self.source.references is not None):
            raise OptionError(
                f"the validity together with {'a study' if self.study else 'images'}",
                expected="phantoms alone, which are rendered with and without each finding",
            )
        if self.validity:
            return validity_plan(methods, k=self.top_k, activation=self.activation)
        if not self.study:
            return plain_plan(
                methods, k=self.top_k, normalisation=self.normalisation, activation=self.activation
            )
        layers = () if self.methods else stack_of_layers(self.explainer.classifier)
        return full_plan(self.methods, layers)


def evaluate_maps(
    settings: EvaluationSettings,
    folder: Path,
    *,
    jobs: int = 1,
    failed: Callable[[CxrExplainError], None],
    advance: Callable[[int], None] = lambda _: None,
) -> Findings:
    """Measure, summarise, and write the report.

    Args:
        settings: what is measured.
        folder: folder for the report and its tables.
        jobs: number of processes.
        failed: called with each file that cannot be read.
        advance: called with the number of cases that were just done.

    Raises:
        OptionError: no image with a reference.
        OutputError: a folder that cannot be used.
    """
    plan = settings.plan()
    cases = settings.source.cases(settings.most, failed, counterfactuals=settings.validity)
    explainer = settings.explainer
    tables = run_study(
        settings.model,
        cases,
        plan,
        folder,
        of=str(settings.source),
        jobs=jobs,
        explainer=explainer,
        advance=advance,
    )
    if not tables.alone:
        raise OptionError(
            f"no finding that {settings.model.weights} predicts in any image that could be read",
            expected="readable images, and references of pathologies that the model knows",
        )
    name = file_or_name(settings.model)
    of = "Validity of" if settings.validity else "Class maps with"
    title = f"{of} the weights {name}, on {settings.source}{_computed(explainer)}"
    if settings.validity:
        findings = validity_of(title, plan, tables)
    else:
        findings = Findings.of(title, plan, tables, model=called(settings.model))
    plots = draw_plots(findings, folder)
    _write(findings, folder, "\n\n".join(f"![{path.stem}]({path.name})" for path in plots))
    return findings


def _write(findings: Findings, folder: Path, shown: str = "") -> None:
    write_output(folder / "report.md", findings.to_markdown(before=shown).encode(), "a report")
    write_output(folder / "summary.csv", as_csv(findings.summaries).encode(), "a table")


def evaluate_models(
    settings: EvaluationSettings,
    models: Sequence[Pretrained],
    folder: Path,
    *,
    jobs: int = 1,
    failed: Callable[[CxrExplainError], None],
    advance: Callable[[int], None] = lambda _: None,
) -> Findings | Across:
    """Measure each model on the same cases; several ones each in its folder, and side by side.

    Args:
        settings: what is measured; its own model is not used.
        models: the models.
        folder: folder for the report and its tables, and for those of each model.
        jobs: number of processes.
        failed: called with each file that cannot be read, once for each model.
        advance: called with the number of cases that were just done.

    Raises:
        OptionError: two models of one name, or no image with a reference.
        OutputError: a folder that cannot be used.
    """
    evaluate = partial(evaluate_maps, jobs=jobs, failed=failed, advance=advance)
    if len(models) == 1:
        return evaluate(replace(settings, model=models[0]), folder)
    places = {called(model): safe_stem(called(model).replace(" ", "-")) or "model" for model in models}
    if len(set(places.values())) < len(models):
        raise OptionError(
            f"models called {', '.join(map(called, models))}",
            expected="another name for each",
            remedy="Rename the files.",
        )
    found = {
        name: evaluate(replace(settings, model=model), folder / place)
        for (name, place), model in zip(places.items(), models, strict=True)
    }
    if settings.validity:
        findings = beside(f"Validity of {len(models)} models, on {settings.source}", found)
        _write(findings, folder)
        return findings
    across = Across(f"Class maps of {len(models)} models, on {settings.source}", list(found.values()))
    text = across.to_markdown([f"{place}/report.md" for place in places.values()])
    write_output(folder / "report.md", text.encode(), "a report")
    return across


def called(model: Pretrained) -> str:
    """What tables call a model: a bundled one an instrument, since it was trained on a rule's own map.

    >>> called(Pretrained("phantom")), called(Pretrained("models/labels alone.safetensors"))
    ('instrument phantom', 'labels alone')
    """
    entry = known_entry(model.weights)
    if entry is None:
        return Path(model.weights).stem
    return f"instrument {model.weights}" if entry.bundled else model.weights


def file_or_name(model: Pretrained) -> str:
    """The weights without the folder that they lie in.

    >>> file_or_name(Pretrained("phantom")), file_or_name(Pretrained("models/labels.safetensors"))
    ('phantom', 'labels.safetensors')
    """
    return model.weights if known_entry(model.weights) else Path(model.weights).name


def _computed(explainer: Explainer) -> str:
    """By which engine, in which precision, where it is not torch."""
    engine = ENGINES[explainer.settings.engine].version
    return f", computed by {engine} in {explainer.settings.dtype}" if engine else ""


def stack_of_layers(classifier: Classifier) -> tuple[str, ...]:
    """The layers of a DenseNet that LayerCAM combines: the last two transitions, and the feature map.

    Two and four times as fine as the map of the last layer; none for another architecture.
    """
    if not isinstance(classifier.by_torch, XRVDenseNet):
        return ()
    names = [name for name, _ in classifier.module.named_modules() if _TRANSITION.fullmatch(name)]
    return (*names[-2:], "features") if names else ()
