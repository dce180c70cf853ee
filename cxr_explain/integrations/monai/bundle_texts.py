"""What a bundle says to people."""

from __future__ import annotations

from cxr_explain._version import __version__
from cxr_explain.models.base import Classifier
from cxr_explain.support.markdown import as_code, as_text

LICENSE = """\
The configuration and the documents of this bundle are licensed under the Apache License, Version 2.0:
https://www.apache.org/licenses/LICENSE-2.0

They come without warranties or conditions of any kind. Research use only - not for diagnosis.

The weights in models/ keep the licence of whoever trained them; docs/README.md says where they are from.
"""

LOGGING = """\
[loggers]
keys=root

[handlers]
keys=console

[formatters]
keys=line

[logger_root]
level=INFO
handlers=console

[handler_console]
class=StreamHandler
level=INFO
formatter=line
args=(sys.stdout,)

[formatter_line]
format=%(asctime)s %(levelname)s %(name)s: %(message)s
"""

_README = """\
# {name}, explained

A MONAI bundle written by cxr-explain {version}. It scores chest radiographs with the classifier {code} and
shows where the classifier sees each of its top K pathologies (FM-G-CAM, arXiv 2312.05975).

Research use only - not for diagnosis.{warning}

## Run

```
pip install 'cxr-explain[monai]'
python -m monai.bundle run --bundle_root . --config_file configs/inference.json \\
  --dataset_dir RADIOGRAPHS --output_dir RESULTS
```

`RADIOGRAPHS` is a folder of DICOM, PNG, JPEG, TIFF, WEBP or BMP files, a file, or a glob. For each radiograph
`RESULTS` gets a figure (PNG), the explanation (JSON) and the maps (NPZ); `predictions.csv` has the sigmoid
probability of each pathology. Other settings: `--top_k 3`, `--figure_format pdf`, `--device cpu`,
`--batch_size 8` where all radiographs are of one size.

The network sees (1, {size}, {size}) in [-1024, 1024], rows before columns: the centre square of the
radiograph. `preprocessing` in `configs/inference.json` makes it, and can be inverted.

## Outputs

Logits in this order; `postprocessing` makes probabilities of them.

{outputs}

## Weights

Trained on: {training}. `models/model.pt` has SHA-256 `{digest}`; it holds the tensors of a file with
SHA-256 `{source}`, and nothing else. The outputs' names and operating points are in `models/model.json`, with
the digest, which is checked whenever the weights are loaded.
"""

_PHANTOMS = """

These weights were trained on computed phantoms: their scores and maps for a patient's radiograph have no
meaning, and they refuse whatever is not known to be a phantom."""


def readme(classifier: Classifier, digest: str, source: str) -> str:
    """The bundle's docs/README.md.

    Args:
        classifier: the model.
        digest: SHA-256 of the bundle's weights file.
        source: SHA-256 of the file that it was made from.
    """
    names = [as_text(name) or "(never trained)" for name in classifier.pathologies]
    return _README.format(
        name=as_text(classifier.name),
        code=as_code(classifier.name),
        version=__version__,
        warning=_PHANTOMS if classifier.phantom_only else "",
        size=classifier.input_size,
        outputs="\n".join(f"{index}. {name}" for index, name in enumerate(names)),
        training=as_text(", ".join(classifier.training_sets)) or "not known",
        source=source,
        digest=digest,
    )
