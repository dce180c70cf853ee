"""The rows of an audit as columns: explained images and failures, in the manifest's order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cxr_explain.audit.cases import (
    AGE_BANDS,
    counting_as,
    no_finding_denies,
    patient_numbers,
    says_nothing_found,
    subgroup_columns,
)
from cxr_explain.audit.rows import SHARES, UNIFORM_SHARES
from cxr_explain.audit.store import AuditRun
from cxr_explain.pages.viewer.script_data import column
from cxr_explain.pathologies import canonical_pathology

NOT_LABELLED = -3
"""The code of a pathology that a data set does not know."""

OLDEST = 90
"""Years; who is older is shown as being of this age, as there are few of them."""

_LEAST = 1e-12  # of a probability whose log odds are finite

CONTROLS = frozenset(
    {"queue", "shown", "search", "patient", "subject", "side", "state", "agreement", "age", "status"}
    | {"verdict-filter", "sort"}
)
"""Names that the list's controls have in its address; a further column of one of them gets another name."""

PLACES = {"peak_part": "part-of-peak", "peak_side": "side-of-peak", "peak_zone": "zone"}
"""Columns that say where the class map of each ranked pathology peaks, and the names of their filters."""


@dataclass(frozen=True, eq=False)
class PeakPlaces:
    """One word for the place of the peak of each ranked pathology's class map.

    Args:
        values: the words that occur; the first is '', for what is not known.
        codes: (n, K) which of them each rank has.
    """

    values: tuple[str, ...]
    codes: NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Listing:
    """What the report knows of n images without their maps and pixels.

    Args:
        rows: (n,) rows of the manifest, from 0.
        positions: (n,) positions in the results, from 0; -1 for a failure.
        ids: n names of images, as the manifest has them.
        pathologies: names of the P trained outputs.
        probabilities: (n, P) probabilities; NaN for failures.
        logits: (n, P) log odds, whose sigmoids are the probabilities: the model's logits, unless it is one of
            which exactly one output is true, or probabilities are calibrated; NaN for failures.
        points: (P,) operating points as probabilities; NaN where there is none.
        labelled: the Q pathologies with reference labels.
        states: (n, Q) reference labels, in the codes of the manifest.
        counted: (n, Q) what they count as in the statistics, by the audit's policy for labels.
        ranking: (n, K) outputs by rank; -1 where there is none.
        shares: (n,) shares of the saliency, 0 to 1, by region; NaN where not estimable.
        uniform_shares: (n,) those of an even map in the same images.
        failures: code and message of each failure, by its place in this listing.
        patients: (n,) number of each image's patient, which stands for nothing outside of the manifest.
        ages: (n,) full years, `OLDEST` at most; -1 where unknown.
        facts: view, sex, split, and each further column that makes subgroups, n texts each; '' where unknown.
        places: where the class maps peak, by the name of the filter; {} where the audit did not look.
        view_told: (n,) whether the manifest says the view; where it does not, the header may.
        phantoms: how many of the images are computed phantoms.
    """

    rows: NDArray[np.int32]
    positions: NDArray[np.int32]
    ids: Sequence[str]
    pathologies: tuple[str, ...]
    probabilities: NDArray[np.float64] = field(repr=False)
    logits: NDArray[np.float64] = field(repr=False)
    points: NDArray[np.float64] = field(repr=False)
    labelled: tuple[str, ...]
    states: NDArray[np.int8] = field(repr=False)
    counted: NDArray[np.int8] = field(repr=False)
    ranking: NDArray[np.int16] = field(repr=False)
    shares: Mapping[str, NDArray[np.float64]] = field(repr=False)
    uniform_shares: Mapping[str, NDArray[np.float64]] = field(repr=False)
    failures: Mapping[int, tuple[str, str]] = field(repr=False)
    patients: NDArray[np.int32] = field(repr=False)
    ages: NDArray[np.int16] = field(repr=False)
    facts: Mapping[str, Sequence[str]] = field(repr=False)
    view_told: NDArray[np.bool_] = field(repr=False)
    places: Mapping[str, PeakPlaces] = field(default_factory=dict, repr=False)
    phantoms: int = 0

    @classmethod
    def of(cls, run: AuditRun) -> Self:
        """Read it from an audit."""
        results, failed, manifest, names = run.results, run.failures, run.manifest, run.record.pathologies
        n = len(results)
        unsorted = np.concatenate([_numbers(results, "row"), _numbers(failed, "row")]).astype(np.int32)
        order = np.argsort(unsorted, kind="stable")
        rows = unsorted[order]
        ids = [*results["image_id"].to_pylist(), *failed["image_id"].to_pylist()]
        probabilities = _matrix(results, [f"probability {name}" for name in names], order)
        logits = _matrix(results, [f"logit {name}" for name in names], order)
        points = [np.nan if run.record.points[name] is None else run.record.points[name] for name in names]
        return cls(
            rows=rows,
            positions=np.where(order < n, order, -1).astype(np.int32),
            ids=[ids[at] for at in order],
            pathologies=names,
            probabilities=probabilities,
            logits=logits if run.record.probability_kind == "sigmoid" else _log_odds(probabilities),
            points=np.asarray(points, np.float64),
            labelled=tuple(manifest.pathologies),
            states=np.asarray(manifest.states, np.int8)[rows],
            counted=_counted(run)[rows],
            ranking=_rankings(results, "ranking", names, order),
            shares={name: _matrix(results, [name], order)[:, 0] for name in SHARES},
            uniform_shares={
                name: _matrix(results, [column], order)[:, 0] for name, column in UNIFORM_SHARES.items()
            },
            failures=_failures(failed, order, n),
            patients=patient_numbers(manifest.patients)[rows].astype(np.int32),
            ages=np.array([_age(manifest.ages[row]) for row in rows.tolist()], np.int16),
            facts=_facts(run, rows, order),
            places={
                name: _peaks(results, at, order) for at, name in PLACES.items() if at in results.column_names
            },
            view_told=np.array([bool(manifest.views[row]) for row in rows.tolist()], bool),
            phantoms=int(pc.sum(results["phantom"]).as_py() or 0),
        )

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, images: Sequence[int]) -> Self:
        """The listing of some images.

        Args:
            images: places in this listing, in the order that they are to have.
        """
        kept = np.asarray(images, np.intp)
        arrays = ("rows", "positions", "probabilities", "logits", "states", "counted", "ranking")
        return replace(
            self,
            **{name: getattr(self, name)[kept] for name in (*arrays, "patients", "ages", "view_told")},
            ids=[self.ids[at] for at in images],
            shares={name: values[kept] for name, values in self.shares.items()},
            uniform_shares={name: values[kept] for name, values in self.uniform_shares.items()},
            failures={new: self.failures[at] for new, at in enumerate(images) if at in self.failures},
            facts={name: [values[at] for at in images] for name, values in self.facts.items()},
            places={name: replace(each, codes=each.codes[kept]) for name, each in self.places.items()},
        )

    @cached_property
    def explained(self) -> NDArray[np.bool_]:
        """(n,): whether there is an explanation."""
        return self.positions >= 0

    @cached_property
    def output_states(self) -> NDArray[np.int8]:
        """(n, P): the reference label of each output; not labelled where the manifest has no such column."""
        return self._of_outputs(self.states)

    @cached_property
    def output_counts(self) -> NDArray[np.int8]:
        """(n, P): what the reference label of each output counts as."""
        return self._of_outputs(self.counted)

    @cached_property
    def above(self) -> NDArray[np.int8]:
        """(n, P): 1 at or above the operating point, 0 below; -1 without one, or without a prediction."""
        known = np.isfinite(self.probabilities) & np.isfinite(self.points)
        with np.errstate(invalid="ignore"):
            return np.where(known, self.probabilities >= self.points, -1).astype(np.int8)

    @cached_property
    def distance(self) -> NDArray[np.float64]:
        """(n, P): logit less the operating point's, in units of log odds; NaN where undefined.

        Probabilities of different outputs cannot be compared: operating points reach from 0.002 to 0.6.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            at_point = np.log(self.points) - np.log1p(-self.points)
            distance = self.logits - at_point
        return np.where(np.isfinite(distance), distance, np.nan)

    @cached_property
    def disagrees(self) -> NDArray[np.bool_]:
        """(n, P): a prediction and a reference label, counted as positive or negative, of the opposite."""
        return np.asarray(self.decided & (self.above >= 0) & (self.above != self.output_counts))

    @property
    def decided(self) -> NDArray[np.bool_]:
        """(n, P): a reference label that counts as positive or negative."""
        return np.isin(self.output_counts, (0, 1))

    def _of_outputs(self, states: NDArray[np.int8]) -> NDArray[np.int8]:
        found = np.full((len(self), len(self.pathologies)), NOT_LABELLED, np.int8)
        for at, label in enumerate(self._label_of):
            if label >= 0:
                found[:, at] = states[:, label]
        return found

    @property
    def _label_of(self) -> list[int]:
        """For each output, its column of `states`; -1 where the manifest has none."""
        place = {canonical_pathology(name): at for at, name in enumerate(self.labelled)}
        return [place.get(canonical_pathology(name), -1) for name in self.pathologies]

    @property
    def filters(self) -> list[str]:
        """Names of what the list can be filtered by, beside its own controls: what is known of any image."""
        known = [name for name, values in self.facts.items() if any(values)]
        return [*known, *(name for name, places in self.places.items() if len(places.values) > 1)]

    def to_data(self) -> dict[str, Any]:
        """As the page reads it."""
        return {
            "rows": column(self.rows, "int32"),
            "ids": list(self.ids),
            "pathologies": list(self.pathologies),
            "points": [None if np.isnan(point) else float(point) for point in self.points],
            "logits": column(self.logits, "float32"),
            "above": column(self.above, "int8"),
            "labelled": list(self.labelled),
            "states": column(self.states, "int8"),
            "counted": column(self.counted, "int8"),
            "labelOf": self._label_of,
            "ranking": column(self.ranking, "int16"),
            "shares": {name: column(values, "float32") for name, values in self.shares.items()},
            "explained": column(self.explained, "uint8"),
            "failures": [[at, *self.failures[at]] for at in sorted(self.failures)],
            "patients": column(self.patients, "int32"),
            "ages": column(self.ages, "int16"),
            "facts": [[name, _dictionary(values)] for name, values in self.facts.items()],
            "places": [
                [name, {"values": list(each.values), "codes": column(each.codes, "int8")}]
                for name, each in self.places.items()
            ],
            "viewTold": column(self.view_told, "uint8"),
        }


def _counted(run: AuditRun) -> NDArray[np.int8]:
    manifest = run.manifest
    nothing = says_nothing_found(manifest)
    counted = np.array(manifest.states, np.int8)
    for at, name in enumerate(manifest.pathologies):
        absent = nothing if no_finding_denies(name) else None
        counted[:, at] = counting_as(counted[:, at], run.record.policy, absent)
    return counted


def _numbers(table: pa.Table, name: str) -> NDArray[Any]:
    return np.asarray(table[name].to_numpy())


def _matrix(results: pa.Table, names: Sequence[str], order: NDArray[np.intp]) -> NDArray[np.float64]:
    """Columns side by side in the listing's order, NaN for failures and for nulls."""
    values = np.full((len(order), len(names)), np.nan)
    for at, name in enumerate(names):
        values[: len(results), at] = pc.fill_null(results[name].cast(pa.float64()), np.nan).to_numpy()
    return values[order]


