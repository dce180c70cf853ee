"""Bundles of checkpoints whose every text wants to be evaluated: MONAI evaluates none of it.

Names in a checkpoint are refused when it is read; here they come in all the same, so that the bundle's own
defence is tried alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from monai.bundle import ConfigParser, ConfigWorkflow
from networks import small_xrv
from safetensors.torch import save_file

from cxr_explain import Explainer
from cxr_explain.errors import WeightsMetadataError
from cxr_explain.integrations.monai.bundle import _contents, _Model, _write_all, inert, write_bundle
from cxr_explain.models.base import Classifier, Outputs
from cxr_explain.weights import CheckpointFacts

WRITE = "__import__('pathlib').Path(r'{canary}').write_text('x')"
ATTACKS = [
    *(f"${WRITE}", f"$@_meta_ and {WRITE}", f"$ {WRITE}", f"$[{WRITE}]", f"$@run::0 or {WRITE}"),
    *("$import canary_module", "$from canary_module import x", "$import ((", "$(", "$"),
    *("@run", "@run::0", "@run#0", "@evaluator", "@_meta_::model", "@_meta_#model", "@nothing", "@"),
    *("%run", "%{evil}", "%{evil}::x", "%{evil}#x", "%nothing", "%", "%#x", "a %###### b", "a %:::::::: b"),
    *("@#x", "a @############ b", "a @:::::::::::: b", "x@#y", "#", "a#b", "::", "$__local_refs['run']"),
    *("__local_refs", "_target_", "_disabled_", "_meta_", "+model", "{0.__class__}", "{code}", "`id`"),
    *("<img src=x onerror=alert(1)>", "![x](http://127.0.0.1:9/x.png)", "``$(id)``", "\\input{x}"),
]


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that an attack would write; a module that one would import; a file that one would read in."""
    place = tmp_path / "PWNED"
    (tmp_path / "canary_module.py").write_text(f"open({str(place)!r}, 'w')\nx = 1\n")
    (tmp_path / "evil.json").write_text(json.dumps({"x": "$" + WRITE.format(canary=place)}))
    monkeypatch.syspath_prepend(tmp_path)
    yield place
    assert not place.exists()
    assert "canary_module" not in sys.modules


def attacks(canary: Path) -> list[str]:
    evil = canary.with_name("evil.json")
    return [each.replace("{canary}", str(canary)).replace("{evil}", str(evil)) for each in ATTACKS]


def attacking(texts: list[str], name: str) -> Classifier:
    """A classifier whose every text attacks."""
    classifier = Explainer.from_pretrained("phantom", device="cpu").classifier
    count = len(classifier.pathologies)
    outputs = replace(classifier.outputs)
    object.__setattr__(outputs, "pathologies", tuple((texts * count)[:count]))
    classifier.outputs, classifier.training_sets, classifier.name = outputs, tuple(texts), name
    return classifier


def written(classifier: Classifier, folder: Path) -> Path:
    _write_all(folder, _contents(_Model.of(classifier, Path(__file__))))
    return folder


def texts_in(document: Any) -> Iterator[str]:
    if isinstance(document, dict):
        yield from (text for pair in document.items() for part in pair for text in texts_in(part))
    elif isinstance(document, list):
        yield from (text for part in document for text in texts_in(part))
    elif isinstance(document, str):
        yield document


def parsed(bundle: Path) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "inference.json")
    parser.read_meta(bundle / "configs" / "metadata.json")
    parser.update({"bundle_root": str(bundle), "device": "cpu"})
    return parser


