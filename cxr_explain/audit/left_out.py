"""Whether the images that failed leave out a kind of patient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from cxr_explain.audit.cases import TextColumn, patient_numbers, subgroup_columns

if TYPE_CHECKING:
    from cxr_explain.audit.store import AuditRun


def failures_by_group(run: AuditRun) -> list[dict[str, Any]]:
    """Whether the failures of a run leave out a subgroup; see `left_out_groups`.

    Args:
        run: an audit, finished or not.
    """
    explained, failed = run.columns(["row", "view"]), run.failures["row"].to_numpy()
    if not len(failed):
        return []
    rows = np.concatenate([explained["row"].to_numpy(), failed])
    columns = subgroup_columns(run.manifest, rows, [*explained["view"].to_pylist(), *[None] * len(failed)])
    patients = patient_numbers([run.manifest.patients[row] for row in rows])
    return left_out_groups(columns, patients, np.arange(len(rows)) >= len(explained))


def left_out_groups(
    columns: Mapping[str, TextColumn], patients: NDArray[np.intp], failed: NDArray[np.bool_]
) -> list[dict[str, Any]]:
    """Whether the images of some patients fail more often than those of others.

    Args:
        columns: by a column's name, (n,) the value of each image, explained or failed; None if not known.
        patients: (n,) number of each image's patient.
        failed: (n,) bool.

    Returns:
        For each value of each column "failed" and "patients", "failed_elsewhere" and "elsewhere", in
        patients; a patient has failed if an image has. And p, by Fisher's exact test.

    Source:
        Fisher, The Logic of Inductive Inference, J. R. Stat. Soc. 98 (1935) 39.

    >>> failed = np.array([True] * 3 + [False] * 5)
    >>> left_out_groups({"view": ("AP",) * 4 + ("PA",) * 4}, np.arange(8), failed)[0]["p"]
    0.07142857142857...
    """
    found = []
    for column, values in columns.items():
        for value in sorted({each for each in values if each is not None}):
            inside = np.array([each == value for each in values])
            outside = np.array([each is not None and each != value for each in values])
            here, there = (
                (len(np.unique(patients[among & failed])), len(np.unique(patients[among])))
                for among in (inside, outside)
            )
            if there[1]:
                sizes = {"failed": here[0], "patients": here[1]}
                sizes |= {"failed_elsewhere": there[0], "elsewhere": there[1]}
                p = _fisher(here[0], here[1], there[0], there[1])
                found.append({"column": column, "value": value, **sizes, "p": p})
    return found


def _fisher(failed: int, number: int, failed_elsewhere: int, elsewhere: int) -> float:
    """The chance of as many failures here, or more, given all counts of the margins."""
    all_failed, both = failed + failed_elsewhere, number + elsewhere
    here = np.arange(failed, min(all_failed, number) + 1)

    def log_choose(n: Any, k: Any) -> Any:
        return gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)

    logs = log_choose(number, here) + log_choose(elsewhere, all_failed - here) - log_choose(both, all_failed)
    return float(min(1.0, np.exp(logs[all_failed - here <= elsewhere]).sum()))
