"""What other ways of counting reference labels do to the statistics, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from cxr_explain.audit.sections.tables import BY_LABEL, EstimateTable, Section, row_of
from cxr_explain.options import Uncertain

IN_POLICIES = ("auroc", "auprc", "sensitivity", "specificity")

_CHOSEN = "counted so here"
_UNCERTAIN = ", uncertain "


def section(statistics: Mapping[str, Any]) -> Section:
    """The section of the report.

    Args:
        statistics: the statistics of the audit, as `statistics.json` has them.
    """
    title = "Reference labels counted otherwise"
    rows = [
        row_of(_named(found), ["pathology", "policy"], list(BY_LABEL), IN_POLICIES)
        for found in statistics["policies"]
    ]
    table = EstimateTable(title, ("Pathology", "Policy", *BY_LABEL.values()), IN_POLICIES, rows, words=2)
    basis = (
        "The same predictions against the same reference labels, under each policy that makes a difference; "
        f"“{_CHOSEN}” marks the policy of all other statistics. strict: positive and negative labels count, "
        "and nothing else. chexpert: a label that is not mentioned counts as negative, as CheXpert's authors "
        "count it; with uncertain labels left out, as negative (zeros) or as positive (ones), it is their "
        "U-Ignore, U-Zeros and U-Ones. xrv: where “No Finding” is positive, every other pathology counts as "
        "negative, as TorchXRayVision's data sets have it. Policies that count every image alike share a "
        "row. What is not labelled never counts."
    )
    return Section("policies", title, [basis], [table])


def _named(found: Mapping[str, Any]) -> dict[str, Any]:
    name = shared_name(found["policies"])
    return {**found, "policy": f"{name} ({_CHOSEN})" if found["chosen"] else name}


def shared_name(names: Sequence[str]) -> str:
    """Policies that count alike in few words: conventions side by side, and how uncertain labels count.

    Args:
        names: names of the policies, see `LabelPolicy.name`.

    >>> shared_name(["strict, uncertain zeros", "chexpert, uncertain zeros"])
    'strict/chexpert, uncertain zeros'
    >>> shared_name(["strict", "strict, uncertain zeros", "strict, uncertain ones", "xrv"])
    'strict/xrv'
    """
    bases: dict[str, list[str]] = {}
    for name in names:
        base, said, uncertain = name.partition(_UNCERTAIN)
        bases.setdefault(f"{said}{uncertain}", []).append(base)
    whole = bases.get("", [])
    if len(bases) == len(get_args(Uncertain)) and all(set(each) <= set(whole) for each in bases.values()):
        bases = {"": whole}  # there is no uncertain label
    return " or ".join(f"{'/'.join(each)}{uncertain}" for uncertain, each in bases.items())
