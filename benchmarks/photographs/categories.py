"""Which ImageNet classes are a thing of a MS-COCO category, and the masks of these things.

A class is in the table where every thing of the class is one of the category: a Chihuahua is a dog, a coffee
mug is a cup. Left out are categories whose classes say something else (person: a scuba diver is an activity;
book: a book jacket is a part), and those that ImageNet does not have (giraffe, fork, stop sign, carrot).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cxr_explain.errors import OptionError
from cxr_explain.reference.outlines import Polygons, RunLengths
from cxr_explain.support.arrays import Mask

_SEVERAL: Mapping[str, tuple[tuple[str, str], ...]] = {
    "bird": (("cock", "great grey owl"), ("black grouse", "black swan"), ("white stork", "albatross")),
    "dog": (("Chihuahua", "Mexican hairless"),),
    "cat": (("tabby", "Egyptian cat"),),
    "bear": (("brown bear", "sloth bear"),),
}
"""Runs of ImageNet's order, by their first and last class."""

_SINGLE: Mapping[str, tuple[str, ...]] = {
    "airplane": ("airliner", "warplane"),
    "apple": ("Granny Smith",),
    "backpack": ("backpack",),
    "banana": ("banana",),
    "bed": ("four-poster",),
    "bench": ("park bench",),
    "bicycle": ("bicycle-built-for-two", "mountain bike"),
    "boat": (
        "canoe", "catamaran", "container ship", "fireboat", "gondola", "lifeboat", "liner", "pirate",
        "schooner", "speedboat", "trimaran", "yawl",
    ),
    "bottle": ("beer bottle", "pill bottle", "pop bottle", "water bottle", "wine bottle"),
    "bowl": ("mixing bowl", "soup bowl"),
    "broccoli": ("broccoli",),
    "bus": ("minibus", "school bus", "trolleybus"),
    "car": (
        "beach wagon", "cab", "convertible", "jeep", "limousine", "minivan", "Model T", "racer", "sports car",
    ),
    "cell phone": ("cellular telephone",),
    "chair": ("barber chair", "folding chair", "rocking chair", "throne"),
    "clock": ("analog clock", "digital clock", "wall clock"),
    "couch": ("studio couch",),
    "cow": ("ox",),
    "cup": ("coffee mug", "cup"),
    "dining table": ("dining table",),
    "elephant": ("African elephant", "Indian elephant", "tusker"),
    "handbag": ("purse",),
    "horse": ("sorrel",),
    "hot dog": ("hotdog",),
    "keyboard": ("computer keyboard",),
    "knife": ("cleaver",),
    "laptop": ("laptop", "notebook"),
    "microwave": ("microwave",),
    "motorcycle": ("moped", "motor scooter"),
    "mouse": ("mouse",),
    "orange": ("orange",),
    "oven": ("stove",),
    "parking meter": ("parking meter",),
    "pizza": ("pizza",),
    "potted plant": ("pot",),
    "refrigerator": ("refrigerator",),
    "remote": ("remote control",),
    "sheep": ("bighorn", "ram"),
    "sink": ("washbasin",),
    "spoon": ("wooden spoon",),
    "teddy bear": ("teddy",),
    "tennis racket": ("racket",),
    "tie": ("bow tie", "Windsor tie"),
    "toaster": ("toaster",),
    "toilet": ("toilet seat",),
    "traffic light": ("traffic light",),
    "train": ("bullet train", "electric locomotive", "passenger car", "steam locomotive"),
    "truck": ("fire engine", "garbage truck", "moving van", "pickup", "tow truck", "trailer truck"),
    "tv": ("monitor", "screen", "television"),
    "umbrella": ("umbrella",),
    "vase": ("vase",),
    "zebra": ("zebra",),
}  # fmt: skip


def category_of_class(names: Sequence[str]) -> dict[int, str]:
    """MS-COCO's category of each ImageNet class that has one.

    Args:
        names: the 1,000 classes.

    Raises:
        OptionError: a class of the table that is not among them.

    >>> category_of_class(["tench"])
    Traceback (most recent call last):
    cxr_explain.errors.OptionError: found no class 'cock'; expected ImageNet's names.
    """
    at = {name: index for index, name in enumerate(names)}

    def index(name: str) -> int:
        if name not in at:
            raise OptionError(f"no class {name!r}", expected="ImageNet's names")
        return at[name]

    found = {
        each: category
        for category, runs in _SEVERAL.items()
        for first, last in runs
        for each in range(index(first), index(last) + 1)
    }
    return found | {index(name): category for category, one in _SINGLE.items() for name in one}


class Instances:
    """MS-COCO's outlines of the things in photographs.

    Args:
        path: `instances.json`; ids and outlines may stand there as texts.
    """

    def __init__(self, path: Path) -> None:
        document = json.loads(path.read_text())
        names = {int(each["id"]): str(each["name"]) for each in document["categories"]}
        self._images = {Path(each["file_name"]).stem: each for each in document["images"]}
        self._of_image: dict[int, list[tuple[str, Any]]] = {}
        for each in document["annotations"]:
            outline = each["segmentation"]
            self._of_image.setdefault(int(each["image_id"]), []).append(
                (
                    names[int(each["category_id"])],
                    json.loads(outline) if isinstance(outline, str) else outline,
                )
            )

    @property
    def photographs(self) -> tuple[str, ...]:
        """Names of the photographs that have outlines."""
        return tuple(name for name, each in self._images.items() if int(each["id"]) in self._of_image)

    def masks(self, photograph: str) -> dict[str, Mask]:
        """The pixels of each category's things, (H, W), crowds included, by the category."""
        image = self._images[photograph]
        shape = int(image["height"]), int(image["width"])
        found: dict[str, Mask] = {}
        for category, outline in self._of_image.get(int(image["id"]), ()):
            found[category] = found.get(category, np.zeros(shape, bool)) | _inside(outline, *shape)
        return found


def _inside(outline: Any, height: int, width: int) -> Mask:
    """The pixels of polygons, x and y in turns, or of run lengths, as COCO's text or as numbers."""
    if isinstance(outline, list):
        polygons = (tuple(zip(flat[::2], flat[1::2], strict=True)) for flat in outline)
        return Polygons((height, width), tuple(polygons)).mask()
    counts = outline["counts"]
    if isinstance(counts, str):
        return RunLengths((height, width), counts).mask()
    inside = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return np.ascontiguousarray(inside.reshape(width, height).T)