@pytest.mark.parametrize("at", range(0, len(ATTACKS), 18))
def test_no_text_of_a_file_is_evaluated(at: int, canary: Path, tmp_path: Path) -> None:
    """Every part of the metadata is asked for, by its id and as a whole."""
    texts = attacks(canary)
    turned = texts[at:] + texts[:at]
    bundle = written(attacking(turned, turned[0]), tmp_path / "bundle")
    parser = parsed(bundle)
    parser.parse()
    ids = [each for each in parser.ref_resolver.items if each.startswith("_meta_")]
    assert len(ids) > 60
    for each in ids:
        parser.get_parsed_content(each)
    asked = parser.get_parsed_content("_meta_")
    assert asked == json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
    assert asked["data_source"] == ", ".join(map(inert, turned))
    assert asked["network_data_format"]["outputs"]["pred"]["channel_def"]["0"] == inert(turned[0])


@given(st.text(st.sampled_from("$@%#:_+a(.) "), max_size=12))
def test_an_inert_text_is_parsed_to_itself(text: str) -> None:
    parser = ConfigParser({"a": 1, "_meta_": {"text": inert(text), "nested": {"a": [inert(text)]}}})
    assert parser.get_parsed_content("_meta_::text") == inert(text)
    assert parser.get_parsed_content("") == parser.config


def test_the_configuration_holds_no_text_of_a_file(canary: Path, tmp_path: Path) -> None:
    """It is the same whatever a checkpoint says, and refers to nothing in the metadata."""
    texts = attacks(canary)
    one = (written(attacking(texts, texts[0]), tmp_path / "a") / "configs" / "inference.json").read_text()
    assert one == (write_bundle("phantom", tmp_path / "b") / "configs" / "inference.json").read_text()
    assert "_meta_" not in one
    signs = [text for text in texts_in(json.loads(one)) if text[:1] in ("$", "%", "@")]
    assert len(signs) == 24


def test_the_metadata_hold_no_sign_that_is_acted_on(canary: Path, tmp_path: Path) -> None:
    texts = attacks(canary)
    bundle = written(attacking(texts, texts[0]), tmp_path / "bundle")
    told = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
    assert not [text for text in texts_in(told) if set("$@%#") & set(text)]


def test_the_workflow_of_a_bundle_evaluates_nothing_and_refuses_the_names(
    canary: Path, phantoms: Path, tmp_path: Path
) -> None:
    """What `python -m monai.bundle run` does, in this process."""
    texts = attacks(canary)
    bundle = written(attacking(texts, texts[0]), tmp_path / "bundle")
    workflow = ConfigWorkflow(
        str(bundle / "configs" / "inference.json"),
        workflow_type="inference",
        logging_file=False,
        bundle_root=str(bundle),
        dataset_dir=str(phantoms / "images"),
        device="cpu",
    )
    workflow.initialize()
    asked = [each for each in workflow.properties.values() if each["id"].startswith("_meta_")]
    assert len(asked) == 7
    for each in asked:
        workflow.parser.get_parsed_content(each["id"])
    with pytest.raises(RuntimeError) as caught:
        workflow.run()
    errors = [str(error) for error in chain_of(caught.value) if isinstance(error, WeightsMetadataError)]
    assert errors
    assert 'model.json: found the name "$' in errors[0]


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def test_the_readme_shows_texts_as_they_are(canary: Path, tmp_path: Path) -> None:
    """No picture is loaded and no link is made by a text: Markdown takes each sign for itself."""
    names = ["<img src=x onerror=alert(1)>", "![x](http://127.0.0.1:9/x.png)", "[x](javascript:alert(1))"]
    bundle = written(attacking(names, "a`b``c <b>"), tmp_path / "bundle")
    said = (bundle / "docs" / "README.md").read_text(encoding="utf-8")
    assert "# a`b``c \\<b>, explained" in said
    assert "classifier ``` a`b``c <b> ``` and" in said
    assert "0. \\<img src=x onerror=alert(1)>" in said
    assert "1. ![x\\](http://127.0.0.1:9/x.png)" in said
    assert "2. [x\\](javascript:alert(1))" in said


