"""Reports to open in a browser."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))  # tests/synthetic.py
from synthetic_audit import SyntheticAudit, statistics

from cxr_explain.pages.audit_report import build_report


@pytest.fixture(scope="session")
def audit() -> SyntheticAudit:
    return SyntheticAudit(rows=24)


@pytest.fixture(scope="session")
def report(audit: SyntheticAudit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of 24 images, ten of them with pixels."""
    return build_report(
        audit, tmp_path_factory.mktemp("run") / "report", cases=10, statistics=statistics(audit)
    ).parent
