"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile(
    "cxr_explain", deadline=None, max_examples=50
)  # no deadline: test machines are busy
settings.load_profile("cxr_explain")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of shared real radiographs; see the `real_data` mark."""
    folder = os.environ.get("CXR_EXPLAIN_REAL_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("set CXR_EXPLAIN_REAL_DATA to the folder of real radiographs")
    return Path(folder)
