from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from cxr_explain.errors import MissingExtraError
from cxr_explain.support.extras import require


def test_a_module_that_is_there() -> None:
    assert require("json", "evaluation") is json


def test_the_error_names_the_module_and_the_extra() -> None:
    with pytest.raises(MissingExtraError, match=r"no module not_there.*'cxr-explain\[evaluation\]'"):
        require("not_there", "evaluation")


def test_a_module_whose_own_import_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "half_installed.py").write_text("import what_it_needs")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtraError) as caught:
        require("half_installed", "evaluation")
    assert "what_it_needs" in str(caught.value.__cause__)
    assert "half_installed" not in sys.modules
