"""MONAI bundles: weights, a configuration that explains with them, and what MONAI wants to know of both."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any

from cxr_explain._version import __version__
from cxr_explain.errors import OutputError
from cxr_explain.explaining.files import expand_inputs
from cxr_explain.integrations.monai.bundle_texts import LICENSE, LOGGING, readme
from cxr_explain.integrations.monai.network import configuration_of, facts_of
from cxr_explain.models.base import Classifier
from cxr_explain.models.pretrained import from_pretrained
from cxr_explain.support.extras import require
from cxr_explain.support.whole_file import output_errors, staging_folder, write_whole
from cxr_explain.weights import resolve

MODEL_FILE = "models/model.pt"
"""The weights' place in a bundle, after MONAI's specification."""

FACTS_FILE = "models/model.json"
"""What is known of the weights: read by this package, by its path, and by no parser of configurations."""

_HOME = "cxr_explain.integrations.monai"
_SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
)
_BUNDLE_VERSION = "0.1.0"
_PAPER = (
    "Silva and Bird. FM-G-CAM: A Holistic Approach for Explainable AI in Computer Vision. arXiv:2312.05975."
)


def write_bundle(
    weights: str | PathLike[str],
    folder: str | PathLike[str],
    *,
    weights_dir: str | PathLike[str] | None = None,
    fetch: bool = True,
) -> Path:
    """Write a MONAI bundle that explains radiographs with these weights; all of it or nothing.

    - `configs/inference.json`: what `python -m monai.bundle run` runs, with this package's transforms;
    - `configs/metadata.json`: after MONAI's schema, with the SHA-256 of the weights;
    - `configs/logging.conf`: one line an event;
    - `models/model.pt`: the weights, tensors alone;
    - `models/model.json`: their name, outputs, operating points and training sets, for `bundled_explainer`;
    - `docs/README.md`, `LICENSE`.

    MONAI evaluates texts of a configuration and of the metadata. No text of the weights file stands in the
    former, and in the latter only in a form that MONAI leaves alone; see `inert`.

    Args:
        weights: a name of the registry, or a checkpoint file.
        folder: folder to write in, a new or an empty one.
        weights_dir: folder that holds weights with a name.
        fetch: download what is missing.

    Returns:
        The folder.

    Raises:
        WeightsError: unknown, missing, unsafe, changed, or not of this architecture.
        OutputError: a folder that is not empty, or cannot be written to.
        MissingExtraError: the packages of the extra monai are not installed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sorted(path.name for path in write_bundle("phantom", folder).iterdir())
    ['LICENSE', 'configs', 'docs', 'models']
    """
    for module in ("fire", "ignite"):  # what the bundle runs with, and whose versions it records
        require(module, "monai")
    target = Path(folder)
    _check_empty(target)
    classifier = from_pretrained(weights, weights_dir=weights_dir, fetch=fetch)
    source = resolve(weights, weights_dir, fetch=False)
    with output_errors("a bundle", target):
        _write_all(target, _contents(_Model.of(classifier, source)))
    return target


def radiographs_in(folder: str | PathLike[str]) -> list[dict[str, str]]:
    """MONAI's list of data: `{"image": path}` for each image file in a folder, or for one file or glob.

    Raises:
        OptionError: no image.

    >>> import tempfile, PIL.Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     PIL.Image.new("L", (50, 40)).save(f"{folder}/a.png")
    ...     [Path(item["image"]).name for item in radiographs_in(folder)]
    ['a.png']
    """
    files, _ = expand_inputs([os.fspath(folder)])
    return [{"image": str(file)} for file in files]


@dataclass(frozen=True)
class _Model:
    """A classifier and the file with the weights.

    Args:
        classifier: classifier whose pathologies name the outputs.
        weights: a pickle of tensors alone, as MONAI's tools load it.
        from_sha256: hexadecimal digest of the file that the weights came from.
    """

    classifier: Classifier
    weights: bytes
    from_sha256: str

    @classmethod
    def of(cls, classifier: Classifier, source: Path) -> _Model:
        import torch

        tensors = {name: tensor.contiguous() for name, tensor in classifier.module.state_dict().items()}
        pickled = io.BytesIO()
        torch.save(tensors, pickled)
        return cls(classifier, pickled.getvalue(), hashlib.sha256(source.read_bytes()).hexdigest())

    @property
    def sha256(self) -> str:
        """Of the weights as they are in the bundle."""
        return hashlib.sha256(self.weights).hexdigest()

    @property
    def facts(self) -> dict[str, Any]:
        """What `bundled_explainer` is told."""
        return facts_of(self.classifier, sha256=self.sha256, from_sha256=self.from_sha256)


def _contents(model: _Model) -> dict[str, bytes]:
    """Every file of the bundle, by its path."""
    return {
        "configs/inference.json": _as_json(_inference(model)),
        "configs/metadata.json": _as_json(_metadata(model)),
        "configs/logging.conf": LOGGING.encode(),
        MODEL_FILE: model.weights,
        FACTS_FILE: _as_json(model.facts),
        "docs/README.md": readme(model.classifier, model.sha256, model.from_sha256).encode(),
        "LICENSE": LICENSE.encode(),
    }


def _inference(model: _Model) -> dict[str, Any]:
    return {
        "imports": ["$import torch"],
        "bundle_root": ".",
        "dataset_dir": "radiographs",
        "output_dir": "$@bundle_root + '/eval'",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "top_k": 5,
        "figure_format": "png",
        "batch_size": 1,
        "allow_phantom_weights": False,
        "network_def": {"_target_": f"{_HOME}.network.empty_network", **configuration_of(model.classifier)},
        "network": "$@network_def.to(@device)",
        "explainer": {
            "_target_": f"{_HOME}.network.bundled_explainer",
            "network": "@network",
            "weights": f"$@bundle_root + '/{MODEL_FILE}'",
            "facts": f"$@bundle_root + '/{FACTS_FILE}'",
            "allow_phantom_weights": "@allow_phantom_weights",
        },
        "preprocessing": {"_target_": "Compose", "transforms": _preprocessing()},
        "dataset": {
            "_target_": "Dataset",
            "data": {"_target_": f"{_HOME}.bundle.radiographs_in", "folder": "@dataset_dir"},
            "transform": "@preprocessing",
        },
        "dataloader": {
            "_target_": "DataLoader",
            "dataset": "@dataset",
            "batch_size": "@batch_size",
            "shuffle": False,
            "num_workers": 0,
        },
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [{"_target_": "Activationsd", "keys": "pred", "sigmoid": True}],
        },
        "handlers": [
            {
                "_target_": f"{_HOME}.SaveExplanations",
                "output_dir": "@output_dir",
                "explainer": "@explainer",
                "image_key": "radiograph",
                "top_k": "@top_k",
                "figure_format": "@figure_format",
            }
        ],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
        },
        "run": ["$@evaluator.run()"],
    }


def _preprocessing() -> list[dict[str, Any]]:
    """The figure shows the whole radiograph, the network sees the square cut out of it."""
    return [
        {"_target_": f"{_HOME}.ReadRadiographd", "keys": "image"},
        {"_target_": "CopyItemsd", "keys": "image", "names": "radiograph"},
        {"_target_": f"{_HOME}.PrepareRadiographd", "keys": "image", "explainer": "@explainer"},
    ]


def inert(text: str) -> str:
    """Text for the metadata, in which the signs that MONAI acts on have become their wide forms.

    MONAI evaluates a text that begins with `$`, replaces one that begins with `%` by a file or a part of the
    configuration, and one that is `@name`, and resolves `@#` and `%#` wherever they stand; see its
    `ConfigParser`.

    >>> inert("$exit()"), inert("Nodule/Mass (> 3 cm)")
    ('＄exit()', 'Nodule/Mass (> 3 cm)')
    """
    return text.translate(_WIDE)


_WIDE = {ord(sign): ord(sign) - 0x20 + 0xFF00 for sign in "$@%#"}


def _metadata(model: _Model) -> dict[str, Any]:
    classifier = model.classifier
    seen = "computed phantoms alone" if classifier.phantom_only else "chest radiographs"
    return {
        "schema": _SCHEMA,
        "version": _BUNDLE_VERSION,
        "changelog": {_BUNDLE_VERSION: f"written by cxr-explain {__version__}"},
        "monai_version": _version("monai"),
        "pytorch_version": _version("torch"),
        "numpy_version": _version("numpy"),
        "required_packages_version": {
            "cxr-explain": __version__,
            "fire": _version("fire"),
            "pytorch-ignite": _version("pytorch-ignite"),
            "torchxrayvision": _version("torchxrayvision"),
        },
        "task": "Classification of chest radiographs, with class maps of the top K pathologies",
        "description": inert(f"{classifier.name}, trained on {seen}, with FM-G-CAM maps by cxr-explain."),
        "authors": "The cxr-explain developers, for the configuration; see docs/README.md for the weights",
        "copyright": "See LICENSE",
        "data_source": inert(", ".join(classifier.training_sets)) or "not known",
        "data_type": "dicom, png, jpeg, tiff, webp, bmp",
        "intended_use": "Research use only - not for diagnosis",
        "references": [_PAPER],
        "model": {key: model.facts[key] for key in ("weights_sha256", "weights_from_sha256")},
        "network_data_format": _data_format(classifier),
    }


def _data_format(classifier: Classifier) -> dict[str, Any]:
    names = {str(index): inert(name) or "never trained" for index, name in enumerate(classifier.pathologies)}
    pred = {
        "type": "logits",
        "format": "classes",
        "num_channels": len(names),
        "spatial_shape": [],
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": False,
        "channel_def": names,
    }
    image = {
        "type": "image",
        "format": "magnitude",
        "modality": "CR, DX",
        "num_channels": 1,
        "spatial_shape": [classifier.input_size, classifier.input_size],
        "dtype": "float32",
        "value_range": [-1024, 1024],
        "is_patch_data": False,
        "channel_def": {"0": "rows before columns, -1024 is black"},
    }
    probabilities = pred | {"type": "probabilities", "value_range": [0, 1]}
    return {
        "inputs": {"image": image},
        "outputs": {"pred": pred},
        "post_processed_outputs": {"pred": probabilities},
    }


def _version(package: str) -> str:
    """Without what comes behind a plus, such as the kind of CUDA."""
    return version(package).split("+")[0]


def _as_json(document: Mapping[str, Any]) -> bytes:
    return f"{json.dumps(document, indent=4, ensure_ascii=False, allow_nan=False)}\n".encode()


def _check_empty(folder: Path) -> None:
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise OutputError("a folder that is not empty", expected="a new or an empty one", source=folder)


def _write_all(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Beside its place first; the place is taken in one step."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with staging_folder(folder.parent) as staging:
        new = staging / "new"
        for name, content in contents.items():
            path = new / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content)
        if folder.exists():
            folder.rmdir()
        new.rename(folder)
