"""The statistics of an audit in words: the same tables for a terminal, Markdown, HTML and PDF.

Each module has one section; `tables` has what they consist of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cxr_explain.audit.sections import gaps, localisation, performance, places, policies, subgroups, where
from cxr_explain.audit.sections.tables import Section

_PARTS = (performance, gaps, subgroups, policies, where, places, localisation)


def sections_of(statistics: Mapping[str, Any]) -> list[Section]:
    """The statistics by section: performance by pathology, gaps, subgroups, policies, regions, localisation.

    Args:
        statistics: the statistics of the audit, as `statistics.json` has them.
    """
    return [part.section(statistics) for part in _PARTS]
