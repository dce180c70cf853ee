"""What a safetensors file says about its model: written and read back, and refused where it is unclear."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from cxr_explain.errors import WeightsError, WeightsMetadataError
from cxr_explain.weights import CheckpointFacts, read_checkpoint

FULL = CheckpointFacts(
    ("Mass", "", "Pleural_Thickening"), (0.25, None, 1.0), ("NIH", "Röntgen"), 512, "radiographs"
)
TENSORS = {"a": torch.zeros(2)}


@pytest.mark.parametrize("facts", [FULL, CheckpointFacts(), CheckpointFacts(trained_on="phantoms")])
def test_what_is_written_is_read_back(facts: CheckpointFacts, tmp_path: Path) -> None:
    metadata = {**facts.to_metadata(), "format": "pt", "author": "not JSON"}
    path = tmp_path / "model.safetensors"
    path.write_bytes(save(TENSORS, metadata=metadata))
    checkpoint = read_checkpoint(path)
    assert checkpoint.facts == CheckpointFacts.of_file(path) == facts
    assert checkpoint.pathologies == facts.pathologies


def test_the_format_is_as_documented() -> None:
    assert FULL.to_metadata() == {
        "pathologies": '["Mass", "", "Pleural_Thickening"]',
        "operating_points": "[0.25, null, 1.0]",
        "training_sets": '["NIH", "Röntgen"]',
        "input_size": "512",
        "trained_on": '"radiographs"',
    }


def test_a_file_without_metadata_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(save(TENSORS))
    assert read_checkpoint(path).facts == CheckpointFacts.of_file(path) == CheckpointFacts()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(
            ("pathologies", text)
            for text in ("Mass,Edema", '"Mass"', "[]", '[""]', "[1]", '["Mass", "Mass"]')
        ),
        ("pathologies", '["Mass "]'),
        ("pathologies", "[" * 100_000),
        *(("operating_points", text) for text in ("0.5", "[2]", "[-0.1]", "[NaN]", "[true]", '["0.5"]')),
        *(("training_sets", text) for text in ("NIH", '"NIH"', "[null]", '[" "]', "{}")),
        *(("input_size", text) for text in ("224.5", "true", "0", "-224", "1e9", "100000000", '"224"')),
        *(("trained_on", text) for text in ("phantoms", '"phantom"', "[]", '["phantoms"]', "null")),
    ],
)
def test_unclear_metadata_are_refused_with_their_name(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(save(TENSORS, metadata={name: text}))
    with pytest.raises(
        WeightsMetadataError, match=rf"model\.safetensors: .*'{name}' = .*expected JSON"
    ) as caught:
        read_checkpoint(path)
    assert isinstance(caught.value, WeightsError)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("pathologies", [None, ("Mass",), ("Mass", "Edema", "Hernia")])
def test_operating_points_go_with_pathologies(pathologies: tuple[str, ...] | None) -> None:
    facts = CheckpointFacts(pathologies, (0.5, 0.5))
    with pytest.raises(WeightsMetadataError, match="2 operating points"):
        CheckpointFacts.from_metadata(facts.to_metadata())


def test_the_head_of_another_file_is_no_header(tmp_path: Path) -> None:
    for content in (b"", b"PK\x03\x04", b"\xff" * 100, b"\x02\0\0\0\0\0\0\0[]"):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(ValueError):  # noqa: PT011 - of json, or ours
            CheckpointFacts.of_file(tmp_path / "file")
