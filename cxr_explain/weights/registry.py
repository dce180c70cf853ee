"""Weights by name: those that TorchXRayVision published, and the one that comes with this package.

File names, pathologies and operating points of the published ones are facts of torchxrayvision's
`models.model_urls`. They are stated here, and a test holds them equal, so that listing weights does not
import torch. Two facts of "resnet50-res512-all" are put right, see `ENTRIES`. The bundled file states its own
in the metadata: see `cxr_explain.weights.facts`.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass

from cxr_explain.errors import UnknownWeightsError
from cxr_explain.pathologies import PATHOLOGIES
from cxr_explain.weights.facts import TrainedOn

_RELEASE = "https://github.com/mlmed/torchxrayvision/releases/download/v1/"
_RELABELLED_NIH = frozenset({"RSNA", "Google", "SIIM"})  # other labels on images of NIH ChestX-ray14


@dataclass(frozen=True)
class WeightsEntry:
    """One set of weights.

    Attributes:
        name: TorchXRayVision's long name, or this package's.
        url: address of the published file; None for weights that come with the package and are never fetched.
        file_name: name of the file in a weights folder, or in the package.
        architecture: name of the model's family, as in `cxr_explain.models.families.FAMILIES`; of a
            segmentation network, its own.
        pathologies: name of each output; `""` is an output that was never trained. Empty for bundled weights,
            whose file says it.
        operating_points: operating point of each output, a probability from 0 to 1; None where none is
            published.
        input_size: side of the square input, in pixels.
        training_sets: names of the data sets that the weights were trained on.
        aliases: other names of these weights.
        trained_on: what the training images were: "radiographs", or "phantoms" alone.
        structures: how many structures a segmentation network outlines; 0 for a classifier.
    """

    name: str
    url: str | None
    file_name: str
    architecture: str
    pathologies: tuple[str, ...]
    operating_points: tuple[float | None, ...]
    input_size: int
    training_sets: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    trained_on: TrainedOn = "radiographs"
    structures: int = 0

    @property
    def bundled(self) -> bool:
        """Whether the file comes with the package.

        >>> find_entry("phantom").bundled, find_entry("nih").bundled
        (True, False)
        """
        return self.url is None

    @property
    def trained_pathologies(self) -> tuple[str, ...]:
        """The pathologies of the trained outputs.

        >>> find_entry("rsna").trained_pathologies
        ('Pneumonia', 'Lung Opacity')
        """
        return tuple(name for name in self.pathologies if name)

    def saw_images_of(self, data_set: str) -> bool:
        """Say whether an audit of `data_set` may meet images these weights were trained on.

        RSNA, Google and SIIM are other labels on images of NIH ChestX-ray14, so that weights trained on any
        of the four may have seen images of the others.

        >>> find_entry("rsna").saw_images_of("NIH"), find_entry("chex").saw_images_of("NIH")
        (True, False)
        """
        return _image_source(data_set) in {_image_source(name) for name in self.training_sets}


def _image_source(data_set: str) -> str:
    return "NIH" if data_set in _RELABELLED_NIH else data_set


def _published(
    name: str,
    file_name: str,
    operating_points: str,
    training_sets: tuple[str, ...],
    *,
    architecture: str = "xrv-densenet",
    input_size: int = 224,
    aliases: tuple[str, ...] = (),
    sigmoids: int = 1,
) -> WeightsEntry:
    """One published set.

    Its operating points stand in the order of `PATHOLOGIES`, as TorchXRayVision has them: "-" for an output
    that was never trained. They are thresholds on the sigmoid of the logit, or of that sigmoid again
    (`sigmoids=2`).
    """
    points = {
        target: None if point == "-" else _undone(float(point), sigmoids - 1)
        for target, point in zip(PATHOLOGIES, operating_points.split(), strict=True)
    }
    return WeightsEntry(
        name=name,
        url=_RELEASE + file_name,
        file_name=file_name,
        architecture=architecture,
        pathologies=tuple("" if point is None else target for target, point in points.items()),
        operating_points=tuple(points.values()),
        input_size=input_size,
        training_sets=training_sets,
        aliases=aliases,
    )


def _undone(value: float, sigmoids: int) -> float:
    """The number of which so many sigmoids, one after the other, give the value."""
    for _ in range(sigmoids):
        value = math.log(value / (1 - value))
    return value


# Of resnet50-res512-all, TorchXRayVision's code says two things that its table of thresholds does not.
# - Its thresholds are of sigmoids of sigmoids: `scripts/model_calibrate.py`, which chose them, asks the model
#   for sigmoids (`apply_sigmoid=True`) and puts a sigmoid on these. The numbers bear it out: all 32 of its
#   `op_threshs` and `ppv80_thres` lie within (0.5, 0.73106), the sigmoid of (0, 1), and the greatest is that
#   of 0.999998. The model's own `forward` compares them with one sigmoid, as for the DenseNets, so that its
#   calibrated values call next to nothing positive. Here the thresholds are turned into probabilities.
# - Lung Lesion and Enlarged Cardiomediastinum have a name and no threshold. None of the five data sets has a
#   label of either name in `torchxrayvision.datasets`, and a label that is missing takes no part in the loss:
#   the two outputs were never trained.
ENTRIES: tuple[WeightsEntry, ...] = (
    _published(
        "densenet121-res224-all",
        "nih-pc-chex-mimic_ch-google-openi-kaggle-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt",
        "0.07422872 0.038290843 0.09814756 0.0098118475 0.023601074 0.0022490358 0.010060724 0.103246614 "
        "0.056810737 0.026791653 0.050318155 0.023985857 0.01939503 0.042889766 0.053369623 0.035975814 "
        "0.20204692 0.05015312",
        ("NIH", "PadChest", "CheXpert", "MIMIC-CXR", "Google", "OpenI", "RSNA"),
        aliases=("all",),
    ),
    _published(
        "densenet121-res224-nih",
        "nih-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt",
        "0.039117552 0.0034529066 0.11396341 0.0057298196 0.00045666535 0.0018880932 0.012037827 "
        "0.038744126 0.0037213727 0.014730946 0.016149804 0.054241467 0.037198864 0.0004403434 - - - -",
        ("NIH",),
        aliases=("nih",),
    ),
    _published(
        "densenet121-res224-pc",
        "pc-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt",
        "0.031012505 0.013347598 0.081435576 0.001262615 0.002587246 0.0035944257 0.0023071 0.055412333 "
        "0.044385884 0.042766232 0.043258056 0.037629247 0.005658899 0.0091741895 - 0.026507627 - -",
        ("PadChest",),
        aliases=("pc",),
    ),
    _published(
        "densenet121-res224-chex",
        "chex-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt",
        "0.1988969 0.05710573 - 0.0531293 0.1435217 - - 0.27212676 0.07749717 - 0.19712369 - - - 0.09932402 "
        "0.09273402 0.3270967 0.10888247",
        ("CheXpert",),
        aliases=("chex",),
    ),
    _published(
        "densenet121-res224-mimic_nb",
        "mimic_nb-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt",
        "0.08558747 0.011884617 - 0.0040595434 0.010733786 - - 0.118761964 0.022924708 - 0.06358637 - - - "
        "0.022143636 0.017476924 0.1258702 0.014020768",
        ("MIMIC-CXR",),
        aliases=("mimic_nb",),
    ),
    _published(
        "densenet121-res224-mimic_ch",
        "mimic_ch-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt",
        "0.09121389 0.010573786 - 0.005023008 0.003698257 - - 0.08001232 0.037242252 - 0.05006329 - - - "
        "0.019866971 0.03823637 0.11303808 0.0069147074",
        ("MIMIC-CXR",),
        aliases=("mimic_ch",),
    ),
    _published(
        "densenet121-res224-rsna",
        "kaggle-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt",
        "- - - - - - - - 0.13486601 - - - - - - - 0.13511065 -",
        ("RSNA",),
        aliases=("rsna",),
    ),
    _published(
        "resnet50-res512-all",
        "pc-nih-rsna-siim-vin-resnet50-test512-e400-state.pt",
        "0.51570356 0.50444704 0.53787947 0.50723547 0.5025118 0.5035252 0.5038076 0.51862943 0.5078151 "
        "0.50724894 0.5056339 0.510706 0.5053923 0.5020846 - 0.5080557 0.5138526 -",
        ("PadChest", "NIH", "RSNA", "SIIM", "VinDr-CXR"),
        architecture="xrv-resnet50",
        input_size=512,
        sigmoids=2,
    ),
)
"""Every published set of weights that this package knows by name."""

SEGMENTATIONS: tuple[WeightsEntry, ...] = (
    WeightsEntry(
        name="chestx-det",
        url=_RELEASE + "pspnet_chestxray_best_model_4.pth",
        file_name="pspnet_chestxray_best_model_4.pth",
        architecture="xrv-pspnet",
        pathologies=(),
        operating_points=(),
        input_size=512,
        training_sets=("ChestX-Det",),
        structures=14,
    ),
    WeightsEntry(
        name="chestx-anatomy",
        url=_RELEASE + "baseline_models_cxas_UNet_ResNet50_default_repack.pth",
        file_name="baseline_models_cxas_UNet_ResNet50_default_repack.pth",
        architecture="xrv-unet",
        pathologies=(),
        operating_points=(),
        input_size=512,
        training_sets=(),
        structures=159,
    ),
)
"""Every published segmentation network; see `cxr_explain.chest.segmentation`."""


def _of_phantoms(alias: str) -> WeightsEntry:
    """Weights in this package, of `python -m benchmarks.phantom_model`; the file says the rest."""
    return WeightsEntry(
        name=f"densenet-res224-{alias}",
        url=None,
        file_name=f"densenet-res224-{alias}.safetensors",
        architecture="xrv-densenet",
        pathologies=(),
        operating_points=(),
        input_size=224,
        training_sets=("phantoms",),
        aliases=(alias,),
        trained_on="phantoms",
    )


BUNDLED: tuple[WeightsEntry, ...] = (_of_phantoms("phantom"),)
"""The weights that come with this package, for demonstrations and tests: no patient, and for no patient."""

ALL = (*ENTRIES, *SEGMENTATIONS, *BUNDLED)
"""Every set of weights with a name."""

_BY_NAME = {name: entry for entry in ALL for name in (entry.name, *entry.aliases)}


def find_entry(name: str) -> WeightsEntry:
    """Return the weights of that name or alias; names are case-sensitive.

    Raises:
        UnknownWeightsError: no such name; the message holds the nearest ones.

    >>> find_entry("nih").name
    'densenet121-res224-nih'
    """
    entry = known_entry(name)
    if entry is None:
        raise unknown_name(name)
    return entry


def known_entry(name: str) -> WeightsEntry | None:
    """The entry of a name or a short name; None where there is none."""
    return _BY_NAME.get(name)


def unknown_name(name: str) -> UnknownWeightsError:
    """Return the error for a name that is not in the registry, with the nearest names."""
    matches = difflib.get_close_matches(name.lower(), _BY_NAME, n=3, cutoff=0.5)
    near = f"Did you mean {' or '.join(matches)}? " if matches else ""
    return UnknownWeightsError(
        f"weights named {name!r}",
        expected="one of " + ", ".join(entry.name for entry in ALL) + ", or a path to a checkpoint file",
        remedy=near + "`cxr-explain weights list` shows all.",
    )
