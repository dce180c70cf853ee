"""The script that measures a GPU runs to its end on a processor."""

from __future__ import annotations

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu import Row


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_it_says_so() -> None:
    with pytest.raises(SystemExit, match="No CUDA device here; --device cpu --quick shows"):
        gpu.main([])


def test_a_pass_and_the_copies_are_measured() -> None:
    cpu = torch.device("cpu")
    row = gpu.explaining(cpu, "float32", 1, 1)
    assert isinstance(row, Row)
    assert row.bare_ms > 0
    assert 0.2 < row.ratio < 5
    assert set(gpu.copies(cpu, 1, 1)) == {"inputs, pageable", "maps, one by one", "maps, together"}


@pytest.mark.slow
def test_all_of_it_runs(capsys: pytest.CaptureFixture[str]) -> None:
    gpu.main(["--device", "cpu", "--quick"])
    said = capsys.readouterr().out
    for title in ("| arithmetic | batch |", "| copy of a batch |", "| audit of 1024-pixel PNGs |"):
        assert title in said