def _log_odds(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = np.clip(probabilities, _LEAST, 1 - _LEAST)  # an isotonic curve, for one, gives 0 and 1
    return np.asarray(np.log(inside) - np.log1p(-inside))


def _peaks(results: pa.Table, column_name: str, order: NDArray[np.intp]) -> PeakPlaces:
    words = sorted(set(results[column_name].combine_chunks().flatten().drop_null().to_pylist()) - {""})
    return PeakPlaces(("", *words), (_rankings(results, column_name, words, order) + 1).astype(np.int8))


def _rankings(
    results: pa.Table, column_name: str, names: Sequence[str], order: NDArray[np.intp]
) -> NDArray[np.int16]:
    """(n, K): numbers of what each image lists by rank, -1 where there is none; lists differ in length."""
    chunk = results[column_name].combine_chunks()
    lengths = np.asarray(pc.list_value_length(chunk).fill_null(0).to_numpy(zero_copy_only=False), np.int64)
    flat = pc.index_in(chunk.flatten(), value_set=pa.array(names, pa.string())).fill_null(-1).to_numpy()
    widest = max(pc.max(pc.list_value_length(results["ranking"])).as_py() or 0, 1)
    ranking = np.full((len(order), widest), -1, np.int16)
    image = np.repeat(np.arange(len(lengths)), lengths)
    rank = np.arange(len(flat)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    ranking[image[rank < widest], rank[rank < widest]] = flat[rank < widest]
    return ranking[order]


def _failures(failed: pa.Table, order: NDArray[np.intp], n: int) -> dict[int, tuple[str, str]]:
    said = list(zip(failed["code"].to_pylist(), failed["message"].to_pylist(), strict=True))
    return {
        at: (said[place - n][0] or "", said[place - n][1] or "")
        for at, place in enumerate(order.tolist())
        if place >= n
    }


def _facts(run: AuditRun, rows: NDArray[np.int32], order: NDArray[np.intp]) -> dict[str, Sequence[str]]:
    """What the manifest and the results say of each image; the header's view where the manifest has none."""
    manifest, results = run.manifest, run.results
    header = _texts(results, "view", order)
    made = subgroup_columns(manifest, rows, header)
    told: dict[str, Sequence[str | None]] = {
        "view": [manifest.views[row] or seen for row, seen in zip(rows.tolist(), header, strict=True)],
        "sex": [manifest.sexes[row] for row in rows.tolist()],
        "split": [manifest.splits[row] for row in rows.tolist()],
    }
    told |= {
        f"column {name}" if name in CONTROLS else name: values
        for name, values in made.items()
        if name not in (*told, "age")
    }
    return {name: [value or "" for value in values] for name, values in told.items()}


def _texts(results: pa.Table, name: str, order: NDArray[np.intp]) -> list[str | None]:
    """A column of text in the listing's order, None for failures."""
    values = [*results[name].to_pylist(), *[None] * (len(order) - len(results))]
    return [values[at] for at in order.tolist()]


def _age(years: float | None) -> int:
    """Full years as the page has them; -1 where not known, or nobody's age."""
    return -1 if years is None or not 0 <= years < AGE_BANDS[-1][0] else min(int(years), OLDEST)


def _dictionary(values: Sequence[str]) -> dict[str, Any]:
    """Each text once, and which of them a row has."""
    texts = list(dict.fromkeys(values))
    place = {text: at for at, text in enumerate(texts)}
    kind = "int16" if len(texts) < 2**15 else "int32"
    return {"values": texts, "codes": column([place[text] for text in values], kind)}
