"""Dictionary transforms: read a radiograph, cut it for a model, explain it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import asdict
from os import PathLike
from typing import Any, Unpack

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.data.meta_obj import get_track_meta
from monai.data.meta_tensor import MetaTensor
from monai.transforms.inverse import InvertibleTransform
from monai.transforms.transform import MapTransform
from numpy.typing import NDArray
from torch import Tensor

from cxr_explain.explaining.explainer import Explainer
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.explaining.settings import RankingSettings
from cxr_explain.geometry import Geometry
from cxr_explain.integrations.monai.axes import Axes, Turn
from cxr_explain.integrations.monai.explainers import LazyExplainer
from cxr_explain.integrations.monai.images import to_meta_tensor, to_radiograph
from cxr_explain.loaders.settings import ReadOptions, ReadSettings


class ReadRadiographd(MapTransform):
    """Read radiographs with `read_radiograph`: in the place of LoadImaged, EnsureChannelFirstd and scaling.

    Each key's path becomes a MetaTensor (1, H, W) float32 in [-1024, 1024], rows before columns. MONAI's own
    readers give (W, H), neither invert MONOCHROME1 nor apply a window, and keep the whole path. Here the
    affine says how the axes lie, `filename_or_obj` is a safe name, and the metadata hold "id", "sha256",
    "format", "view", "laterality", "pixel_spacing", "steps", "warnings" and "phantom", no patient data.

    Args:
        keys: keys of the paths.
        allow_missing_keys: leave out a key that an item does not have.
        **options: how to read, such as `voi="none"`; see `ReadSettings`.

    Raises:
        RadiographError: a file that gives no radiograph; MONAI wraps it in a RuntimeError.

    >>> import tempfile, PIL.Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     PIL.Image.new("L", (50, 40), 255).save(f"{folder}/white.png")
    ...     item = ReadRadiographd("image")({"image": f"{folder}/white.png"})
    >>> tuple(item["image"].shape), item["image"].meta["filename_or_obj"]
    ((1, 40, 50), 'white.png')
    """

    def __init__(
        self, keys: KeysCollection, *, allow_missing_keys: bool = False, **options: Unpack[ReadOptions]
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.settings = ReadSettings(**options)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Read the file of each key."""
        item = dict(data)
        for key in self.key_iterator(item):
            item[key] = to_meta_tensor(self.settings.read(item[key]))
        return item