RIGHT = {
    "name": "a",
    "weights_sha256": "0",
    "phantom_only": False,
    "pathologies": ["Mass"],
    "operating_points": [None],
    "training_sets": [],
    "input_size": 64,
}
WRONG = [
    *({"name": 1}, {"weights_sha256": None}, {"phantom_only": 1}, {"pathologies": "Mass"}),
    *({"pathologies": [1]}, {"pathologies": ["$exit()"]}, {"training_sets": ["@run"]}),
    *({"operating_points": [2]}, {"operating_points": [0.5, 0.5]}, {"input_size": 10**9}),
    {"pathologies": {"_target_": "os.system"}},
]
NO_FACTS = ["[]", "{", "null", '"$exit()"', "{}", "[" * 100_000]


@pytest.mark.parametrize("facts", [*NO_FACTS, *(json.dumps(RIGHT | change) for change in WRONG)])
def test_facts_that_are_none_are_refused_in_one_line(facts: str, tmp_path: Path) -> None:
    from cxr_explain.integrations.monai.network import bundled_explainer

    (tmp_path / "model.json").write_text(facts)
    with pytest.raises(WeightsMetadataError, match=r"model\.json: ") as caught:
        bundled_explainer(small_xrv(1), tmp_path / "model.pt", tmp_path / "model.json")
    assert str(caught.value).isprintable()


def ran(bundle: Path, phantoms: Path, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "monai.bundle", "run", "--bundle_root", str(bundle)),
            *("--config_file", str(bundle / "configs" / "inference.json"), "--device", "cpu"),
            *("--dataset_dir", str(phantoms / "images"), "--output_dir", str(tmp_path / "results")),
        ],
        cwd=tmp_path,  # where the file and the module that an attack wants are
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_monai_runs_nothing_of_a_checkpoint(canary: Path, phantoms: Path, tmp_path: Path) -> None:
    """As a user runs it: first a bundle that attacks all over, then one of a file whose name attacks."""
    texts = attacks(canary)
    refused = ran(written(attacking(texts, texts[0]), tmp_path / "bundle"), phantoms, tmp_path)
    assert refused.returncode != 0
    assert "found the name '$" in refused.stderr
    assert not (tmp_path / "results").exists() or not list((tmp_path / "results").iterdir())
    for number, name in enumerate(
        ("$open('PWNED','w').safetensors", "%evil.json", "@run", "a @#### b.safetensors")
    ):
        file = tmp_path / name
        facts = CheckpointFacts(("Mass (> 3 cm)", "肺炎", ""), (0.5, None, None), ("Ours, 50 %",), 64)
        save_file(small_xrv(3).state_dict(), file, facts.to_metadata())
        bundle = write_bundle(file, tmp_path / f"named {number}")
        done = ran(bundle, phantoms, tmp_path)
        assert done.returncode == 0, done.stderr[-2000:]
        saved = json.loads(next((tmp_path / "results").glob("*.json")).read_text(encoding="utf-8"))
        assert saved["provenance"]["model"] == name
        assert not canary.exists()


def test_what_is_read_back_is_what_was_written(tmp_path: Path) -> None:
    from cxr_explain.integrations.monai.network import bundled_explainer, configuration_of, empty_network

    facts = CheckpointFacts(("Mass (> 3 cm)", "肺炎", ""), (0.5, None, None), ("Ours, 50 %",), 64, "phantoms")
    file = tmp_path / "$exit().safetensors"
    save_file(small_xrv(3).state_dict(), file, facts.to_metadata())
    first = Explainer.from_pretrained(file).classifier
    folder = write_bundle(file, tmp_path / "bundle")
    network = empty_network(**configuration_of(first))
    again = bundled_explainer(
        network, folder / "models" / "model.pt", folder / "models" / "model.json"
    ).classifier
    assert again.outputs == first.outputs == Outputs(facts.pathologies or (), facts.operating_points or ())
    for attribute in ("name", "training_sets", "input_size", "phantom_only", "notes"):
        assert getattr(again, attribute) == getattr(first, attribute)
