"""Where the saliency of each image lies, beside an even map's: what is stored of it, and the statistics."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cxr_explain.audit.rows import PEAK_PLACES, SHARES, THORAX_BOX, UNIFORM_SHARES
from cxr_explain.chest.places import peak_places
from cxr_explain.chest.regions import Regions
from cxr_explain.chest.shares import FLAGGED_FROM, excess_over_uniform, shares_in, uniform_shares
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.measures.statistics.bootstrap import GroupedMeans, grouped_means
from cxr_explain.measures.statistics.jackknife import leave_out

if TYPE_CHECKING:
    from cxr_explain.audit.cases import Cases

WHERE_MEASURES = ("mean", "uniform", "above_uniform")
"""Mean share of the saliency, mean share of an even map, and the first less the second in the same images."""

LEAST_DIFFERENCE = 0.02
"""Of the mean share to an even map's: what is smaller is not asked about."""

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def where_columns(regions: Regions, explanation: Explanation) -> dict[str, Any]:
    """What is stored of the regions of one explained image.

    Args:
        regions: the regions of the radiograph.
        explanation: its explanation.

    Returns:
        By the columns of `rows.OF_REGIONS`.
    """
    geometry = explanation.geometry
    shares = shares_in(regions, explanation.maps, geometry)
    even = uniform_shares(regions, geometry)
    orientation = explanation.provenance.patient_orientation
    places = peak_places(explanation.class_maps, geometry, regions, orientation=orientation)
    return {
        **{name: getattr(shares, name) for name in SHARES},
        **{column: getattr(even, name) for name, column in UNIFORM_SHARES.items()},
        **dict(zip(THORAX_BOX, regions.thorax_box or (None,) * 4, strict=True)),
        **{
            column: [place and getattr(place, column.removeprefix("peak_")) for place in places]
            for column in PEAK_PLACES
        },
    }


def where_entries(cases: Cases) -> Iterator[tuple[dict[str, Any], GroupedMeans]]:
    """An entry of the statistics for each share, and the function that gives its `WHERE_MEASURES`.

    "p" is one-sided: of a mean difference to an even map of no more than `LEAST_DIFFERENCE`, by Student's t
    with the jackknife's standard error over patients; see `measures.statistics.jackknife`.

    Args:
        cases: the images of the audit.
    """
    for name, share in cases.shares.items():
        even = cases.uniform_shares.get(name, np.full(len(share), math.nan))
        known = share[~np.isnan(share)]
        quantiles = [float(value) for value in np.quantile(known, _QUANTILES)] if len(known) else [None] * 5
        measures = grouped_means(np.stack([share, even, share - even], 1), cases.patients, cases.groups)
        with_both = ~np.isnan(share - even)
        patients = len(np.unique(cases.patients[with_both]))
        entry = {
            "share": name,
            "images": len(known),
            "patients": patients,
            "missing": len(share) - len(known),
            "quantiles": dict(zip(map(str, _QUANTILES), quantiles, strict=True)),
            "flagged": int((excess_over_uniform(share, even) >= FLAGGED_FROM).sum()),
            "flagged_from": FLAGGED_FROM,
            "p": _p_above(share - even, cases.patients),
        }
        yield entry, measures


def _p_above(differences: NDArray[np.float64], patients: NDArray[np.intp]) -> float | None:
    """Of a mean difference of `LEAST_DIFFERENCE` or less; None where it is not estimable."""
    known = ~np.isnan(differences)
    _, member = np.unique(patients[known], return_inverse=True)
    groups = int(member.max(initial=-1)) + 1
    (mean,) = leave_out([grouped_means(differences[known][:, None], member, groups)], groups)
    half = float(mean.p(LEAST_DIFFERENCE)[0]) / 2
    if math.isnan(half):
        return None
    return half if mean.value[0] > LEAST_DIFFERENCE else 1 - half