class PrepareRadiographd(MapTransform, InvertibleTransform):
    """Cut and resize radiographs for a model, as `Explainer` does: (1, H, W) -> (1, S, S).

    Its inverse puts anything of (C, S, S), such as maps of FMGCAM, back into the radiograph's pixels; what
    the model did not see is 0 there. The interpolation is bilinear whatever `Invertd(nearest_interp=...)`.

    Args:
        keys: keys of the images.
        explainer: an Explainer, a name of weights, or a checkpoint file.
        axes: how the images lie; see `Axes`.
        allow_missing_keys: leave out a key that an item does not have.
        **options: with weights, keyword arguments of `Explainer.from_pretrained`.

    Raises:
        OptionError: an image of another shape or range, or whose axes nobody told.
        PhantomWeightsError: a model that knows phantoms alone, and a radiograph that is none.

    >>> from cxr_explain import Radiograph
    >>> image = to_meta_tensor(Radiograph.from_array(np.zeros((40, 50), np.float32)))
    >>> prepare = PrepareRadiographd("image", "phantom", allow_phantom_weights=True)
    >>> item = prepare({"image": image})
    >>> tuple(item["image"].shape), tuple(prepare.inverse(item)["image"].shape)
    ((1, 224, 224), (1, 40, 50))
    """

    def __init__(
        self,
        keys: KeysCollection,
        explainer: Explainer | str | PathLike[str],
        *,
        axes: Axes = "recorded",
        allow_missing_keys: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.explainer = LazyExplainer(explainer, options)
        self.axes = axes

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Prepare the image of each key."""
        item = dict(data)
        for key in self.key_iterator(item):
            radiograph, turn = to_radiograph(item[key], axes=self.axes)
            prepared = self.explainer.get().prepare(radiograph)
            item[key] = self._recorded(item[key], prepared.tensor, prepared.geometry, turn)
        return item

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Put what is at each key back into the pixels of the image before."""
        item = dict(data)
        for key in self.key_iterator(item):
            done = self.pop_transform(item[key])["extra_info"]
            geometry = Geometry(**done["geometry"])
            maps = geometry.maps_to_radiograph(item[key].detach().cpu().numpy())
            before = _with_array(item[key], Turn(**done["turn"]).redo(maps))
            before.affine = torch.from_numpy(done["affine"])
            item[key] = before
        return item

    def _recorded(self, before: Tensor, tensor: Tensor, geometry: Geometry, turn: Turn) -> Tensor:
        if not get_track_meta() or not isinstance(before, MetaTensor):
            return tensor
        after = MetaTensor(tensor).copy_meta_from(before)
        step = _step(geometry, turn)
        recorded: Tensor = self.push_transform(  # type: ignore[no-untyped-call]  # MONAI's, without types
            after,
            sp_size=tuple(tensor.shape[1:]),
            affine=torch.from_numpy(step),
            orig_size=tuple(before.shape[1:]),
            extra_info={
                "geometry": asdict(geometry),
                "turn": asdict(turn),
                "affine": np.asarray(before.affine, np.float64),
            },
        )
        return recorded


class ExplainRadiographd(MapTransform):
    """Explain radiographs: where the model sees each of the top K pathologies.

    For a key "image", the item gets

    - "image_fused_map": (K, H, W), the fused map by class in the image's own pixels, with the image's
      affine and its record of transforms, so that `Invertd(keys="image_fused_map", orig_keys="image",
      transform=..., nearest_interp=False)` takes it back to the pixels of the radiograph;
    - "image_pathologies": the K names, best first;
    - "image_probabilities": (K,) their probabilities;
    - "image_explanation": the `Explanation`, if asked for.

    The model is shown the radiograph upright, whichever way MONAI's reader or transforms laid its axes, and
    the maps lie as the image lies.

    A transform sees one image; over batches, `SaveExplanations` and `FMGCAM` take one forward pass for all.

    Args:
        keys: keys of the images, as `ReadRadiographd` gives them.
        explainer: an Explainer, a name of weights, or a checkpoint file. With weights, each worker process
            loads its own, when it needs it.
        keep_explanation: add the Explanation; a batch of such items needs
            `collate_fn=monai.data.utils.no_collation`.
        axes: how the images lie; see `Axes`.
        allow_missing_keys: leave out a key that an item does not have.
        **options: which pathologies to explain, such as `top_k=3`, see `RankingSettings`; with weights, those
            of `Explainer.from_pretrained`, too. With `above_operating_point` K differs from image to image,
            so that a batch needs `collate_fn=monai.data.utils.no_collation`.

    Raises:
        OptionError: an image of another shape or range, or whose axes nobody told.
        PhantomWeightsError: a model that knows phantoms alone, and a radiograph that is none.

    >>> from cxr_explain import Radiograph
    >>> image = to_meta_tensor(Radiograph.from_array(np.zeros((40, 50), np.float32)))
    >>> explain = ExplainRadiographd("image", "phantom", top_k=2, allow_phantom_weights=True)
    >>> tuple(explain({"image": image})["image_fused_map"].shape)
    (2, 40, 50)
    """

    def __init__(
        self,
        keys: KeysCollection,
        explainer: Explainer | str | PathLike[str],
        *,
        keep_explanation: bool = False,
        axes: Axes = "recorded",
        allow_missing_keys: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.asked, others = RankingSettings.apart_from(options)
        self.explainer = LazyExplainer(explainer, others)
        self.keep_explanation = keep_explanation
        self.axes = axes

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Explain the image of each key."""
        item = dict(data)
        for key in self.key_iterator(item):
            radiograph, turn = to_radiograph(item[key], axes=self.axes)
            explanation = self.explainer.get().explain(radiograph, **vars(self.asked))
            item.update(self._found(key, item[key], explanation, turn))
        return item

    def _found(
        self, key: Hashable, image: Tensor, explanation: Explanation, turn: Turn
    ) -> dict[Hashable, Any]:
        probabilities = [prediction.probability for prediction in explanation.ranking.top]
        found: dict[Hashable, Any] = {
            f"{key}_fused_map": _with_array(image, turn.redo(explanation.maps_in_radiograph())),
            f"{key}_pathologies": list(explanation.ranking.pathologies),
            f"{key}_probabilities": torch.tensor(probabilities, dtype=torch.float32),
        }
        return found | ({f"{key}_explanation": explanation} if self.keep_explanation else {})


def _with_array(image: Tensor, values: NDArray[np.float32]) -> Any:
    """The values as a tensor of the image's kind, on its device, with its metadata and record."""
    tensor = torch.from_numpy(np.ascontiguousarray(values)).to(image.device)
    return MetaTensor(tensor).copy_meta_from(image) if isinstance(image, MetaTensor) else tensor


def _step(geometry: Geometry, turn: Turn) -> NDArray[np.float64]:
    """(3, 3): from the centres of the model's (row, column) to those of the image before, as MONAI counts."""
    scale = geometry.side / geometry.model_size
    upright = np.array(
        [
            [scale, 0.0, geometry.top + scale / 2 - 0.5],
            [0.0, scale, geometry.left + scale / 2 - 0.5],
            [0.0, 0.0, 1.0],
        ]
    )
    return np.asarray(_laid(turn, geometry.radiograph_shape) @ upright)


def _laid(turn: Turn, shape: tuple[int, int]) -> NDArray[np.float64]:
    """(3, 3): from (row, column) of the upright radiograph to the image's axes."""
    flips = np.eye(3)
    for axis, flipped in enumerate((turn.rows_flipped, turn.columns_flipped)):
        if flipped:
            flips[axis, axis], flips[axis, 2] = -1.0, shape[axis] - 1.0
    return flips.take([1, 0, 2], axis=0) if turn.transposed else flips
