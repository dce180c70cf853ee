"""Fixtures for all tests."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile(
    "cxr_explain", deadline=None, max_examples=50
)  # no deadline: test machines are busy
settings.load_profile("cxr_explain")


def pytest_configure(config: pytest.Config) -> None:
    """Have exported models kept in a folder of this run, which its processes share: each is exported once."""
    if not hasattr(config, "workerinput"):  # those of pytest-xdist have the environment of the first process
        folder = tempfile.mkdtemp(prefix="cxr-explain-tests-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        os.environ["CXR_EXPLAIN_CACHE_DIR"] = folder


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect the tests without looking for garbage, again and again, among all that they import.

    What is there afterwards stays to the end, and is not looked at again.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of shared real radiographs; see the `real_data` mark."""
    folder = os.environ.get("CXR_EXPLAIN_REAL_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("set CXR_EXPLAIN_REAL_DATA to the folder of real radiographs")
    return Path(folder)
